"""A gateway that was thought dead comes back, at every call to the store that it can have been
stopped before: nothing it still writes counts, and nothing it still deletes is missed.

The stopped gateway leads the life of a tape: written, overwritten, let go of what that was,
archived, retrieved; and deletes another one. What has become of the tapes in between is told by who
has them now.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from datetime import UTC
from pathlib import Path

import pytest

from tapectl.gateway import recovery_points
from tapectl.gateway.adoption import disable_gateway
from tapectl.gateway.recovery_points import (
    WhichPoint,
    find_point,
    read_point,
    read_rows,
    restorable_numbers,
)
from tapectl.gateway.transfer import manifests
from tapectl.gateway.transfer.bucket_layout import ownership_key
from tapectl.gateway.transfer.ownership import read_ownership
from tapectl.medium import manifest
from tapectl.state.tape_status import TapeStatus
from tapectl.store.interface import ObjectNotFoundError, ObjectStore, StoreError
from tapectl.store.memory import MemoryStore
from tests.support.adopted_gateway import adopt_on
from tests.support.overtaken_store import OvertakenAtNth
from tests.support.transfer_gateway import GATEWAY, TransferGateway, run_until_idle
from tests.support.two_gateways import block, other_gateway, read, restore_point, write

TAPE, DOOMED = "FENCE1L5", "FENCE2L5"
# Segments of a few kilobytes are worth letting go of.
EXPIRY = {"keep_overwritten_days": 0, "segment_bytes": 64_000}
# More than a life has calls; that the loop ended before is asserted.
CALLS_MAX = 300
PASSES_MAX = 12
# Two segments of a tape in an archived object.
OBJECT_BYTES = 15_000

Contents = list[bytes | None]


@pytest.fixture(autouse=True)
def _short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let logs of a few segments have pages."""
    for module in (manifest, manifests, recovery_points):
        monkeypatch.setattr(module, "PAGE_ROWS", 2)


class Stopped:
    """The gateway that is stopped somewhere in the middle, and its store."""

    def __init__(self, root: Path) -> None:
        self.gateway = TransferGateway(root)
        self.inner = MemoryStore(retrieval_delay_s=60, now_ms=lambda: self.gateway.ms)
        self.uploaded: dict[str, int] = {}
        engine = self.gateway.engine(self.inner)
        engine.run_pass()  # the store knows it
        engine.close()

    def lead(self, store: ObjectStore) -> None:
        """Lead the life of the tapes as far as it goes; being fenced must be no crash."""
        engine = self.gateway.engine(
            store,
            upload_workers=1,
            archive_object_bytes=OBJECT_BYTES,
            **EXPIRY,
        )
        gateway = self.gateway
        for barcode in (TAPE, DOOMED):
            gateway.create_tape(barcode)

        def settle() -> None:
            for _ in range(PASSES_MAX):
                try:
                    if not engine.run_pass().done:
                        return
                except StoreError:
                    return

        def to(barcode: str, status: TapeStatus, **changes: str) -> None:
            if gateway.tape(barcode).status in (TapeStatus.IRRECOVERABLE, TapeStatus.DELETED):
                return
            gateway.change_status(barcode, status, **changes)

        settle()
        for seed in range(3):
            for barcode in (TAPE, DOOMED):
                if gateway.tape(barcode).status is TapeStatus.AVAILABLE:
                    write(gateway, barcode, [block(seed), block(seed + 50)], at=seed)
            settle()
        # What was overwritten goes.
        gateway.ms += 11 * 60_000
        settle()
        if gateway.tape(DOOMED).status is TapeStatus.AVAILABLE:
            to(DOOMED, TapeStatus.DELETING)
        settle()
        if gateway.tape(TAPE).status is TapeStatus.AVAILABLE:
            to(TAPE, TapeStatus.IN_TRANSIT_TO_VTS)
            settle()
        if gateway.tape(TAPE).status is TapeStatus.ARCHIVED:
            to(TAPE, TapeStatus.RETRIEVING, retrieval_tier="Bulk")
            settle()
            gateway.ms += 61_000
            settle()
        if gateway.tape(TAPE).status is TapeStatus.RETRIEVED:
            to(TAPE, TapeStatus.IN_TRANSIT_TO_VTS)
            settle()
        engine.close()

    def note_uploaded(self) -> None:
        """Note what the state says is in the store: its copies may be gone from the disks."""
        for barcode in (TAPE, DOOMED):
            try:
                status = self.gateway.tape(barcode).status
            except AssertionError:  # not created yet
                continue
            if status not in (TapeStatus.DELETING, TapeStatus.DELETED):
                records = self.gateway.segments(barcode)
                self.uploaded[barcode] = sum(one.uploaded_at_ms is not None for one in records)


class Successor:
    """Who has the tapes now, and reads them as the store has them."""

    def __init__(self, machine: TransferGateway, store: MemoryStore) -> None:
        self.machine = machine
        self.store = store
        self.contents: dict[str, Contents] = {}

    def look(self, barcodes: list[str]) -> dict[str, Contents]:
        """Read the tapes from the store alone; those on the shelf are brought back first."""
        engine = self.machine.engine(self.store)
        for barcode in barcodes:
            if self.machine.tape(barcode).status is TapeStatus.ARCHIVED:
                self.machine.change_status(barcode, TapeStatus.RETRIEVING, retrieval_tier="Bulk")
        run_until_idle(engine)
        self.machine.ms += 61_000
        run_until_idle(engine)
        self.machine.drop_cache()
        found = {barcode: read(self.machine, barcode, engine) for barcode in barcodes}
        engine.close()
        return found


