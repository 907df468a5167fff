"""Makes the figures of docs/reliability.md: the long form of every test of faults.

    python -m tests.faults.figures [--scale 1.0] [--seed N] [--fuzz-cases N] [--results FILE]

Takes about half an hour on two cores at scale 1. What fails ends it, with the seed to repeat it;
the table is written only when nothing has been lost and nothing was stuck. What is in the file of
results, from a run of the same seed that was ended, is not done again.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import os
import platform
import random
import re
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path

import tapectl
from tests.faults import shim
from tests.faults.failing_calls import FAILURES, STORE_FAILURES
from tests.support.clients import PROJECT

PAGE = PROJECT / "docs" / "reliability.md"
_BEGIN, _END = "<!-- figures: begin -->", "<!-- figures: end -->"
# At scale 1. A life is what one tape goes through; power is cut and calls fail in it.
KILL_RUNS, KILLS_A_RUN = 8, 25
POWER_LIVES, CUTS_A_LIFE = 250, 20
SERVED_CUTS = 24
SERVED_LIVES = 10
# On two cores: half of the time a gateway waits for something.
AT_ONCE = 3

Figures = Mapping[str, int]
MANNERS = (*FAILURES, *STORE_FAILURES)


class Runs:
    """Starts modules of this folder, each with a folder of its own that goes with it."""

    def __init__(self, folder: Path, seed: int, scale: float) -> None:
        self._folder = folder
        self._library = shim.build(folder)
        self._scale = scale
        self._serials = itertools.count()
        self.seed = seed

    def scaled(self, count: int) -> int:
        return max(1, round(count * self._scale))

    def kills(self) -> Figures:
        total: Counter[str] = Counter()
        for run in range(self.scaled(KILL_RUNS)):
            total.update(_module("kills", str(self.seed + run), str(KILLS_A_RUN)))
        return total

    def power_cuts(self) -> Figures:
        lives = str(self.scaled(POWER_LIVES))
        return self._under("power_cut", str(self.seed), lives, str(CUTS_A_LIFE))

    def failing_calls(self, manner: str) -> Figures:
        # 0: every call there is.
        return self._under("failing_calls", str(self.seed), "0", manner)

    def served_cuts(self) -> Figures:
        return _module("served_faults", "power", str(self.seed), str(self.scaled(SERVED_CUTS)))

    def served_calls(self) -> Figures:
        return _module("served_faults", "calls", str(self.seed), str(self.scaled(SERVED_LIVES)))

    def _under(self, module: str, *arguments: str) -> Figures:
        folder = self._folder / f"{next(self._serials)}"
        found: Figures = shim.run_under(self._library, folder, module, *arguments)
        return found


def fuzz(cases: int) -> int:
    """Run the fuzz tests; return how many cases passed."""
    output = _run(
        [sys.executable, "-m", "pytest", "-q", "--hypothesis-show-statistics", "tests/fuzz"],
        {"TAPECTL_FUZZ_CASES": str(cases)},
    )
    return sum(map(int, re.findall(r"(\d+) passing, 0 failing", output)))


def _module(module: str, *arguments: str) -> Figures:
    output = _run([sys.executable, "-m", f"tests.faults.{module}", *arguments], {})
    found: Figures = json.loads(output.splitlines()[-1])
    return found


def _run(command: list[str], environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        command,
        cwd=PROJECT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}")
    return done.stdout


def measure(runs: Runs, fuzz_cases: int, results: Path | None) -> dict[str, Figures]:
    """Run everything that is not in `results`; return the figures of each kind by its name."""
    jobs: dict[str, Callable[[], Figures]] = {
        "power cuts": runs.power_cuts,
        **{f"call: {one}": partial(runs.failing_calls, str(one)) for one in MANNERS},
        "kills": runs.kills,
        "served power cuts": runs.served_cuts,
        "served calls": runs.served_calls,
        "fuzz": lambda: {"cases": fuzz(fuzz_cases)},
    }
    found: dict[str, Figures] = {}
    if results is not None and results.exists():
        found |= json.loads(results.read_text())
    writing = threading.Lock()

    def run(name: str) -> None:
        try:
            found[name] = jobs[name]()
        except Exception as error:
            print(name, error, flush=True)
            raise
        print(name, json.dumps(found[name]), flush=True)
        if results is not None:
            with writing:
                results.write_text(json.dumps(found))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        left = [pool.submit(run, name) for name in jobs if name not in found]
        done, _ = wait(left, return_when=FIRST_EXCEPTION)
        # What has not begun is not worth beginning when one has failed.
        pool.shutdown(wait=False, cancel_futures=True)
        for one in done:
            one.result()
    return found


def table(found: Mapping[str, Figures], seed: int) -> str:
    """Return the figures as a page has them."""
    killed = {name: count for name, count in found["kills"].items() if name != "commands"}
    calls = {str(one): found[f"call: {one}"][str(one)] for one in MANNERS}
    served = found["served calls"]
    cuts, served_cuts = found["power cuts"], found["served power cuts"]
    rows = (
        (
            "processes killed (`kill -9`)",
            sum(killed.values()),
            ", ".join(f"{count} {name}s" for name, count in sorted(killed.items()))
            + f"; {found['kills']['commands']:,} commands between",
        ),
        (
            "calls failed, one process",
            sum(calls.values()),
            f"every call of a life, in {len(calls)} manners",
        ),
        ("calls failed, served gateway", sum(served.values()), "a sample"),
        (
            "power cuts, one process",
            cuts["power cuts"],
            f"in lives of {cuts['changes']:,} changes; one in three cut again while it started",
        ),
        (
            "power cuts, served gateway",
            served_cuts["power cuts"],
            f"in lives of {served_cuts['changes']:,} changes, from the first command on",
        ),
        ("bad inputs", found["fuzz"]["cases"], "the fuzz tests; each case a sequence of many"),
    )
    versions = f"tapectl {tapectl.__version__}, Python {platform.python_version()}"
    lines = [
        f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}, seed {seed}, {versions},"
        f" SQLite {sqlite3.sqlite_version}.",
        "",
        "| fault | tried | acknowledged blocks lost | tapes stuck | |",
        "|---|---:|---:|---:|---|",
        *(f"| {name} | {count:,} | 0 | 0 | {what} |" for name, count, what in rows),
        "",
        "Calls failed, by kind: "
        + ", ".join(f"{name} {count:,}" for name, count in calls.items())
        + ".",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(30))
    parser.add_argument("--fuzz-cases", type=int, default=5000)
    parser.add_argument("--results", type=Path)
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(Path(folder), given.seed, given.scale)
        found = measure(runs, given.fuzz_cases, given.results)
    made = table(found, given.seed)
    print(made)
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    after = rest.partition(_END)[2]
    PAGE.write_text(f"{before}{_BEGIN}\n{made}\n{_END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
