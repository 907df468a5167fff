"""Tapes that drives could not load when they started: what a load needs of the store, or of a disk,
may come later than the gateway, as after a power cut. They are tried again until they are loaded or
moved."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager

from tapectl.serve.drives import DriveUnit

RETRY_S = 5.0


class MissingTapes:
    """`drives` is the supervisor's own sequence, which grows with the library; whoever moves a tape
    holds `moving`."""

    def __init__(self, drives: Sequence[DriveUnit], moving: AbstractContextManager[object]) -> None:
        self._drives = drives
        self._moving = moving
        self._stopped = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="missing-tapes", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(RETRY_S):
            for drive in tuple(self._drives):
                if drive.lacks_tape:
                    with self._moving:
                        drive.load_again()
