"""SIGHUP: other settings, and initiators notice nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tapectl.state import segments
from tapectl.state.database import State
from tests.support.gateway import HOST, Gateway, free_port, wait_until
from tests.support.initiator import Session


def write(path: Path, **settings: object) -> None:
    lines = (f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
    path.write_text("".join(lines))


def test_sessions_go_on_while_settings_change(make_gateway: Callable[..., Gateway]) -> None:
    gateway = make_gateway()
    config = gateway.root / "tapectl.toml"
    first, second, metrics = gateway.port, free_port(), free_port()
    write(config, listen=f"{HOST}:{first}")
    gateway.listen_options = ()
    gateway.credentials = {"TAPECTL_CONFIG": str(config)}
    gateway.activate("--drives", "1", "--slots", "4", "--import-export", "4")
    (barcode,) = gateway.create_tapes("--count", "1")
    gateway.serve()
    gateway.load(barcode)
    drive = gateway.drive()
    drive.write_block(b"before" * 100)

    def reload(wanted: str, **settings: object) -> None:
        write(config, **settings)
        os.kill(gateway.server_pid, signal.SIGHUP)
        wait_until(lambda: wanted in gateway.log(), wanted, 30)

    # A port that another has: nothing changes.
    with socket.socket() as other:
        other.bind((HOST, second))
        other.listen()
        reload("settings are not reloaded: cannot listen", listen=[f"{HOST}:{second}"], hold_s=7)
    # An address that anyone could log in at, as at the start.
    reload("settings are not reloaded: listening beyond loopback", listen="0.0.0.0", hold_s=7)
    reload(
        "next start only: library_target",
        listen=f"{HOST}:{second}",
        metrics_listen=metrics,
        segment_bytes="1MiB",
        early_warning_percent=50,
        ping_interval_s=30,
        library_target=True,
    )
    # The session that came by the first address has noticed nothing.
    drive.write_block(b"after!" * 100)
    drive.write_filemarks(1)
    drive.rewind()
    assert drive.read_block(65536) == b"before" * 100
    assert drive.read_block(65536) == b"after!" * 100
    with pytest.raises(OSError, match="refused"):
        Session((HOST, first), gateway.targets()["mediachanger"])
    assert gateway.control("status")["portals"] == [f"{HOST}:{second}"]
    gateway.port = second
    assert gateway.changer() is not None
    with urllib.request.urlopen(f"http://{HOST}:{metrics}/metrics") as answer:
        assert b"tapectl_up 1.0" in answer.read()
    # The drive goes by the new ones from the next load on.
    drive.session.logout()
    gateway.cli("tape", "unload", barcode)
    gateway.load(barcode)
    drive = gateway.drive()
    for _ in range(3):
        drive.write_block(os.urandom(1 << 20))
    drive.session.logout()
    gateway.cli("tape", "unload", barcode)
    with State.open(gateway.state) as state, state.read() as db:
        assert len(list(segments.of_tape(db, barcode))) >= 3
    gateway.stop()
