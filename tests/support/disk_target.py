"""Serves the disk of `disk_unit` in the place of one of a gateway's devices.

    python -m tests.support.disk_target --state gateway/tapectl.db --port 3260

Portal, login, directory, connection loop and unit host are the project's own; the process has
no workers, so that a session runs in the thread of its login, as the changer's do. It ends when its
stdin is closed, or after `--life-s` seconds.
"""

from __future__ import annotations

import argparse
import logging
import socket
import sys
import threading
from pathlib import Path

from tapectl.gateway.devices import find_device
from tapectl.gateway.settings import ListenAddress
from tapectl.iscsi.policy import TargetConfig
from tapectl.iscsi.session import SessionInfo
from tapectl.serve.connection_loop import SessionTimes
from tapectl.serve.json_lines import Message
from tapectl.serve.login_policy import TargetDirectory
from tapectl.serve.portal import Portal, open_listener
from tapectl.serve.session_server import SessionServer
from tapectl.serve.unit_host import UnitHost
from tapectl.state.database import State
from tests.support.disk_unit import DiskUnit

DISK_BLOCKS = 65536  # 32 MiB, of which the tests write the beginning and the end
BUSY_TIMEOUT_S = 5.0
PING_INTERVAL_S = 60.0


class DiskTarget:
    """One portal, one target, one disk."""

    def __init__(self, state: State, device_name: str, port: int, config: TargetConfig) -> None:
        device = find_device(state, device_name)
        unit = DiskUnit(DISK_BLOCKS, serial=device.serial, target_name=device.target_name)
        times = SessionTimes(busy_timeout_s=BUSY_TIMEOUT_S, ping_interval_s=PING_INTERVAL_S)
        self._sessions = SessionServer(UnitHost(unit), times, config)
        self.portal = Portal(
            [open_listener(ListenAddress("127.0.0.1", port))],
            TargetDirectory(
                state,
                [device],
                lambda _target, nexus, tsih: self._sessions.find_session(nexus, tsih),
            ),
            config,
            self._serve_session,
        )

    def _serve_session(
        self, stream: socket.socket, _info: SessionInfo, handed_over: Message, peer: str
    ) -> None:
        self._sessions.serve(stream, handed_over, peer)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--state", type=Path, required=True, help="an activated gateway's state")
    parser.add_argument("--device", default="tapedrive-01", help="whose place the disk takes")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--no-immediate-data", action="store_true")
    parser.add_argument("--life-s", type=float, default=300.0)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    config = TargetConfig(immediate_data=not arguments.no_immediate_data)
    target = DiskTarget(State.open(arguments.state), arguments.device, arguments.port, config)
    end_of_life = threading.Timer(arguments.life_s, target.portal.stop)
    end_of_life.daemon = True
    end_of_life.start()

    def stop_with_parent() -> None:
        sys.stdin.buffer.read()
        target.portal.stop()

    threading.Thread(target=stop_with_parent, daemon=True).start()
    print("ready", flush=True)
    target.portal.run()


if __name__ == "__main__":
    main()
