"""LOCATE and SPACE on tapes of ten thousand and of ten million blocks."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.report import Table
from tests.bench.targets import served
from tests.support.tape_client import TapeDrive
from tests.support.tapebench import Tapebench

BLOCK_BYTES = 64
BLOCKS_PER_COMMAND = 2000
FILES = 10
SAMPLES = 50


def measure(folder: Path, tapebench: Tapebench, block_counts: tuple[int, ...]) -> list[Table]:
    """Fill one tape after the other with small blocks and ten filemarks; move about on each."""
    table = Table(
        "Positioning, by the command alone (p50 and slowest, ms)",
        ("blocks on the tape", "LOCATE(16)", "SPACE blocks", "SPACE filemarks", "goal"),
    )
    for number, count in enumerate(block_counts):
        with served("tapectl", folder / f"positions-{number}", 1) as (target, gateway):
            total = count * BLOCK_BYTES
            done = tapebench.run(
                *("-o", "write", "-E", "raw", "-f", "-n", str(BLOCKS_PER_COMMAND)),
                *("-b", str(BLOCK_BYTES), "-t", str(total), "--fm-every", str(total // FILES)),
                urls=target.urls,
            )
            done.assert_clean()
            drive = gateway.drive()
            drive.wait_ready()
            table.add(f"{count:,}", *_moves(drive, count), "5 (median)")
    table.notes.append(
        f"Blocks of {BLOCK_BYTES} bytes, a filemark after each tenth of them; {SAMPLES} moves each,"
        " to places drawn at random."
    )
    return [table]


def _moves(drive: TapeDrive, count: int) -> tuple[str, str, str]:
    draw = random.Random(count)
    places = [draw.randrange(count) for _ in range(SAMPLES)]
    file_objects = count // FILES + 1  # a filemark at its end

    def space_blocks(place: int) -> Callable[[], None]:
        drive.locate(place // file_objects * file_objects)
        return lambda: drive.space(0, 1 + place % (count // FILES))

    def space_filemarks(place: int) -> Callable[[], None]:
        drive.rewind()
        return lambda: drive.space(1, 1 + place % (FILES - 1))

    return (
        _times(lambda place: lambda: drive.locate(place), places),
        _times(space_blocks, places),
        _times(space_filemarks, places),
    )


def _times(prepare: Callable[[int], Callable[[], None]], places: list[int]) -> str:
    found = []
    for place in places:
        move = prepare(place)
        started = time.perf_counter()
        move()
        found.append((time.perf_counter() - started) * 1000)
    return f"{statistics.median(found):.2f}, {max(found):.1f}"
