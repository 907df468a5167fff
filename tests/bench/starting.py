"""How long commands take: help, a list of 1,500 tapes, and `serve` until its portal answers."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.report import Table
from tests.bench.targets import children_cpu_s
from tests.support.gateway import Gateway

TAPES = 1500


def measure(folder: Path, repetitions: int) -> list[Table]:
    """Make a gateway with 1,500 tapes and time what a user waits for."""
    gateway = Gateway(folder)
    head = ("", "median s", "slowest", "goal", "CPU s")
    table = Table("Commands, and the start of `serve`", head)
    try:
        gateway.activate("--drives", "10")
        half = str(TAPES // 2)
        gateway.create_tapes("--count", half)
        gateway.create_tapes("--count", half)
        for words, goal in (("--help", "0.3"), ("tape list", "0.5"), ("status", "")):
            before_s = children_cpu_s()
            runs = [_seconds(lambda words=words: gateway.cli(*words.split())) for _ in range(5)]
            cpu_s = (children_cpu_s() - before_s) / len(runs)
            table.add(f"`tapectl {words}`", *_spread(runs), goal, f"{cpu_s:.2f}")
        starts = []
        for _ in range(repetitions):
            starts.append(_seconds(gateway.serve))
            gateway.stop()
        table.add(
            f"`tapectl serve` with {TAPES:,} tapes, until it answers", *_spread(starts), "", ""
        )
    finally:
        gateway.close()
    return [table]


def _seconds(action: Callable[[], object]) -> float:
    started = time.monotonic()
    action()
    return time.monotonic() - started


def _spread(runs: list[float]) -> tuple[str, str]:
    return f"{statistics.median(runs):.2f}", f"{max(runs):.2f}"