def taken_by_another(stopped: Stopped, root: Path) -> Successor:
    """Another gateway recovers the tapes of the one that was thought dead."""
    machine = other_gateway(root)
    machine.ms = stopped.gateway.ms
    store = stopped.inner
    store._now_ms = lambda: max(machine.ms, stopped.gateway.ms)
    engine = machine.engine(store)
    engine.run_pass()
    engine.close()
    successor = Successor(machine, store)
    disable_gateway(store, GATEWAY.id, by="test")
    owned = [code for code in (TAPE, DOOMED) if is_owned(store, code)]
    for barcode in owned:
        restore_point(machine, store, barcode)
    successor.contents = successor.look(owned)
    return successor


def adopted_elsewhere(stopped: Stopped, root: Path) -> Successor:
    """Another machine becomes the gateway, and writes on."""
    store = stopped.inner
    _, machine = adopt_on(stopped.gateway, store, root)
    store._now_ms = lambda: max(machine.ms, stopped.gateway.ms)
    engine = machine.engine(store)
    run_until_idle(engine)
    owned = [code for code in (TAPE, DOOMED) if is_owned(store, code)]
    for barcode in owned:
        if machine.tape(barcode).status is TapeStatus.AVAILABLE:
            write(machine, barcode, [block(1000), block(1001)], None, engine)
    run_until_idle(engine)
    engine.close()
    successor = Successor(machine, store)
    readable = (TapeStatus.AVAILABLE, TapeStatus.ARCHIVED, TapeStatus.RETRIEVED)
    successor.contents = successor.look(
        [code for code in owned if machine.tape(code).status in readable]
    )
    return successor


def is_owned(store: ObjectStore, barcode: str) -> bool:
    """Whether there is a tape that nobody is deleting."""
    try:
        return b'"deleted_ms": null' in store.get(ownership_key(barcode))
    except ObjectNotFoundError:
        return False


@pytest.mark.parametrize("take", [taken_by_another, adopted_elsewhere])
def test_nothing_a_stale_gateway_does_counts(
    tmp_path: Path, take: Callable[[Stopped, Path], Successor]
) -> None:
    for n in itertools.count(1):
        stopped = Stopped(tmp_path / f"{n}")
        successors: list[Successor] = []

        def meanwhile(stopped: Stopped = stopped, root: Path = tmp_path / f"{n}-next") -> None:
            stopped.note_uploaded()
            successors.append(take(stopped, root))  # noqa: B023

        store = OvertakenAtNth(stopped.inner, n, meanwhile)
        stopped.lead(store)  # type: ignore[arg-type]
        if store.overtaken_at is None:
            assert n > 50
            return
        (successor,) = successors
        where = f"call {n}, {store.overtaken_at}"
        for barcode, contents in successor.contents.items():
            assert successor.look([barcode])[barcode] == contents, where
            known = [row.summary for row in successor.machine.segments(barcode)]
            assert len(known) >= stopped.uploaded.get(barcode, 0), where
            point = find_point(
                stopped.inner, read_ownership(stopped.inner, barcode).ownership, WhichPoint(), UTC
            )
            assert point.head.gateway_id == successor.machine.gateway.id, where
            assert [row.summary for row in read_rows(stopped.inner, point)] == known, where
        assert n < CALLS_MAX


def test_a_stale_gateway_lets_go_of_nothing_that_another_has(tmp_path: Path) -> None:
    """What was overwritten is about to go when another gateway brings the tape back to what it was
    before, or to the first point that is left."""
    old, new = [block(seed) for seed in range(3)], [block(seed) for seed in range(10, 12)]
    seen: set[tuple[bytes, ...]] = set()
    for n in itertools.count(1):
        stopped = Stopped(tmp_path / f"{n}")
        gateway, inner = stopped.gateway, stopped.inner
        gateway.create_tape(TAPE)
        engine = gateway.engine(inner, upload_workers=1, segment_bytes=64_000)
        run_until_idle(engine)
        write(gateway, TAPE, old)
        run_until_idle(engine)
        write(gateway, TAPE, new)
        run_until_idle(engine)
        gateway.ms += 11 * 60_000
        run_until_idle(engine)  # sees it
        engine.close()
        successors: list[TransferGateway] = []

        def meanwhile(
            inner: MemoryStore = inner, root: Path = tmp_path / f"{n}-next", ms: int = gateway.ms
        ) -> None:
            machine = other_gateway(root)
            machine.ms = ms
            engine = machine.engine(inner)
            engine.run_pass()
            disable_gateway(inner, GATEWAY.id, by="test")
            first = min(restorable_numbers(inner, TAPE))
            while read_point(inner, TAPE, first).head.used_bytes == 0:
                first += 1
            restore_point(machine, inner, TAPE, first)
            run_until_idle(engine)
            engine.close()
            successors.append(machine)  # noqa: B023

        store = OvertakenAtNth(inner, n, meanwhile)
        engine = gateway.engine(store, upload_workers=1, **EXPIRY)  # type: ignore[arg-type]
        with contextlib.suppress(StoreError):
            for _ in range(PASSES_MAX):
                engine.run_pass()
        engine.close()
        if store.overtaken_at is None:
            assert n > 8
            # Before, and after.
            assert seen == {tuple(old), tuple(new)}
            return
        (machine,) = successors
        machine.ms += 1000
        engine = machine.engine(inner)
        machine.drop_cache()
        found = tuple(one for one in read(machine, TAPE, engine) if one is not None)
        engine.close()
        assert found in (tuple(old), tuple(new)), f"call {n}, {store.overtaken_at}"
        seen.add(found)
        assert n < CALLS_MAX
