"""`tape verify`: asks the transfer engine to read and check a tape, and tells what it found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tapectl.errors import ExitCode, TapectlError
from tapectl.gateway.barcodes import check_barcode
from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.gateway.tape_keys import require_key
from tapectl.state import tapes, verifications
from tapectl.state.database import State
from tapectl.state.errors import TapeStatusError
from tapectl.state.tape_status import VERIFIABLE
from tapectl.state.verifications import VerificationRecord


class TapeDamagedError(TapectlError):
    """A tape was verified, and a copy of it is damaged and could not be made anew."""

    exit_code = ExitCode.TAPE_DAMAGED
    code = "tape_damaged"
    aws_code = "StorageFailure"


@dataclass(frozen=True, slots=True)
class VerificationInfo:
    """A verification as users see it; `segments_left` are those not looked at yet."""

    record: VerificationRecord
    segments_left: int

    @property
    def finished(self) -> bool:
        return self.record.finished_at_ms is not None


def request_verification(
    state: State,
    barcodes: Sequence[str],
    *,
    local_only: bool = False,
    rate_bytes_per_s: int | None = None,
    restart: bool = False,
    now_ms: Callable[[], int] = clock_now_ms,
) -> None:
    """Have tapes verified, all or none of them.

    One that is being verified already goes on where it is, unless the store is to be read too and
    was not, or `restart` is given. Raises TapeNotFoundError, TapeStatusError,
    TapeKeyError.
    """
    with state.write() as db:
        for barcode in dict.fromkeys(barcodes):
            check_barcode(barcode)
            tape = tapes.get(db, barcode)
            if tape.status not in VERIFIABLE:
                raise TapeStatusError(
                    f"tape {barcode} is {tape.status} and cannot be verified now",
                    status=tape.status,
                    hint="wait until that is over; see `tapectl tape show`",
                )
            if not local_only:
                # What is in the store says nothing without its key.
                require_key(state.path, tape)
            wanted = VerificationRecord(
                barcode=barcode,
                requested=True,
                local_only=local_only,
                rate_bytes_per_s=rate_bytes_per_s,
                started_at_ms=now_ms(),
            )
            found = verifications.find_verification(db, barcode)
            goes_on = found is not None and found.finished_at_ms is None and not restart
            if found is not None and goes_on and found.local_only == local_only:
                verifications.request(db, replace(found, rate_bytes_per_s=rate_bytes_per_s))
            else:
                verifications.begin(db, wanted)


def describe_verification(state: State, barcode: str) -> VerificationInfo | None:
    """Return the last verification of a tape, None if it has had none."""
    with state.read() as db:
        record = verifications.find_verification(db, barcode)
        if record is None:
            return None
        left = 0 if record.finished_at_ms is not None else verifications.segments_left(db, record)
        return VerificationInfo(record, left)
