"""Filemarks that synchronise: of one drive, of four at once, and while other drives write."""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.bench.report import Table
from tests.bench.targets import Target
from tests.support.initiator import Session
from tests.support.tape_client import TapeDrive
from tests.support.tapebench import Tapebench

BLOCK = bytes(65536)
BLOCKS_BETWEEN = 16
SAMPLES = 100
DRIVES = 4
LOAD_MIB = 1024


def measure(tapebench: Tapebench, targets: Sequence[Target]) -> Table:
    """Write 1 MiB and a filemark, again and again, on the first drives of each target."""
    table = Table(
        f"A filemark after each MiB ({SAMPLES} of them; ms)",
        ("", "drive", "p50", "p99", "slowest"),
    )
    for target in targets:
        table.add("alone", target.name, *_spread(_filemarks(target.urls[0])))
    for target in targets:
        with ThreadPoolExecutor() as threads:
            of_drives = threads.map(_filemarks, target.urls[:DRIVES])
        found = sorted(itertools.chain.from_iterable(of_drives))
        table.add("four drives at once", target.name, *_spread(found))
    for target in targets:
        load = threading.Thread(
            target=tapebench.run,
            args=("-o", "write", "-E", "raw", "-b", "256k", "-t", f"{LOAD_MIB // 3}m"),
            kwargs={"urls": target.urls[1:DRIVES]},
        )
        load.start()
        table.add(
            "while three drives write", target.name, *_spread(_filemarks(target.urls[0], load))
        )
        load.join()
    return table


def _filemarks(url: str, load: threading.Thread | None = None) -> list[float]:
    """Return how long each filemark took; under load, those that came while it lasted."""
    portal, name, lun = url.removeprefix("iscsi://").split("/")
    host, port = portal.split(":")
    drive = TapeDrive(Session((host, int(port)), name), int(lun))
    drive.wait_ready()
    drive.rewind()
    found: list[float] = []
    while len(found) < SAMPLES and (load is None or load.is_alive() or not found):
        for _ in range(BLOCKS_BETWEEN):
            drive.write_block(BLOCK)
        started = time.perf_counter()
        drive.write_filemarks(1)
        found.append((time.perf_counter() - started) * 1000)
    drive.session.logout()
    return sorted(found)


def _spread(found: list[float]) -> tuple[str, str, str]:
    p99 = found[min(len(found) - 1, len(found) * 99 // 100)]
    return f"{statistics.median(found):.1f}", f"{p99:.1f}", f"{found[-1]:.1f}"
