"""Deaths of processes as events: which one, how, and whether another does its work again."""

from __future__ import annotations

import logging
import signal

from tapectl.errors import TapectlError
from tapectl.gateway.clock import now_ms
from tapectl.gateway.devices import DeviceInfo
from tapectl.gateway.tapes import barcode_in_element
from tapectl.serve.child import Death
from tapectl.serve.event_recorder import EventRecorder
from tapectl.state.database import State
from tapectl.state.events import NewEvent

WORKER_DIED = "WorkerDied"
TRANSFER_DIED = "TransferDied"

_log = logging.getLogger(__name__)


class DeathNotices:
    """Tells the recorder, and of one process that dies again and again not each time."""

    def __init__(self, state: State, gateway_id: str, recorder: EventRecorder) -> None:
        self._state = state
        self._gateway_id = gateway_id
        self._recorder = recorder

    def worker_died(self, device: DeviceInfo, death: Death) -> None:
        """A drive's process has died; the tape that is in it is the one that it had."""
        try:
            barcode = barcode_in_element(self._state, device.element_address)
        except TapectlError as exc:
            _log.warning("%s: %s", device.name, exc.message)
            barcode = None
        detail = {"tape": barcode, **_detail(death)}
        self._tell(WORKER_DIED, ("target", device.name), detail)

    def transfer_died(self, death: Death) -> None:
        """The process that talks to the store has died."""
        self._tell(TRANSFER_DIED, ("gateway", self._gateway_id), _detail(death))

    def _tell(self, event_type: str, subject: tuple[str, str], detail: dict[str, object]) -> None:
        kind, subject_id = subject
        event = NewEvent(
            at_ms=now_ms(),
            actor="serve",
            subject_kind=kind,
            subject_id=subject_id,
            type=event_type,
            detail=detail,
        )
        self._recorder.tell(event, flood=subject_id)


def _detail(death: Death) -> dict[str, object]:
    by_signal = death.status < 0
    return {
        "pid": death.pid,
        "exit_status": None if by_signal else death.status,
        "signal": _signal_name(-death.status) if by_signal else None,
        "restarted_after_s": death.restarted_after_s,
        "problem": death.problem,
    }


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
