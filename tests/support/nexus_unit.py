"""A logical unit whose outcomes a test puts down beforehand."""

from __future__ import annotations

from collections.abc import Callable, Collection

from tapectl.scsi.logical_unit import Reply, Status


class ScriptedUnit:
    """GOOD to everything for which `outcomes` holds nothing else; remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.ran: list[tuple[bytes, bytes, int]] = []
        self.cdbs: list[bytes] = []
        self.outcomes: list[Reply | Exception] = []
        self.abort: Callable[[Collection[str]], None] = lambda _nexuses: None

    def execute(self, _nexus: str, cdb: bytes, data_out: memoryview, lun: int = 0) -> Reply:
        self.ran.append((cdb[:1], bytes(data_out), lun))
        self.cdbs.append(cdb)
        outcome = self.outcomes.pop(0) if self.outcomes else Reply(Status.GOOD)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def nexus_established(self, nexus: str) -> None:
        self.told.append(("established", nexus))

    def nexus_lost(self, nexus: str) -> None:
        self.told.append(("lost", nexus))

    def commands_cleared(self, nexus: str) -> None:
        self.told.append(("cleared", nexus))

    def abort_tasks_by(self, abort: Callable[[Collection[str]], None]) -> None:
        self.abort = abort

    def logical_unit_reset(self) -> None:
        self.told.append(("reset", ""))
