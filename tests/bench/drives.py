"""Drives: the same blocks to tgtd's drives and ours, in turn, by tapebench's own initiator."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.bench.report import Table
from tests.bench.targets import Target, warm_memory
from tests.support.tapebench import Tapebench

REFERENCE = "tgtd"
OPERATIONS = ("write", "read")


@dataclass(frozen=True, slots=True)
class Workload:
    """A row: blocks of a size, `options` of tapebench, MiB a drive, and the ratios to reach."""

    block: str
    options: tuple[str, ...]
    drive_mib: int
    goals: tuple[float, float] | None = None  # write, read
    drives: int = 1


@dataclass(frozen=True, slots=True)
class Group:
    """Workloads that make one table."""

    title: str
    workloads: tuple[Workload, ...]


def _sizes(
    options: tuple[str, ...],
    rows: Sequence[tuple[str, int, tuple[float, float] | None]],
    drives: int = 1,
) -> tuple[Workload, ...]:
    return tuple(Workload(block, options, mib, goals, drives) for block, mib, goals in rows)


# fmt: off
ONE_DRIVE = (
    Group("One drive, one command at a time, blocks of variable length", _sizes((), (
        ("10k", 96, (1.5, 1.5)), ("64k", 384, (1.5, 1.5)),
        ("256k", 512, (1.5, 2.0)), ("1m", 512, (1.5, 3.0)),
    ))),
    Group("The same with data digests", _sizes(("--data-digest",), (
        ("10k", 64, (2.5, 2.5)), ("64k", 192, (4.0, 4.0)),
        ("256k", 256, (5.0, 5.0)), ("1m", 256, (6.0, 6.0)),
    ))),
    Group("Fixed blocks, 26 a command (15 of 1m: 16 MiB are the most)", tuple(
        Workload(block, ("-f", "-n", "15" if block == "1m" else "26"), 512)
        for block in ("10k", "64k", "256k", "1m")
    )),
)
UPLOADED = (replace(ONE_DRIVE[0], title="One drive whose tape is uploaded meanwhile"),)
MANY_DRIVES = (
    Group("Four drives at once, all of them together", _sizes((), (
        ("10k", 48, None), ("64k", 192, (1.8, 1.8)), ("256k", 256, (1.8, 1.8)), ("1m", 256, None),
    ), drives=4)),
    Group("Ten drives at once", _sizes((), (("64k", 96, None), ("256k", 96, None)), drives=10)),
)
# fmt: on


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: rate, latencies of a command, and processor time of the server."""

    mib_per_s: float
    p50_us: float
    p99_us: float
    cpu_s_per_gib: float


# Group, workload and operation -> target -> repetitions in order.
Results = dict[tuple[str, Workload, str], dict[str, list[Measured]]]


def new_results() -> Results:
    return defaultdict(lambda: defaultdict(list))


def measure(
    results: Results,
    groups: Sequence[Group],
    tapebench: Tapebench,
    targets: Sequence[Target],
    repetition: int,
    *,
    scale: float,
    deadline_s: float,
    say: Callable[[str], None],
) -> None:
    """Run every workload once on each target, writing and then reading, the targets in turn.

    Begins none after `deadline_s` of the monotonic clock.
    """
    for group in groups:
        for workload in group.workloads:
            if time.monotonic() > deadline_s:
                return
            # Whoever comes second finds other caches: that is not always the same one.
            for target in targets if repetition % 2 else targets[::-1]:
                for operation in OPERATIONS:
                    one = run_once(tapebench, target, workload, operation, repetition, scale)
                    results[group.title, workload, operation][target.name].append(one)
                    say(
                        f"{workload.drives} x {workload.block} {' '.join(workload.options)}"
                        f" {operation} {target.name}: {one.mib_per_s:.0f} MiB/s,"
                        f" p50 {one.p50_us:.0f} us, {one.cpu_s_per_gib:.2f} s/GiB"
                    )


def run_once(
    tapebench: Tapebench,
    target: Target,
    workload: Workload,
    operation: str,
    seed: int,
    scale: float = 1.0,
) -> Measured:
    """Run one workload; another seed each time shows stale data as an error."""
    total_mib = max(1, round(workload.drive_mib * scale))
    options = ("-o", operation, "-E", "raw", "-b", workload.block, "-t", f"{total_mib}m")
    if operation == "write":
        # Two copies, and some for the processes themselves.
        warm_memory(2 * total_mib * workload.drives + 256)
    before_s = target.cpu_s()
    done = tapebench.run(
        *options,
        *workload.options,
        "--seed",
        str(seed + 1),
        urls=target.urls[: workload.drives],
    )
    done.assert_clean()
    report: dict[str, Any] = done.report
    return Measured(
        mib_per_s=report["mibs"],
        p50_us=report["lat_p50_us"],
        p99_us=report["lat_p99_us"],
        cpu_s_per_gib=(target.cpu_s() - before_s) / (report["bytes"] / 2**30),
    )


def tables(results: Results, groups: Sequence[Group]) -> list[Table]:
    """Return the medians, and of each repetition's ratios to the reference the median."""
    found = []
    for group in groups:
        table = Table(
            group.title,
            (
                *("", "drive", "MiB/s", "x tgtd", "goal"),
                *("p50 us", "x tgtd", "p99 us", "CPU s/GiB", "x tgtd"),
            ),
        )
        for workload in group.workloads:
            for operation in OPERATIONS:
                of_targets = results.get((group.title, workload, operation), {})
                for name, runs in of_targets.items():
                    table.add(
                        f"{workload.block} {operation}",
                        name,
                        *_cells(workload, operation, runs, of_targets[REFERENCE], name),
                    )
        if table.rows:
            found.append(table)
    return found


def _cells(
    workload: Workload,
    operation: str,
    runs: Sequence[Measured],
    reference: Sequence[Measured],
    name: str,
) -> tuple[str, ...]:
    def median(of: Callable[[Measured], float]) -> float:
        return statistics.median(map(of, runs))

    def ratio(of: Callable[[Measured], float]) -> str:
        if name == REFERENCE:
            return ""
        pairs = zip(runs, reference, strict=True)
        # The clock of a process ticks in hundredths: a short run may have used none.
        return f"{statistics.median(of(a) / max(of(b), 0.01) for a, b in pairs):.2f}"

    goal = ""
    if workload.goals is not None and name != REFERENCE:
        goal = f"{workload.goals[OPERATIONS.index(operation)]:.1f}"
    return (
        f"{median(lambda one: one.mib_per_s):.0f}",
        ratio(lambda one: one.mib_per_s),
        goal,
        f"{median(lambda one: one.p50_us):.0f}",
        ratio(lambda one: one.p50_us),
        f"{median(lambda one: one.p99_us):.0f}",
        f"{median(lambda one: one.cpu_s_per_gib):.2f}",
        ratio(lambda one: one.cpu_s_per_gib),
    )
