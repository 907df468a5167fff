"""What is asked for, and what comes of it, when a tape is brought back to a recovery point."""

from __future__ import annotations

from dataclasses import dataclass

from tapectl.errors import ExitCode, TapectlError
from tapectl.gateway.recovery_points import WhichPoint
from tapectl.gateway.tape_info import TapeInfo
from tapectl.medium.manifest import ManifestHead
from tapectl.state import events, tapes
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import Stamp
from tapectl.store.interface import RetrievalTier

RECOVERY_POINT_RESTORED = "RecoveryPointRestored"
TAPE_MOVED_FROM_GATEWAY = "TapeMovedFromGateway"


class NotRestorableError(TapectlError):
    """The tape as it is now would be lost, or is another gateway's."""

    exit_code = ExitCode.TAPE_STATUS
    code = "not_restorable"


@dataclass(frozen=True, slots=True)
class Restoration:
    """What restoring comes to: the tape at `point`, of gateway `from_gateway`.

    `tape` is how it is afterwards, None where nothing has been done yet.
    """

    point: ManifestHead
    from_gateway: str
    status: TapeStatus
    tape: TapeInfo | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreRequest:
    """A tape and a point of it; `to_element` is where a tape of another gateway comes to
    (`slot:5`), None for the first free import/export slot. `tier`: only a tape on the shelf is
    wanted, and its retrieval begins at once. `dry_run`: change nothing."""

    barcode: str
    point: WhichPoint
    to_element: str | None = None
    tier: RetrievalTier | str | None = None
    dry_run: bool = False


def restored_event(barcode: str, by: Stamp, point: ManifestHead, old: str) -> events.NewEvent:
    detail = {"point": point.number, "point_at_ms": point.created_ms, "from_gateway": old}
    return tapes.event_of(barcode, by, RECOVERY_POINT_RESTORED, detail)


def moved_event(barcode: str, by: Stamp, old: str) -> events.NewEvent:
    """Return the event of a tape that has come from the shelf of another gateway."""
    return tapes.event_of(barcode, by, TAPE_MOVED_FROM_GATEWAY, {"from_gateway": old})
