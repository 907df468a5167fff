"""Cuts the power of a gateway again and again, in one process that runs under the shim.

    python -m tests.faults.power_cut SEED LIVES CUTS

A life is led once with every change written down; then the disks are made as a cut at some point of
it may leave them, and the gateway is started on what is there.
"""

from __future__ import annotations

import bisect
import contextlib
import json
import random
import shutil
import sys
import traceback
from pathlib import Path

from tapectl.state.tape_status import TapeStatus
from tests.faults.disk_model import DiskModel, Kept
from tests.faults.failing_calls import TroubledLife
from tests.faults.one_process import SEGMENT_BYTES, TAPE, OneProcess
from tests.faults.shim import Call, Record, Shim
from tests.faults.tape_life import Life, Survivor

_STEPS_OF_A_LIFE = 30
# Seconds that segments wait before they are sealed, by turns: so that the power may be cut between
# a write and the sealing of the segment before it.
_SEALING_DELAYS: tuple[list[float], ...] = ([], [0.0, 0.003, 0.0, 0.01])

# Room for anything, and for a few segments.
_DISK_BYTES = (1 << 30, 10 * SEGMENT_BYTES)


def lead_life(shim: Shim, seed: int) -> tuple[Life, DiskModel, list[Record]]:
    """Lead a life in an empty directory; return it, the disk it began on, and what changed.

    In every third a flush fails once: the kernel forgets then what was to be flushed.
    """
    rng = random.Random(seed)
    shutil.rmtree(shim.root, ignore_errors=True)
    world = OneProcess(
        shim.root,
        shared=rng.random() < 0.5,
        sealing_delays=rng.choice(_SEALING_DELAYS),
        disk_bytes=rng.choice(_DISK_BYTES),
    )
    life = TroubledLife(world, rng, lambda: shim.position, repair=shim.relent)
    life.begin()
    model = DiskModel(shim.root)
    shim.clear_log()
    shim.log_changes(True)
    if seed % 3 == 0:
        shim.fail(Call.SYNC, at=rng.randint(1, 80))
    life.lead(_STEPS_OF_A_LIFE)
    shim.log_changes(False)
    shim.relent()
    world.abandon()
    return life, model, list(shim.records())


def cut_and_start(shim: Shim, seed: int, cuts: int) -> int:
    """Lead one life, cut the power that many times, often again while the gateway starts; return
    how many changes were made in the life."""
    shared = random.Random(seed).random() < 0.5
    life, model, records = lead_life(shim, seed)
    rng = random.Random(seed + 1)
    ends = [record.at for record in records]
    answers = [one.answered for one in life.objects.versions if one.answered in ends]
    # Half of the cuts right after an answer: what was promised is the nearest to being lost.
    points = [
        rng.choice(answers) if answers and rng.random() < 0.5 else rng.choice(ends)
        for _ in range(cuts)
    ]
    done = 0
    for number, at in enumerate(sorted(points)):
        until = bisect.bisect_right(ends, at)
        for record in records[done:until]:
            model.apply(record)
        done = until
        kept = rng.choice(list(Kept))
        choices = random.Random(f"{seed} {number}")
        shutil.rmtree(shim.root)
        make_disk(model, shim.root, kept, choices)
        try:
            if choices.random() < 0.3:
                cut_while_starting(shim, life, choices, shared=shared)
            _examine(shim.root, life, at, random.Random(f"{seed} {number} after"), shared=shared)
        except Exception as error:
            error.add_note(
                f"seed {seed}, cut {number} at {at} ({len(records)} changes), kept: {kept.value}, "
                f"{'one file' if shared else 'two files'} a segment"
            )
            raise
    return len(records)


def make_disk(model: DiskModel, root: Path, kept: Kept, choices: random.Random) -> None:
    """Let a power cut leave what it may below `root`."""
    rebind_archive_records(root / "store", model.cut(root, kept, choices))


def cut_while_starting(shim: Shim, life: Life, choices: random.Random, *, shared: bool) -> None:
    """Start on what a power cut has left, and cut the power again meanwhile."""
    model = DiskModel(shim.root)
    shim.clear_log()
    shim.log_changes(True)
    world = OneProcess(shim.root, shared=shared)
    world.gateway.ms = life.world.gateway.ms
    try:
        if world.gateway.tape(TAPE).status is TapeStatus.AVAILABLE:
            world.load()
        world.transfer(lambda: True)
    finally:
        shim.log_changes(False)
        world.abandon()
    records = list(shim.records())
    for record in records[: choices.randint(0, len(records))]:
        model.apply(record)
    shutil.rmtree(shim.root)
    make_disk(model, shim.root, choices.choice(list(Kept)), choices)


def rebind_archive_records(store: Path, files: dict[int, Path]) -> None:
    """Let the records of a directory store name their files anew.

    They do it by inode, and a disk that was made from a log has other inodes than the one that
    lost power.
    """
    for record in (store / ".tapectl-store" / "archived").rglob("*.json"):
        with contextlib.suppress(ValueError):
            document = json.loads(record.read_bytes())
            named = files.get(document["file"][0])
            if named is not None:
                status = named.stat()
                document["file"] = [status.st_ino, status.st_mtime_ns, status.st_size]
                record.write_text(json.dumps(document))


def _examine(root: Path, life: Life, at: int, rng: random.Random, *, shared: bool) -> None:
    world = OneProcess(root, shared=shared)
    try:
        world.gateway.ms = life.world.gateway.ms
        Survivor(world, rng).examine(
            life.objects.allowed(at),
            life.label.allowed(at),
            may_be_in_library=at < life.eject_answered,
            may_be_ejected=at > life.eject_issued,
        )
    finally:
        world.abandon()


def main(seed: int, lives: int, cuts: int) -> dict[str, int]:
    shim = Shim.inherited()
    changes = 0
    for life in range(lives):
        changes += cut_and_start(shim, seed + life, cuts)
    return {"power cuts": lives * cuts, "changes": changes}


if __name__ == "__main__":
    try:
        print(json.dumps(main(*map(int, sys.argv[1:]))))
    except Exception:
        traceback.print_exc()
        sys.exit(1)
