"""Run the benchmarks: `tests/bench/run --help`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.bench import drives, filemarks, limits, positions, starting, store
from tests.bench.report import Table, write_page
from tests.bench.targets import memory_mib, second_disk, served, tgtd
from tests.support.clients import PROJECT
from tests.support.tapebench import Tapebench

PAGE = PROJECT / "docs" / "benchmarks.md"


def measure_drives(options: argparse.Namespace, folder: Path) -> list[Table]:
    """tgtd's drives and ours, on one file system and on two."""
    tapebench = Tapebench.build(folder)
    results = drives.new_results()
    memory: list[float] = []
    with ExitStack() as peers:
        reference = peers.enter_context(tgtd(folder / "tgtd", 4))
        disk = peers.enter_context(second_disk(folder / "second"))
        for repetition in range(options.repetitions):
            with ExitStack() as ours:
                one, gateway = ours.enter_context(served("tapectl", folder / "one", 4))
                targets = [reference, one]
                if disk is not None:
                    two = served("tapectl, two disks", folder / "two", 4, buffer=disk / "buffer")
                    targets.append(ours.enter_context(two)[0])
                drives.measure(
                    results, tapebench, targets, repetition, scale=options.scale, say=say
                )
                memory += [memory_mib(pid) for pid in gateway.child_pids("serve.worker")]
                if repetition == 0:
                    marks = filemarks.measure(tapebench, targets)
    table = Table(
        "Memory of a drive's worker after all of the above", ("median MiB", "most", "goal")
    )
    memory.sort()
    table.add(f"{memory[len(memory) // 2]:.0f}", f"{memory[-1]:.0f}", "60")
    return [*drives.tables(results), marks, table]


def measure_positions(_options: argparse.Namespace, folder: Path) -> list[Table]:
    return positions.measure(folder, Tapebench.build(folder), (10_000, 10_000_000))


def measure_store(options: argparse.Namespace, folder: Path) -> list[Table]:
    tape_mib = int(1024 * options.scale)
    return store.measure(folder, Tapebench.build(folder), options.repetitions, tape_mib)


def measure_starting(options: argparse.Namespace, folder: Path) -> list[Table]:
    return starting.measure(folder / "starting", options.repetitions)


# In the order in which they are run and stand in the page.
SECTIONS: dict[str, Callable[[argparse.Namespace, Path], list[Table]]] = {
    "limits": lambda _options, folder: limits.measure(folder),
    "drives": measure_drives,
    "positions": measure_positions,
    "store": measure_store,
    "starting": measure_starting,
}


def say(line: str) -> None:
    """Tell whoever watches."""
    print(line, file=sys.stderr, flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/bench/run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 repetitions of fewer bytes")
    parser.add_argument("--only", action="append", choices=tuple(SECTIONS), help="a section")
    parser.add_argument("--repetitions", type=int, help="how often each row is run (3)")
    parser.add_argument("--scale", type=float, default=1.0, help="bytes, as a factor")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write; - for stdout")
    options = parser.parse_args()
    if options.quick:
        options.scale /= 2
    options.repetitions = options.repetitions or (2 if options.quick else 3)
    return options


def main() -> None:
    options = parse()
    started = time.monotonic()
    tables: list[Table] = []
    with tempfile.TemporaryDirectory(prefix="tapectl-bench-") as folder:
        for name in options.only or SECTIONS:
            say(f"== {name}, at {time.monotonic() - started:.0f} s")
            try:
                found = SECTIONS[name](options, Path(folder))
            except Exception:
                # The other sections are worth having.
                traceback.print_exc()
                continue
            tables += found
            say("\n\n".join(table.markdown() for table in found))
    text = "\n\n".join(table.markdown() for table in tables)
    say(f"== {time.monotonic() - started:.0f} s")
    if str(options.page) == "-":
        print(text)
    else:
        write_page(options.page, text)


if __name__ == "__main__":
    main()
