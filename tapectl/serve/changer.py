"""The media changer in the supervisor: its device server, its library, its sessions."""

from __future__ import annotations

import logging
import socket
import threading

from tapectl.gateway.devices import DeviceInfo
from tapectl.gateway.library import DriveControl, StateLibrary, move_tape
from tapectl.gateway.settings import Settings
from tapectl.iscsi.connection import TargetConnection
from tapectl.iscsi.session import SessionInfo
from tapectl.scsi.changer_personality import CHANGER_PERSONALITIES
from tapectl.scsi.personality import DRIVE_PERSONALITIES
from tapectl.scsi.smc.changer import MediaChanger
from tapectl.serve.connection_loop import ConnectionLoop
from tapectl.serve.json_lines import Message
from tapectl.serve.unit_host import Session, UnitHost
from tapectl.state.database import State
from tapectl.state.device_memory import DeviceMemory

_log = logging.getLogger(__name__)

# Other processes move tapes too (an ejected tape leaves, a retrieved one appears).
INVENTORY_LOOK_S = 1.0


class ChangerUnit:
    """The changer's logical unit and whoever moves tapes: initiators and admin commands.

    Every move and every command holds the unit's lock, so that a tape cannot
    move twice at once and a move by CLI is seen whole by initiators.
    """

    def __init__(
        self,
        device: DeviceInfo,
        changer_type: str,
        drive_type: str,
        state: State,
        settings: Settings,
        drives: DriveControl,
    ) -> None:
        self._state = state
        self._settings = settings
        self._library = StateLibrary(state, drives, hold_s=settings.hold_s, actor="initiator")
        self._admin_library = StateLibrary(state, drives, hold_s=settings.hold_s, actor="cli")
        self._changer = MediaChanger(
            CHANGER_PERSONALITIES[changer_type],
            self._library,
            serial=device.serial,
            target_name=device.target_name,
            drives=DRIVE_PERSONALITIES[drive_type],
            memory=DeviceMemory(state, device.serial),
        )
        self._host = UnitHost(self._changer)
        self._stopped = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._watch, name="inventory", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()
        self._host.drop_sessions()

    def serve_session(
        self,
        stream: socket.socket,
        connection: TargetConnection,
        session_info: SessionInfo,
        peer: str,
    ) -> None:
        """Serve a session in the calling thread until it ends; owns the socket."""
        session = Session(
            nexus=session_info.nexus,
            initiator_name=session_info.initiator_name,
            peer=peer,
            stream=stream,
        )
        loop = ConnectionLoop(
            session, connection, self._host, busy_timeout_s=self._settings.busy_timeout_s
        )
        try:
            loop.run()
        finally:
            stream.close()

    def move(self, source: int, destination: int) -> None:
        """Move for an admin command; raise the TapectlError that says why not."""
        with self._host.lock:
            move_tape(self._admin_library, source, destination)
            self._changer.statistics.count_moves(((source, destination),))

    def set_alerts(self, flags: frozenset[int]) -> None:
        """Let the changer hold these TapeAlert flags."""
        with self._host.lock:
            self._changer.hold_alerts(flags)

    def tape_alerts(self) -> list[int]:
        """Return the flags that are active, by number."""
        return sorted(self._changer.alerts.active)

    def sessions(self) -> list[Message]:
        return [
            {
                "initiator_name": session.initiator_name,
                "peer": session.peer,
                "commands": session.commands,
            }
            for session in self._host.sessions()
        ]

    def look_at_inventory(self) -> None:
        """Raise unit attentions if tapes came, left or moved without an initiator's command."""
        with self._host.lock:
            self._changer.look_at_inventory()

    def _watch(self) -> None:
        while not self._stopped.wait(INVENTORY_LOOK_S):
            self.look_at_inventory()
