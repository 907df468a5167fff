"""What the machine gives the gateway: descriptors, a clock, a state file of its own."""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Iterator

from tapectl.gateway.check.findings import Code, Finding, of_gateway
from tapectl.gateway.check.view import CheckView
from tapectl.gateway.settings import FrontEndKind
from tapectl.state import events
from tapectl.state.errors import StateError
from tapectl.units import MIB, format_size

# A drive's worker: its sessions, sixteen files of segments being read, the state, the sockets.
_OPEN_FILES_A_PROCESS = 256
# The clock of the last event may be that of another host, a little ahead.
_CLOCK_SLACK_MS = 5_000
_STATE_FREE_BYTES = 64 * MIB
_PRIVATE = stat.S_IRWXG | stat.S_IRWXO


def host_findings(view: CheckView) -> Iterator[Finding]:
    """Yield what is wrong with the machine and the state file."""
    gateway_id = view.gateway.id
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _OPEN_FILES_A_PROCESS:
        message = f"a process may have {soft} files open, it needs {_OPEN_FILES_A_PROCESS}"
        yield of_gateway(Code.OPEN_FILES_LIMIT, gateway_id, message)
    yield from _clock(view)
    yield from _state_file(view)
    yield from _database(view)
    yield from _front_end(view)
    serving = view.serving
    if serving.locked_by is not None and not serving.served and _is_server(serving.locked_by):
        message = (
            f"a process of an earlier `tapectl serve` still has the gateway: {serving.locked_by}"
        )
        yield of_gateway(Code.LEFTOVER_PROCESS, gateway_id, message)


def _is_server(locked_by: str) -> bool:
    return locked_by.startswith("serve")


def _clock(view: CheckView) -> Iterator[Finding]:
    with view.state.read() as db:
        newest = events.select(db, events.EventFilter(limit=1))
    ahead_ms = newest[-1].at_ms - view.now_ms if newest else 0
    if ahead_ms > _CLOCK_SLACK_MS:
        message = f"the last event is {ahead_ms / 1000:.0f} s in the future"
        yield of_gateway(Code.CLOCK_BEHIND, view.gateway.id, message)


def _state_file(view: CheckView) -> Iterator[Finding]:
    path = view.state.path
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm", f"{path.name}.lock"):
        try:
            mode = stat.S_IMODE(path.with_name(name).stat().st_mode)
        except FileNotFoundError:
            continue
        if mode & _PRIVATE:
            message = f"{path.with_name(name)} has mode {mode:04o}"
            yield of_gateway(Code.STATE_PERMISSIONS, view.gateway.id, message)
    status = os.statvfs(path.parent)
    free_bytes = status.f_bavail * status.f_frsize
    if free_bytes < _STATE_FREE_BYTES:
        message = f"the state's file system has {format_size(free_bytes)} free: {path}"
        yield of_gateway(Code.STATE_SPACE, view.gateway.id, message)


def _front_end(view: CheckView) -> Iterator[Finding]:
    falls_back = view.settings.frontend is FrontEndKind.AUTO
    code = Code.FRONT_END_FALLS_BACK if falls_back else Code.FRONT_END_LACKS
    for what, hint in view.serving.lacking:
        yield of_gateway(code, view.gateway.id, f"{what}: {hint}")


def _database(view: CheckView) -> Iterator[Finding]:
    try:
        with view.state.read() as db:
            rows = [str(row[0]) for row in db.execute("PRAGMA quick_check(3)")]
            broken = [str(row[0]) for row in db.execute("PRAGMA foreign_key_check")]
    except StateError as exc:
        rows, broken = [exc.message], []
    complaints = [row for row in rows if row != "ok"] + [
        f"a row of {table} names what is not there" for table in sorted(set(broken))
    ]
    if complaints:
        yield of_gateway(Code.STATE_DAMAGED, view.gateway.id, "; ".join(complaints))
