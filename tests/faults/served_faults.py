"""Power cuts and failing calls under the command line and a served gateway, all its processes.

    python -m tests.faults.served_faults power SEED CUTS
    python -m tests.faults.served_faults calls SEED LIVES

Slow, each start of a gateway takes seconds; the many cases are in power_cut.py and in
failing_calls.py, which run in one process. Here are all processes, and the first commands too.
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.faults import shim as shims
from tests.faults.disk_model import DiskModel, Kept
from tests.faults.failing_calls import FAILURES
from tests.faults.kills import SETTINGS, check
from tests.faults.power_cut import make_disk
from tests.faults.served_tape import TROUBLE, ServedTape
from tests.faults.shim import Record, Shim
from tests.support.gateway import Gateway

BARCODE = "FAULT1L5"
_STEPS = 25
_CUTS_A_LIFE = 8
_FAILURES_A_LIFE = 5


@dataclass(slots=True)
class Milestones:
    """Where in the log the answers of the first commands came, and of the eject."""

    activated: int = 0
    created: int = 0
    eject_begun: int = 1 << 62
    ejected: int = 1 << 62


class Served:
    """A gateway below the shim's root, its log outside."""

    def __init__(self, folder: Path, shim: Shim) -> None:
        self.gateway = Gateway(shim.root, **SETTINGS)
        self.gateway.log_path = folder / "serve.log"
        self.gateway.credentials = shim.environment

    def set_up(self) -> None:
        """Everything up to a tape in the library; what is done already may be refused."""
        gateway = self.gateway
        if gateway.run("status").returncode:
            store = str(gateway.store)
            gateway.cli("activate", "--name", "test", "--store", store, "--drives", "1")
        known = {disk["DiskPath"] for disk in gateway.json("disk", "list")}
        for word, path in (("add-cache", gateway.cache), ("add-buffer", gateway.buffer)):
            if str(path) not in known:
                gateway.cli("disk", word, str(path))
        gateway.cli(
            *("tape", "create", "--barcode", BARCODE, "--size", "100GiB", "--to-slots"),
            *("--if-not-exists", "--wait"),
        )

    def tape(self, rng: random.Random, shim: Shim) -> ServedTape:
        tape = ServedTape(
            self.gateway, BARCODE, drive_number=1, rng=rng, position=lambda: shim.position
        )
        targets = self.gateway.targets()
        self.gateway.targets = lambda: targets  # type: ignore[method-assign]
        return tape

    def to_the_shelf_and_back(self, tape: ServedTape) -> None:
        """Eject a tape that may be in the drive, retrieve it, and read it."""
        gateway = self.gateway
        if gateway.tape_status(BARCODE) == "AVAILABLE":
            tape.begin()
            tape.leave()
            tape._unload()
            gateway.cli("tape", "eject", BARCODE)
        if gateway.tape_status(BARCODE) != "RETRIEVED":
            gateway.wait_status(BARCODE, "ARCHIVED")
            gateway.cli("tape", "retrieve", BARCODE)
            gateway.wait_status(BARCODE, "RETRIEVED")
        tape.begin()


def lead_life(folder: Path, shim: Shim, seed: int) -> tuple[ServedTape, Milestones, list[Record]]:
    """From an empty directory to an archived tape, all of it written down."""
    rng = random.Random(seed)
    milestones = Milestones()
    served = Served(folder, shim)
    gateway = served.gateway
    shim.clear_log()
    shim.log_changes(True)
    try:
        gateway.activate("--drives", "1")
        milestones.activated = shim.position
        served.set_up()
        milestones.created = shim.position
        gateway.serve()
        tape = served.tape(rng, shim)
        tape.begin()
        for _ in range(_STEPS):
            tape.step()
        tape.leave()
        if rng.random() < 0.5:
            tape._change(tape.tape, tape._unload, synchronises=True)
            milestones.eject_begun = shim.position
            gateway.cli("tape", "eject", BARCODE)
            milestones.ejected = shim.position
            gateway.wait_status(BARCODE, "ARCHIVED")
        gateway.kill_server()
    finally:
        gateway.close()
    # The children have seen their supervisor die, and leave.
    Gateway(shim.root, **SETTINGS).run("sync")
    shim.log_changes(False)
    return tape, milestones, list(shim.records())


