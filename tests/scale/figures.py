"""Makes the figures of scale in docs/benchmarks.md: one tape of 15 TiB, and a library of 1 PiB.

    python -m tests.scale.figures [--folder DIR] [--scale 1.0]

Takes some ten minutes and 4 GiB of disk. The table is written only when every step has done what it
should and no process has grown beyond the limit; with another scale it is only printed.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sqlite3
import tempfile
from collections.abc import Mapping
from pathlib import Path

import tapectl
from tapectl.units import MIB, PIB, TIB
from tests.scale import full_tape, many_tapes
from tests.scale.simulated_tape import BLOCK_BYTES
from tests.scale.steps import Result
from tests.support.clients import PROJECT

PAGE = PROJECT / "docs" / "benchmarks.md"
_BEGIN, _END = "<!-- scale: begin -->", "<!-- scale: end -->"
# What no process may grow by: a drive's worker; the transfer process, which has segments in hand,
# and commands, which end.
_WORKER_GROWTH_MAX, _GROWTH_MAX = 60 * MIB, 120 * MIB

Told = Mapping[str, Result]


def tape_rows(told: Told) -> list[str]:
    """Return the table of the long tape."""
    archived, read = told["archive"], told["read"]
    notes = {
        "upload": "recovery points of 8 segments each; the last one took"
        f" {1000 * told['upload']['last_point_s']:.0f} ms",
        "archive": f"{archived['objects']:.0f} objects; the longest pass"
        f" {archived['longest_pass_s']:.1f} s",
        "retrieve": f"the longest pass {told['retrieve']['longest_pass_s']:.1f} s",
        "read": f"the drive's worker: loaded in {1000 * read['load_s']:.0f} ms, LOCATE of the"
        f" middle, the end and the beginning {1000 * read['locate_s']:.2f} ms at most;"
        " a block read at each",
        "serve_fetches": "the transfer process meanwhile",
        "points": f"`recovery list`: the last 20 in {told['points']['last_20_s']:.2f} s, all"
        f" {told['points']['points']:,.0f} in the time given",
        "check": "`check`, with all names in the store",
        "adopt": "`gateway adopt` on an empty machine",
        "take_over": "`recovery restore` by another gateway, at an early point",
    }
    return _rows(told, notes)


def library_rows(told: Told) -> list[str]:
    """Return the table of the full library."""
    notes = {
        "fill": "created, claimed, and named in a manifest each",
        "one_pass": f"the first pass of a transfer process, with its inventory; one with nothing"
        f" to do {1000 * told['one_pass']['idle_s']:.0f} ms",
        "tape_list": f"`tape list`, three times; the best {told['tape_list']['best_s']:.2f} s,"
        f" of which the processor {told['tape_list']['cpu_s']:.2f} s",
        "serve": f"`serve` answers after {told['serve']['answers_s']:.2f} s; the rest is its end",
        "points": "`recovery list`: the latest point of every tape",
        "check": "`check`, with all names in the store",
        "adopt": "`gateway adopt` on an empty machine",
    }
    return _rows(told, notes)


def _rows(told: Told, notes: Mapping[str, str]) -> list[str]:
    return [
        "| step | time | memory grew by | |",
        "|---|---:|---:|---|",
        *(
            f"| {step} | {result['seconds']:.1f} s | {result['growth_bytes'] / MIB:.0f} MiB"
            f" | {notes[step]} |"
            for step, result in told.items()
        ),
    ]


def measure(folder: Path, scale: float) -> list[str]:
    """Run both simulations; return the lines of the page."""
    segments, tapes = (round(scale * one) for one in (full_tape.SEGMENTS, many_tapes.TAPES))
    folders = [folder / "tape", folder / "library"]
    for one in folders:
        one.mkdir()
    tape = full_tape.simulate(folders[0], segments, full_tape.BLOCKS)
    library = many_tapes.simulate(folders[1], tapes, many_tapes.SEGMENTS)
    for told in (tape, library):
        limits = {"read": _WORKER_GROWTH_MAX}
        for step, result in told.items():
            assert result["growth_bytes"] <= limits.get(step, _GROWTH_MAX), (step, result)
    versions = f"tapectl {tapectl.__version__}, Python {platform.python_version()}"
    size_tib = segments * full_tape.BLOCKS * BLOCK_BYTES / TIB
    return [
        f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}, {versions},"
        f" SQLite {sqlite3.sqlite_version}, {os.cpu_count()} cores.",
        "",
        f"One tape of {size_tib:.1f} TiB: {segments:,} segments of 256 MiB, blocks of 256 KiB.",
        "",
        *tape_rows(tape),
        "",
        f"A library of {tapes:,} tapes, {library['fill']['bytes'] / PIB:.2f} PiB:"
        f" {tapes * many_tapes.SEGMENTS:,} segments.",
        "",
        *library_rows(library),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--scale", type=float, default=1.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        made = "\n".join(measure(Path(folder), given.scale))
    print(made)
    if given.scale == 1.0:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
        after = rest.partition(_END)[2]
        PAGE.write_text(f"{before}{_BEGIN}\n{made}\n{_END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
