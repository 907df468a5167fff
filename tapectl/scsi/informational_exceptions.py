"""Informational exceptions: how a device says that something is wrong (SPC-5 5.8, 7.5.14).

What is wrong is TapeAlert's to know; this is about who is told, and how, as mode page 1Ch has it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable

from tapectl.scsi.log_pages import TAPE_ALERT_FLAGS
from tapectl.scsi.mode_pages import ModePage, ModePages
from tapectl.scsi.sense import ASC, Sense, SenseKey, invalid_field_in_parameter_list
from tapectl.scsi.tape_alerts import TapeAlerts
from tapectl.scsi.unit_attention import UnitAttentions

MODE_PAGE = (0x1C, 0x00)
_RECOVERY_MODE_PAGE = (0x01, 0x00)
_DEXCPT, _TEST = 0x08, 0x04
_PER = 2  # bit of the Read-Write Error Recovery page's byte 2: recovered errors are reported
_EVERY_FLAG = 32767


class Method(enum.IntEnum):
    """MRIE: the method of reporting informational exceptions (SPC-5 table 408)."""

    NONE = 0x0
    UNIT_ATTENTION = 0x2
    CONDITIONAL_RECOVERED_ERROR = 0x3
    RECOVERED_ERROR = 0x4
    NO_SENSE = 0x5
    ON_REQUEST = 0x6


_SENSE_KEYS = {
    Method.CONDITIONAL_RECOVERED_ERROR: SenseKey.RECOVERED_ERROR,
    Method.RECOVERED_ERROR: SenseKey.RECOVERED_ERROR,
    Method.NO_SENSE: SenseKey.NO_SENSE,
    Method.ON_REQUEST: SenseKey.NO_SENSE,
}


class InformationalExceptions:
    """Which nexuses are still to be told with the status of a command, and which on request."""

    def __init__(self, mode_pages: ModePages, attentions: UnitAttentions) -> None:
        self._mode_pages = mode_pages
        self._attentions = attentions
        self.waiting: dict[str, Sense] = {}
        self._on_request: dict[str, Sense] = {}

    def activated(self, code: ASC = ASC.FAILURE_PREDICTION_THRESHOLD_EXCEEDED) -> None:
        """Something is wrong: tell every nexus in the way that is set, if any is."""
        body = self._mode_pages.value(MODE_PAGE, "")
        method = Method(body[1] & 0x0F)
        if body[0] & _DEXCPT or method is Method.NONE:
            return
        if method is Method.UNIT_ATTENTION:
            self._attentions.establish_all(code)
            return
        if method is Method.CONDITIONAL_RECOVERED_ERROR and not self._mode_pages.bit(
            _RECOVERY_MODE_PAGE, 2, _PER
        ):
            return
        told = self._on_request if method is Method.ON_REQUEST else self.waiting
        sense = Sense(_SENSE_KEYS[method], code)
        told.update(dict.fromkeys(self._attentions.known, sense))

    def requested(self, nexus: str) -> Sense | None:
        """Return what a REQUEST SENSE is to be answered with; it is told once."""
        return self._on_request.pop(nexus, None) or self.waiting.pop(nexus, None)

    def forget(self, nexus: str) -> None:
        self.waiting.pop(nexus, None)
        self._on_request.pop(nexus, None)

    def clear(self) -> None:
        """A reset: nobody is told of what was before."""
        self.waiting.clear()
        self._on_request.clear()


def exceptions_page(test: Callable[[int], None]) -> ModePage:
    """Return mode page 1Ch: by default nothing is reported and TapeAlert is to be polled (DEXCPT).

    `test` is called with the TEST FLAG NUMBER of a MODE SELECT with TEST set: 1 to 64 to activate a
    TapeAlert flag, -1 to -64 to deactivate it, 32767 to activate all, 0 to report an exception that
    is none (SSC-5 8.4.10).
    """

    def check(body: bytes, body_at: int) -> None:
        if body[1] & 0x0F not in list(Method):
            raise invalid_field_in_parameter_list(body_at + 1, 3)
        if body[0] & _TEST:
            if body[0] & _DEXCPT:
                raise invalid_field_in_parameter_list(body_at, 2)
            if abs(_flag(body)) > TAPE_ALERT_FLAGS and _flag(body) != _EVERY_FLAG:
                raise invalid_field_in_parameter_list(body_at + 6)

    def selected(body: bytes) -> None:
        if body[0] & _TEST:
            test(_flag(body))

    def kept(body: bytes) -> bytes:
        if not body[0] & _TEST:
            return body
        return bytes((body[0] & ~_TEST,)) + body[1:6] + bytes(4)

    # DEXCPT, TEST; MRIE; the test flag number.
    changeable = bytes.fromhex("0c 0f 00000000 ffffffff")
    return ModePage(
        MODE_PAGE[0],
        bytes((_DEXCPT, 0)) + bytes(8),
        changeable,
        check=check,
        selected=selected,
        kept=kept,
        savable=True,
    )


def run_alert_test(
    number: int,
    alerts: TapeAlerts,
    supported: Iterable[int],
    exceptions: InformationalExceptions,
) -> None:
    """Do what a TEST FLAG NUMBER asks for; `supported` are the flags that the device has."""
    if number == _EVERY_FLAG:
        alerts.add(*supported)
    elif number > 0:
        alerts.add(number)
    elif number < 0:
        alerts.deactivate({-number})
    else:
        exceptions.activated(ASC.FAILURE_PREDICTION_THRESHOLD_EXCEEDED_FALSE)


def _flag(body: bytes) -> int:
    return int.from_bytes(body[6:10], "big", signed=True)
