"""When `tapectl serve` began and ended, as events; and whether the one before came to its end.

A row of the state stands while one serves. It is taken away by an orderly end alone: one that is
still there at the next start says that the last one died, as AWS tells of a HardReboot.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from tapectl.gateway.clock import now_ms
from tapectl.state import events, gateways
from tapectl.state.database import State

STARTED = "GatewayStarted"
STOPPED = "GatewayStopped"
ENDED_UNCLEANLY = "GatewayEndedUncleanly"
_ACTOR = "serve"
_SERVING = "serving"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def note_begin(state: State, run: Mapping[str, object]) -> bool:
    """Note that a gateway is served from now on; `run` says by whom: `version`, `pid`, `frontend`.

    Tells of a run before it that died, and returns whether there was one.
    """
    at_ms, boot_id = now_ms(), _boot_id()
    with state.write() as db:
        left = gateways.get_setting(db, _SERVING)
        if left is not None:
            last = json.loads(left)
            # The machine went down with it, or it died alone.
            last["machine_restarted"] = last.pop("boot_id") != boot_id
            events.append(db, _event(db, ENDED_UNCLEANLY, last, _ACTOR, at_ms))
        row = {**run, "started_at_ms": at_ms, "boot_id": boot_id}
        gateways.set_setting(db, _SERVING, json.dumps(row))
    return left is not None


def note_started(state: State, run: Mapping[str, object]) -> None:
    """Tell that initiators are let in."""
    with state.write() as db:
        events.append(db, _event(db, STARTED, run, _ACTOR, now_ms()))


def note_end(state: State, stop: Mapping[str, object] | None, *, actor: str = _ACTOR) -> None:
    """Note that the gateway is served no more, and came to its end; `stop` tells why and how, None:
    it had not started."""
    with state.write() as db:
        gateways.delete_setting(db, _SERVING)
        if stop is not None:
            events.append(db, _event(db, STOPPED, stop, actor, now_ms()))


def _event(
    db: sqlite3.Connection, event_type: str, detail: Mapping[str, object], actor: str, at_ms: int
) -> events.NewEvent:
    return events.NewEvent(
        at_ms=at_ms,
        actor=actor,
        subject_kind="gateway",
        subject_id=gateways.read_gateway(db).id,
        type=event_type,
        detail=detail,
    )


def _boot_id() -> str:
    """Return what names this start of the machine."""
    return _BOOT_ID.read_text().strip()
