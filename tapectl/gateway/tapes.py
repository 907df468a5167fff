"""Virtual tapes: list, describe, delete."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence

from tapectl.errors import ExitCode, TapectlError
from tapectl.gateway import barcodes
from tapectl.gateway.activation import describe_gateway
from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.gateway.elements import ElementMap
from tapectl.gateway.media import cleanings_left
from tapectl.gateway.pools import find_pool
from tapectl.gateway.retention import pass_lock
from tapectl.gateway.tape_info import TapeInfo, tape_info
from tapectl.scsi.library import ElementType
from tapectl.state import (
    overwritten,
    pools,
    segments,
    tapes,
    verifications,
)
from tapectl.state.database import State
from tapectl.state.errors import TapeStatusError
from tapectl.state.gateways import GatewayRecord
from tapectl.state.overwritten import OverwrittenTotals
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import Stamp, TapeFilter, TapeRecord


class TapeInDriveError(TapectlError):
    """The tape is loaded in a drive."""

    exit_code = ExitCode.TAPE_IN_DRIVE
    code = "tape_in_drive"
    aws_code = "OperationAborted"

    def __init__(self, barcode: str, drive: str) -> None:
        super().__init__(
            f"tape {barcode} is loaded in {drive}",
            hint=f"run `tapectl tape unload {barcode}` first",
        )


def list_tapes(
    state: State,
    *,
    statuses: Iterable[TapeStatus] | None = None,
    pool_id: str | None = None,
    barcode: str | None = None,
) -> Sequence[TapeInfo]:
    """Return tapes of the library and the shelf by barcode; `barcode` is a glob (`VTL*`).

    DELETED tapes come only when their status is asked for. `pool_id` may be the name of a pool.
    Raises PoolNotFoundError.
    """
    gateway = describe_gateway(state)
    with state.read() as db:
        wanted = TapeFilter(
            statuses=None if statuses is None else frozenset(statuses),
            pool_id=None if pool_id is None else find_pool(db, pool_id).id,
            barcode_glob=barcode,
        )
        return tape_infos(db, gateway, tapes.select(db, wanted))


def describe_tape(state: State, barcode: str) -> TapeInfo:
    """Return one tape; raise BarcodeError, TapeNotFoundError."""
    barcodes.check_barcode(barcode)
    gateway = describe_gateway(state)
    with state.read() as db:
        record = tapes.get(db, barcode)
        return tape_info(
            gateway,
            ElementMap.of(gateway),
            record,
            waiting_bytes=segments.waiting_uploads(db, barcode).bytes,
            overwritten=overwritten.totals_by_tape(db, barcode).get(barcode, OverwrittenTotals()),
            cleanings_left=cleanings_left(db, record),
            verification=verifications.find_verification(db, barcode),
            pool=find_pool(db, record.pool_id),
        )


def delete_tape(
    state: State,
    barcode: str,
    *,
    bypass_governance: bool = False,
    actor: str = "cli",
    now_ms: Callable[[], int] = clock_now_ms,
) -> TapeInfo:
    """Begin to delete a tape of the library; the transfer engine deletes its data.

    Raises TapeNotFoundError, TapeInDriveError, TapeLockedError, and TapeStatusError for tapes on
    the shelf or on their way.
    """
    barcodes.check_barcode(barcode)
    elements = ElementMap.of(describe_gateway(state))
    by = Stamp(actor, now_ms())
    with state.write() as db:
        tape = tapes.get(db, barcode)
        refuse_loaded(tape, elements)
        if tape.status in _DELETE_HINTS:
            raise TapeStatusError(
                f"tape {barcode} is {tape.status} and cannot be deleted",
                status=tape.status,
                hint=_DELETE_HINTS[tape.status].format(barcode=barcode),
            )
        begin_deletion(db, tape, by, bypass_governance=bypass_governance)
    return describe_tape(state, barcode)


def begin_deletion(
    db: sqlite3.Connection, tape: TapeRecord, by: Stamp, *, bypass_governance: bool
) -> None:
    """Make a tape DELETING unless it is locked; raise TapeLockedError."""
    pass_lock(db, tape, by, bypass_governance=bypass_governance, what="deleted")
    changes = {"bypass_governance": 1} if bypass_governance else {}
    tapes.transition(db, tape.barcode, TapeStatus.DELETING, by, **changes)


def barcode_in_element(state: State, address: int) -> str | None:
    """Return the barcode of the tape in an element, None if it is empty."""
    with state.read() as db:
        tape = tapes.in_element(db, address)
    return None if tape is None else tape.barcode


def record_used_bytes(state: State, barcode: str, used_bytes: int) -> None:
    """Note the bytes of user data before end of data, as its drive counts them."""
    with state.write() as db:
        tapes.update(db, barcode, used_bytes=used_bytes)


def refuse_loaded(tape: TapeRecord, elements: ElementMap) -> None:
    """Raise TapeInDriveError if the tape is in a drive."""
    address = tape.element_address
    if address is not None and elements.type_of(address) is ElementType.DATA_TRANSFER:
        raise TapeInDriveError(tape.barcode, elements.name(address))


def tape_infos(
    db: sqlite3.Connection, gateway: GatewayRecord, records: Sequence[TapeRecord]
) -> Sequence[TapeInfo]:
    """Describe the tapes of these rows, in their order."""
    waiting = segments.waiting_bytes_by_tape(db)
    kept = overwritten.totals_by_tape(db)
    verified = verifications.all_verifications(db)
    known_pools = {pool.id: pool for pool in pools.all_pools(db)}
    elements = ElementMap.of(gateway)
    return [
        tape_info(
            gateway,
            elements,
            record,
            waiting_bytes=waiting.get(record.barcode, 0),
            overwritten=kept.get(record.barcode, OverwrittenTotals()),
            cleanings_left=cleanings_left(db, record),
            verification=verified.get(record.barcode),
            pool=known_pools[record.pool_id],
        )
        for record in records
    ]


_DELETE_HINTS = {
    TapeStatus.IN_TRANSIT_TO_VTS: "run `tapectl tape cancel-eject {barcode}` first, or wait until"
    " it is ARCHIVED and run `tapectl archive delete {barcode}`",
    TapeStatus.ARCHIVING: "wait until it is ARCHIVED and run `tapectl archive delete {barcode}`",
    TapeStatus.ARCHIVED: "run `tapectl archive delete {barcode}`",
    TapeStatus.RETRIEVING: "run `tapectl tape cancel-retrieve {barcode}`, then"
    " `tapectl archive delete {barcode}`",
    TapeStatus.RETRIEVED: "run `tapectl tape eject {barcode}`, then, when it is ARCHIVED,"
    " `tapectl archive delete {barcode}`",
    TapeStatus.DELETING: "it is being deleted already",
}
"""What to do instead, for the statuses in which AWS's DeleteTape is refused."""