def cut_power(folder: Path, library: Path, seed: int, cuts: int) -> dict[str, int]:
    """Cut the power that many times, and start the gateway with its own commands each time."""
    done = changes = 0
    while done < cuts:
        with _shim(folder, library) as shim:
            for made in ("gateway", "cache", "buffer", "store"):
                (shim.root / made).mkdir()
            model = DiskModel(shim.root)
            tape, milestones, records = lead_life(folder, shim, seed + done)
            changes += len(records)
            rng = random.Random(seed + done)
            share = min(_CUTS_A_LIFE, cuts - done)
            points = sorted(rng.randrange(len(records)) for _ in range(share))
            applied = 0
            for point in points:
                for record in records[applied : point + 1]:
                    model.apply(record)
                applied = point + 1
                kept = rng.choice(list(Kept))
                shutil.rmtree(shim.root)
                make_disk(model, shim.root, kept, rng)
                at = records[point].at
                try:
                    _start_after_cut(folder, shim, tape, milestones, at)
                except BaseException as error:
                    error.add_note(f"seed {seed + done}, cut after change {point}: {kept.value}")
                    raise
            done += share
    return {"power cuts": done, "changes": changes}


def _start_after_cut(
    folder: Path, shim: Shim, before: ServedTape, milestones: Milestones, at: int
) -> None:
    served = Served(folder, shim)
    gateway = served.gateway
    try:
        if at >= milestones.activated:
            gateway.cli("status")
        if at >= milestones.created:
            assert gateway.barcodes() == [BARCODE]
        served.set_up()
        gateway.serve()
        tape = served.tape(random.Random(at), shim)
        status = gateway.tape_status(BARCODE)
        assert status == "AVAILABLE" or at > milestones.eject_begun, status
        assert status != "AVAILABLE" or at < milestones.ejected, "the eject is lost"
        allowed = before.objects.allowed(at), before.label.allowed(at)
        if status == "AVAILABLE":
            tape.begin()
            tape.compare(*allowed)
            tape.write_some()
            tape.filemark()
            tape.compare_after_death()
            allowed = [tape.tape], [tape.label.now]
            tape.leave()
        served.to_the_shelf_and_back(tape)
        tape.compare(*allowed)
        tape.leave()
        found = check(gateway)
        assert not found, found
    except BaseException as error:
        error.add_note(gateway.log()[-3000:])
        raise
    finally:
        gateway.close()


def fail_calls(folder: Path, library: Path, seed: int, lives: int) -> dict[str, int]:
    """In each life let calls of random kinds fail, one after the other."""
    failed: Counter[str] = Counter()
    for life in range(lives):
        rng = random.Random(f"{seed} {life}")
        failing: list[str] = []
        with _shim(folder, library) as shim:
            served = Served(folder, shim)
            try:
                served.set_up()
                served.gateway.serve()
                tape = served.tape(rng, shim)
                tape.begin()
                for _ in range(_FAILURES_A_LIFE):
                    failure = rng.choice(FAILURES)
                    failing.append(str(failure))
                    shim.fail(
                        failure.call,
                        at=rng.randint(1, 10),
                        error=failure.error,
                        short_write=failure.short_write,
                    )
                    _live_through_failure(tape)
                    where = shim.relent().where
                    failing.append(f"{where}")
                    failed[str(failure)] += where is not None
                served.to_the_shelf_and_back(tape)
                tape.compare_after_death()
                tape.leave()
                found = check(served.gateway)
                assert not found, found
            except BaseException as error:
                note = f"seed {seed}, life {life}, {failing}, {shim.relent().where}"
                error.add_note(f"{note}\n{served.gateway.log()[-3000:]}")
                raise
            finally:
                served.gateway.close()
    return dict(+failed)


def _live_through_failure(tape: ServedTape) -> None:
    for _ in range(_STEPS // _FAILURES_A_LIFE):
        try:
            tape.step()
        except TROUBLE:
            tape.reload_by_force()
            tape.compare_after_death()


@contextlib.contextmanager
def _shim(folder: Path, library: Path) -> Iterator[Shim]:
    """A shim over an empty directory that is removed afterwards."""
    root = folder / "root"
    root.mkdir()
    try:
        yield Shim.create(folder, root, library=library)
    finally:
        shutil.rmtree(root)


def main(what: str, seed: str, count: str) -> dict[str, int]:
    with tempfile.TemporaryDirectory() as folder:
        library = shims.build(Path(folder))
        work = {"power": cut_power, "calls": fail_calls}[what]
        return work(Path(folder), library, int(seed), int(count))


if __name__ == "__main__":
    try:
        print(json.dumps(main(*sys.argv[1:])))
    except Exception:
        traceback.print_exc()
        sys.exit(1)
