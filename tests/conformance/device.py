"""A logical unit under test: commands out; data, or the sense that a test expects, back.

Nothing is retried but BUSY: a unit attention that nobody expects is a finding.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.conformance.commands import Command, test_unit_ready
from tests.conformance.sense import (
    INVALID_OPERATION_CODE,
    UNIT_ATTENTION,
    Code,
    SenseData,
)
from tests.support.initiator import Response, Session

GOOD, CHECK_CONDITION, BUSY, RESERVATION_CONFLICT = 0x00, 0x02, 0x08, 0x18
_BUSY_TIMEOUT_S = 30.0
_BUSY_POLL_S = 0.05
_ATTENTIONS_MAX = 32


class Device:
    """One logical unit by one I_T nexus.

    `lenient`: a command that the target does not have skips the test; else that fails it.
    """

    def __init__(self, session: Session, lun: int, *, lenient: bool = False) -> None:
        self.session = session
        self.lun = lun
        self.lenient = lenient

    def run(self, command: Command) -> Response:
        """Run a command to its end, waiting out BUSY; return what came, whatever it is."""
        deadline = time.monotonic() + _BUSY_TIMEOUT_S
        while True:
            response = self.session.execute(
                command.cdb,
                data_out=command.data_out,
                data_in_bytes=command.data_in_bytes,
                lun=self.lun,
            )
            if response.status != BUSY or time.monotonic() > deadline:
                return response
            time.sleep(_BUSY_POLL_S)

    def good(self, command: Command) -> bytes:
        """Run a command that must end with GOOD; return its data."""
        response = self.run(command)
        if response.status == CHECK_CONDITION:
            self._skip_if_not_there(command, response)
        assert response.status == GOOD, _told(command, response)
        return response.data

    def check(self, command: Command, expected: Code) -> SenseData:
        """Run a command that must end with CHECK CONDITION and that sense; return it."""
        response = self.run(command)
        assert response.status == CHECK_CONDITION, _told(command, response)
        if expected != INVALID_OPERATION_CODE:
            self._skip_if_not_there(command, response)
        sense = SenseData.decode(response.sense, response.data, response.residual)
        assert sense.code == expected, _told(command, response)
        return sense

    def conflict(self, command: Command) -> None:
        """Run a command that must end with RESERVATION CONFLICT."""
        response = self.run(command)
        if response.status == CHECK_CONDITION:
            self._skip_if_not_there(command, response)
        assert response.status == RESERVATION_CONFLICT, _told(command, response)

    def attentions(self) -> list[Code]:
        """Take the unit attentions that wait, by TEST UNIT READY; return them in their order."""
        taken: list[Code] = []
        for _ in range(_ATTENTIONS_MAX):
            response = self.run(test_unit_ready())
            if response.status != CHECK_CONDITION:
                break
            sense = SenseData.decode(response.sense)
            if sense.key != UNIT_ATTENTION:
                break
            taken.append(sense.code)
        return taken

    def wait(self, command: Command, done: Callable[[Response], bool], timeout_s: float) -> None:
        """Run a command until its response says so; for what a target does in its own time."""
        deadline = time.monotonic() + timeout_s
        while not done(response := self.run(command)):
            assert time.monotonic() < deadline, _told(command, response)
            time.sleep(_BUSY_POLL_S)

    def _skip_if_not_there(self, command: Command, response: Response) -> None:
        if self.lenient and SenseData.decode(response.sense).code == INVALID_OPERATION_CODE:
            pytest.skip(f"the target has no {command.name}")


def _told(command: Command, response: Response) -> str:
    sense = SenseData.decode(response.sense) if response.sense else "no sense"
    return f"{command.name} {command.cdb.hex(' ')}: status {response.status:02X}h, {sense}"
