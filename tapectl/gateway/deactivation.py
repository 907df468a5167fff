"""The end of a gateway whose machine is well: AWS's DeleteGateway.

Its tapes stay in the bucket, on the shelf or recoverable by another gateway, as those of a disabled
one; the local disks are given back, and the state file steps aside for another gateway. Each step
may be the last one of a run, and another run goes on from there.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tapectl.disks import disk_directory
from tapectl.errors import ExitCode, TapectlError
from tapectl.gateway.adoption import disable_gateway
from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.gateway.gateway_document import read_gateway
from tapectl.state import disks, events, gateways, segments, tapes
from tapectl.state.database import State
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import TapeFilter
from tapectl.store.interface import ObjectStore
from tapectl.units import format_size

GATEWAY_DEACTIVATED = "GatewayDeactivated"


class GatewayInUseError(TapectlError):
    """Something would be lost, or left half done, if the gateway ended now."""

    exit_code = ExitCode.GATEWAY_STATE
    code = "gateway_in_use"
    aws_code = "OperationAborted"


@dataclass(frozen=True, slots=True)
class Deactivation:
    """What has become of a gateway: how many tapes its bucket keeps, and where its state is now."""

    gateway_id: str
    tapes: int
    state_path: Path


_UNDER_WAY = "run `tapectl sync --until-idle` first"

_OBSTACLES: Mapping[TapeStatus, str] = MappingProxyType(
    {
        TapeStatus.CREATING: _UNDER_WAY,
        TapeStatus.IN_TRANSIT_TO_VTS: _UNDER_WAY,
        TapeStatus.ARCHIVING: _UNDER_WAY,
        TapeStatus.DELETING: _UNDER_WAY,
        TapeStatus.RETRIEVING: "run `tapectl tape cancel-retrieve {barcode}` first",
        TapeStatus.RETRIEVED: "run `tapectl tape eject {barcode}` and"
        " `tapectl sync --until-idle` first",
    }
)
"""Statuses that a gateway cannot end with, and what to do; AWS names the last two."""


def plan_deactivation(state: State) -> Deactivation:
    """Return what `deactivate` would come to; raise GatewayInUseError if it may not be done."""
    with state.read() as db:
        return _plan(db, state.path)


def deactivate(
    state: State,
    store: ObjectStore,
    *,
    actor: str = "cli",
    now_ms: Callable[[], int] = clock_now_ms,
) -> Deactivation:
    """End the gateway for good. The caller holds its lock; `state` is closed afterwards.

    Raises GatewayInUseError, and the errors of the store; it can be done again then.
    """
    plan = plan_deactivation(state)
    with state.read() as db:
        epoch = gateways.read_standing(db).store_epoch
    # Where another machine has become the gateway, that one goes on.
    if read_gateway(store, plan.gateway_id).document.epoch == epoch:
        disable_gateway(store, plan.gateway_id, by=actor, state=state, now_ms=now_ms)
    with state.write() as db:
        gateways.fence(db, now_ms(), f"gateway {plan.gateway_id} was deactivated by {actor}")
        events.append(
            db,
            events.NewEvent(
                at_ms=now_ms(),
                actor=actor,
                subject_kind="gateway",
                subject_id=plan.gateway_id,
                type=GATEWAY_DEACTIVATED,
                detail={"tapes": plan.tapes},
            ),
        )
        allocated = disks.all_disks(db)
    for disk in allocated:
        marker = disk_directory.read_marker(disk.path)
        # A disk that is not there, or is another's by now, is left alone.
        if marker is not None and marker.disk_id == disk.id:
            shutil.rmtree(disk.path / "tapes", ignore_errors=True)
            disk_directory.remove_marker(disk.path)
    state.move_aside(plan.state_path)
    return plan


def _plan(db: sqlite3.Connection, path: Path) -> Deactivation:
    gateway = gateways.read_gateway(db)
    found = tapes.select(db, TapeFilter())
    for tape in found:
        if (hint := _OBSTACLES.get(tape.status)) is not None:
            raise GatewayInUseError(
                f"tape {tape.barcode} is {tape.status}", hint=hint.format(barcode=tape.barcode)
            )
    waiting = segments.waiting_bytes_by_tape(db)
    for barcode, waiting_bytes in waiting.items():
        raise GatewayInUseError(
            f"tape {barcode} has {format_size(waiting_bytes)} that are not in the store yet",
            hint=f"{_UNDER_WAY}; or delete the tape",
        )
    aside = path.with_name(f"{path.name}.{gateway.id}.deactivated")
    return Deactivation(gateway.id, len(found), aside)
