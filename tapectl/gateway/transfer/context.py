"""What every step of the transfer engine works with, and what it reports."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tapectl.gateway.settings import Settings
from tapectl.state.database import State
from tapectl.state.gateways import GatewayRecord
from tapectl.state.tapes import Stamp
from tapectl.store.interface import ObjectStore

ACTOR = "transfer"


class StoppedError(Exception):
    """The engine was told to stop; what was under way is taken up by the next pass or process."""


@dataclass(frozen=True, slots=True)
class StepReport:
    """What a step did: `done` changes, `waiting` things that cannot go on yet.

    `next_due_ms` is the time since 1970 at which it wants to run again by itself; None: only
    when something else has happened.
    """

    done: int = 0
    waiting: int = 0
    next_due_ms: int | None = None


# What the engine as a whole reports is of the same kind.
PassReport = StepReport


def combine(reports: Iterable[StepReport]) -> StepReport:
    """Return the sum of reports and the earliest of their times."""
    found = list(reports)
    due = [report.next_due_ms for report in found if report.next_due_ms is not None]
    return StepReport(
        sum(report.done for report in found),
        sum(report.waiting for report in found),
        min(due, default=None),
    )


@dataclass(frozen=True, slots=True)
class TransferContext:
    """The gateway, its state and its store. `pool` has settings.upload_workers threads."""

    state: State
    store: ObjectStore
    settings: Settings
    gateway: GatewayRecord
    now_ms: Callable[[], int]
    pool: ThreadPoolExecutor
    stopping: threading.Event

    def stamp(self) -> Stamp:
        """Return who does it, now."""
        return Stamp(ACTOR, self.now_ms())

    def check_stop(self) -> None:
        """Raise StoppedError if the engine is to stop; called between objects."""
        if self.stopping.is_set():
            raise StoppedError
