"""`--wait`: watch the state until what was begun is done, with a progress bar on a terminal.

Who does the work is the transfer process of a running `tapectl serve`; where
there is none, this process makes the passes itself, as `tapectl sync` does.
"""

from __future__ import annotations

import enum
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from tapectl.cli.session import open_gateway
from tapectl.errors import ExitCode, TapectlError, UsageError
from tapectl.units import format_size

if TYPE_CHECKING:
    from tapectl.gateway.settings import Settings
    from tapectl.gateway.tape_info import TapeInfo
    from tapectl.state.database import State

POLL_INTERVAL_S = 0.25
"""Between two looks at the state: a query of one row, and a person sees no delay."""


class WaitTimeoutError(TapectlError):
    """What was waited for did not finish in time; it goes on."""

    exit_code = ExitCode.WAIT_TIMEOUT
    code = "wait_timeout"
    aws_code = "RequestTimeout"


class WaitInVainError(TapectlError):
    """The tape has taken another way than the one that was waited for."""

    exit_code = ExitCode.TAPE_STATUS
    code = "tape_status"


class Wanted(enum.Enum):
    """The statuses that are waited for, the usual one first, and those on the way to it."""

    # A repeated request finds the tape wherever it has gone meanwhile.
    CREATED = (
        ("AVAILABLE", "IN TRANSIT TO VTS", "ARCHIVING", "ARCHIVED", "RETRIEVING", "RETRIEVED"),
        ("CREATING",),
    )
    ARCHIVED = (("ARCHIVED",), ("IN TRANSIT TO VTS", "ARCHIVING"))
    RETRIEVED = (("RETRIEVED",), ("RETRIEVING",))
    DELETED = (("DELETED",), ("DELETING",))

    def __init__(self, statuses: tuple[str, ...], on_the_way: tuple[str, ...]) -> None:
        self.statuses = statuses
        self.on_the_way = on_the_way

    def __str__(self) -> str:
        return self.statuses[0]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is: `percent` of 100 where that is known, and in words."""

    done: bool
    percent: float | None
    text: str


def require_wait(wait: bool, timeout_s: float | None) -> None:
    """Raise UsageError for a time to wait where nothing is waited for: a script would go on too
    early, and never know."""
    if timeout_s is not None and not wait:
        raise UsageError("--timeout goes with --wait", hint="say --wait, or leave --timeout away")


def bytes_progress(done_bytes: int, total_bytes: int | None) -> Progress:
    """Return how far something is; `total_bytes` None: nobody knows of how many bytes."""
    percent = min(100.0, 100 * done_bytes / total_bytes) if total_bytes else None
    of_all = f" of {format_size(total_bytes)}" if total_bytes else ""
    return Progress(done=False, percent=percent, text=f"{format_size(done_bytes)}{of_all}")


def wait_for_tape(
    context: typer.Context, barcode: str, wanted: Wanted, *, timeout_s: float | None
) -> TapeInfo:
    """Return a tape of the gateway once it has the wanted status; raises as `wait_for_tapes`."""
    with open_gateway(context) as (state, settings):
        (tape,) = wait_for_tapes(state, settings, [barcode], wanted, timeout_s=timeout_s)
    return tape


def wait_for_tapes(
    state: State,
    settings: Settings,
    barcodes: Sequence[str],
    wanted: Wanted,
    *,
    timeout_s: float | None,
) -> Sequence[TapeInfo]:
    """Return the tapes once all of them have the wanted status.

    Raises WaitTimeoutError, and WaitInVainError when one of them can no longer come to it.
    """
    from tapectl.gateway.tapes import list_tapes
    from tapectl.state.tape_status import TapeStatus

    names = frozenset(barcodes)

    def current() -> Sequence[TapeInfo]:
        # One barcode is the common case, and as a glob it is itself.
        glob = barcodes[0] if len(barcodes) == 1 else None
        found = list_tapes(state, statuses=TapeStatus, barcode=glob)
        return [tape for tape in found if tape.barcode in names]

    def look() -> Progress:
        return _progress_of(current(), wanted)

    what = barcodes[0] if len(barcodes) == 1 else f"{len(barcodes)} tapes"
    wait_until(settings, look, what=f"{what} → {wanted}", timeout_s=timeout_s)
    return current()


def _progress_of(tapes: Sequence[TapeInfo], wanted: Wanted) -> Progress:
    arrived = [tape for tape in tapes if tape.status in wanted.statuses]
    for tape in tapes:
        if tape.status not in wanted.statuses + wanted.on_the_way:
            reason = f" ({tape.status_detail})" if tape.status_detail else ""
            raise WaitInVainError(
                f"tape {tape.barcode} is {tape.status}{reason} and will not be {wanted}",
                hint=f"run `tapectl events {tape.barcode}`",
            )
    under_way = [tape for tape in tapes if tape.status not in wanted.statuses]
    if not under_way:
        return Progress(done=True, percent=100, text=str(wanted))
    waiting_bytes = sum(tape.waiting_bytes for tape in under_way)
    text = under_way[0].status_detail or under_way[0].status.value
    if waiting_bytes:
        text += f", {format_size(waiting_bytes)} to upload"
    known = [tape.progress for tape in under_way if tape.progress is not None]
    percent = (100 * len(arrived) + sum(known)) / len(tapes) if known or arrived else None
    return Progress(done=False, percent=percent, text=text)


def wait_until(
    settings: Settings,
    look: Callable[[], Progress],
    *,
    what: str,
    timeout_s: float | None,
) -> None:
    """Return once `look` says done; raise WaitTimeoutError after `timeout_s`."""
    from tapectl.serve.errors import AlreadyServingError
    from tapectl.serve.transfer import run_sync

    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    with progress_bar(what) as show:

        def finished() -> bool:
            progress = look()
            show(progress)
            if not progress.done and deadline is not None and time.monotonic() >= deadline:
                raise WaitTimeoutError(
                    f"gave up waiting after {timeout_s:g} s: {what}: {progress.text}",
                    hint="it goes on; watch it with `tapectl status`",
                )
            return progress.done

        while not finished():
            if _is_served(settings):
                time.sleep(POLL_INTERVAL_S)
                continue
            # One that is just starting up, or another sync, has waited for the lock in vain.
            with suppress(AlreadyServingError):
                run_sync(settings, until=finished)


def _is_served(settings: Settings) -> bool:
    from tapectl.serve.client import connect

    supervisor = connect(settings.state_path)
    if supervisor is None:
        return False
    with supervisor:
        return True


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[Progress], None]]:
    """Yield what shows progress on standard error: a bar on a terminal, else nothing."""
    if not sys.stderr.isatty():
        yield lambda _progress: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[state]}", markup=False),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None, state="")

        def show(progress: Progress) -> None:
            total = None if progress.percent is None else 100.0
            bar.update(task, total=total, completed=progress.percent or 0, state=progress.text)

        yield show
