"""`--wait`: watch the state until what was begun is done, with a progress bar on a terminal.

Who does the work is the transfer process of a running `tapectl serve`; where
there is none, this process makes the passes itself, as `tapectl sync` does.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tapectl.errors import ExitCode, TapectlError

if TYPE_CHECKING:
    from tapectl.gateway.settings import Settings

POLL_INTERVAL_S = 0.25
"""Between two looks at the state: a query of one row, and a person sees no delay."""


class WaitTimeoutError(TapectlError):
    """What was waited for did not finish in time; it goes on."""

    exit_code = ExitCode.WAIT_TIMEOUT
    code = "wait_timeout"
    aws_code = "RequestTimeout"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is: `percent` of 100 where that is known, and in words."""

    done: bool
    percent: float | None
    text: str


def wait_until(
    settings: Settings,
    look: Callable[[], Progress],
    *,
    what: str,
    timeout_s: float | None,
) -> None:
    """Return once `look` says done; raise WaitTimeoutError after `timeout_s`."""
    from tapectl.serve.client import connect_supervisor
    from tapectl.serve.transfer import run_sync

    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    with _progress_bar(what) as show:

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
            supervisor = connect_supervisor(Path(settings.state_path))
            if supervisor is None:
                run_sync(settings, until=finished)
            else:
                supervisor.close()
                time.sleep(POLL_INTERVAL_S)


@contextmanager
def _progress_bar(what: str) -> Iterator[Callable[[Progress], None]]:
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
