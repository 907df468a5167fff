"""Memory of a drive's worker while it writes more and more on one tape."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

from tests.bench.report import Table
from tests.bench.targets import memory_mib
from tests.support.gateway import Gateway
from tests.support.tapebench import Tapebench

STEPS = 4
# Sealed ones, of which the youngest may still be on their way to the state.
_SEGMENTS_KEPT = 8
_TRIM_S = 0.2


def measure(tapebench: Tapebench, gateway: Gateway, total_mib: int) -> Table:
    """Write so much with the first drive of a gateway whose store is away, in steps.

    What is sealed is removed from the disks, which could not hold all of it.
    """
    table = Table(
        "Memory of a drive's worker while one tape is written, without a pause",
        ("GiB written", "MiB", "goal"),
    )
    ended = threading.Event()
    trimming = threading.Thread(target=_trim, args=(gateway, ended))
    trimming.start()
    try:
        step_mib = max(1, total_mib // STEPS)
        for step in range(1, STEPS + 1):
            options = ("-o", "write", "-E", "raw", "-b", "256k", "-t", f"{step_mib}m")
            done = tapebench.run(*options, "--no-rewind", urls=gateway.urls([1]))
            done.assert_clean()
            table.add(f"{step * step_mib / 1024:.0f}", f"{_most(gateway):.0f}", "60, flat")
    finally:
        ended.set()
        trimming.join()
    return table


def _most(gateway: Gateway) -> float:
    return max(memory_mib(pid) for pid in gateway.child_pids("serve.worker"))


def _trim(gateway: Gateway, ended: threading.Event) -> None:
    while not ended.wait(_TRIM_S):
        for disk in (gateway.cache, gateway.buffer):
            for tape in disk.glob("tapes/*"):
                _remove_old(tape)


def _remove_old(tape: Path) -> None:
    for path in sorted(tape.glob("*.seg"))[:-_SEGMENTS_KEPT]:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
