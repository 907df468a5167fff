"""Run the benchmarks: `tests/bench/run --help`."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import drives, filemarks, flat_memory, limits, positions, starting, store
from tests.bench.report import Table, write_page
from tests.bench.targets import Target, memory_mib, second_disk, served, tgtd
from tests.support.clients import PROJECT
from tests.support.gateway import Gateway
from tests.support.tapebench import Tapebench

PAGE = PROJECT / "docs" / "benchmarks.md"
# What one drive's worker writes while its memory is looked at.
FLAT_MIB = 32 << 10


def measure_drives(options: argparse.Namespace, folder: Path) -> list[Table]:
    """A drive of tgtd and one of ours, on one file system and on two."""
    results = drives.new_results()
    for _ in repeated(options, folder, results, drives.ONE_DRIVE):
        pass
    return drives.tables(results, drives.ONE_DRIVE)


def measure_uploaded(options: argparse.Namespace, folder: Path) -> list[Table]:
    """The same while the transfer process takes to a directory what has been written."""
    results = drives.new_results()
    for _ in repeated(options, folder, results, drives.UPLOADED, uploads=True):
        pass
    return drives.tables(results, drives.UPLOADED)


def measure_many(options: argparse.Namespace, folder: Path) -> list[Table]:
    """Several drives at once, filemarks of several, and what all that leaves of memory."""
    results = drives.new_results()
    memory: list[float] = []
    found: list[Table] = []
    for tapebench, targets, gateway in repeated(options, folder, results, drives.MANY_DRIVES):
        memory += [memory_mib(pid) for pid in gateway.child_pids("serve.worker")]
        if not found:
            found = [filemarks.measure(tapebench, targets)]
            found.append(flat_memory.measure(tapebench, gateway, int(FLAT_MIB * options.scale)))
    table = Table(
        "Memory of a drive's worker after all of the above", ("median MiB", "most", "goal")
    )
    memory.sort()
    table.add(f"{memory[len(memory) // 2]:.0f}", f"{memory[-1]:.0f}", "60")
    return [*drives.tables(results, drives.MANY_DRIVES), *found, table]


def repeated(
    options: argparse.Namespace,
    folder: Path,
    results: drives.Results,
    groups: Sequence[drives.Group],
    *,
    uploads: bool = False,
) -> Iterator[tuple[Tapebench, list[Target], Gateway]]:
    """Measure groups as often as there is time for; yield after each time what is served then."""
    tapebench = Tapebench.build(folder)
    count = max(workload.drives for group in groups for workload in group.workloads)
    count = max(count, filemarks.DRIVES)
    # However long the sections before took, there is time for some rows.
    until_s = max(options.drives_until_s, time.monotonic() + options.drives_s)
    with ExitStack() as peers:
        reference = peers.enter_context(tgtd(folder / "tgtd", count))
        disk = peers.enter_context(second_disk(folder / "second"))
        for repetition in range(options.repetitions):
            if repetition and time.monotonic() > until_s:
                break
            with ExitStack() as ours:
                one, gateway = ours.enter_context(
                    served("tapectl", folder / "one", count, uploads=uploads)
                )
                targets = [reference, one]
                if disk is not None:
                    two = served(
                        *("tapectl, two disks", folder / "two", count),
                        buffer=disk / "buffer",
                        uploads=uploads,
                    )
                    targets.append(ours.enter_context(two)[0])
                drives.measure(
                    *(results, groups, tapebench, targets, repetition),
                    scale=options.scale,
                    deadline_s=until_s,
                    say=say,
                )
                yield tapebench, targets, gateway


def measure_positions(options: argparse.Namespace, folder: Path) -> list[Table]:
    counts = (10_000, 10_000_000 if options.scale >= 0.5 else 100_000)
    return positions.measure(folder, Tapebench.build(folder), counts)


def measure_store(options: argparse.Namespace, folder: Path) -> list[Table]:
    tape_mib = int(1024 * options.scale)
    return store.measure(folder, Tapebench.build(folder), options.repetitions, tape_mib)


def measure_starting(options: argparse.Namespace, folder: Path) -> list[Table]:
    return starting.measure(folder / "starting", options.repetitions)


# Drives last: they are repeated while there is time.
SECTIONS: dict[str, Callable[[argparse.Namespace, Path], list[Table]]] = {
    "limits": lambda _options, folder: limits.measure(folder),
    "starting": measure_starting,
    "positions": measure_positions,
    "store": measure_store,
    "drives": measure_drives,
    "uploaded": measure_uploaded,
    "many": measure_many,
}
# How long all of it may take, in seconds; what is under way then is finished.
BUDGET_S, QUICK_BUDGET_S = 780, 200


def say(line: str) -> None:
    """Tell whoever watches."""
    print(line, file=sys.stderr, flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/bench/run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 repetitions of half the bytes")
    parser.add_argument("--only", action="append", choices=tuple(SECTIONS), help="a section")
    parser.add_argument("--repetitions", type=int, help="how often each row is run (3)")
    parser.add_argument("--scale", type=float, default=1.0, help="bytes, as a factor")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write; - for stdout")
    options = parser.parse_args()
    if str(options.page) != "-" and not options.page.is_file():
        parser.error(f"{options.page}: a page to write to has the markers of {PAGE}")
    if options.quick:
        options.scale /= 2
    options.repetitions = options.repetitions or (2 if options.quick else 3)
    budget_s = QUICK_BUDGET_S if options.quick else BUDGET_S
    options.drives_until_s = time.monotonic() + budget_s
    options.drives_s = budget_s / 2
    return options


def run_sections(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Run what was asked for, and yield the tables of each section with when and where it was.

    A section that fails says why, and the others are worth having.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tapectl-bench-") as folder:
        for name in [name for name in SECTIONS if name in (options.only or SECTIONS)]:
            say(f"== {name}, at {time.monotonic() - started:.0f} s")
            where = machine(options)
            try:
                tables = SECTIONS[name](options, Path(folder))
            except Exception:
                traceback.print_exc()
                continue
            yield name, "\n\n".join([where, *(table.markdown() for table in tables)])
    say(f"== {time.monotonic() - started:.0f} s")


def machine(options: argparse.Namespace) -> str:
    """Return when and where it was measured."""
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Linux {platform.release()}, Python"
        f" {platform.python_version()}; up to {options.repetitions} repetitions, bytes x"
        f" {options.scale:g}; load average when it began: {load}."
    )


def main() -> None:
    options = parse()
    for name, text in run_sections(options):
        say(text)
        if str(options.page) == "-":
            print(text)
        else:
            write_page(options.page, name, text)


if __name__ == "__main__":
    main()
