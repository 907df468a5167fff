"""A small activated gateway with two local disks, and a clock that tests turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tapectl.disks.disk_directory import DiskMarker, prepare
from tapectl.gateway.activation import ActivationRequest, activate
from tapectl.gateway.tape_creation import TapeCreation, create_tapes
from tapectl.state import disks, tapes
from tapectl.state.database import State
from tapectl.state.disks import DiskRecord, DiskRole
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import Stamp
from tapectl.store.memory import MemoryStore
from tapectl.units import GIB, MIB
from tests.support.closing import closed_at_end

# AWS-Gateway-VTL begins its drives, slots and import/export slots here.
DRIVE, SLOT, IE = 10_000, 20_000, 30_000


class Clock:
    """A clock that stands until a test turns it."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def activation() -> ActivationRequest:
    return ActivationRequest(
        name="lab",
        store_url="s3://bucket/prefix",
        drive_count=2,
        slot_count=6,
        import_export_count=4,
    )


@pytest.fixture
def bare_state(
    tmp_path: Path, activation: ActivationRequest, store: MemoryStore, clock: Clock
) -> State:
    """A gateway without disks."""
    path = tmp_path / "state" / "tapectl.db"
    activate(path, activation, open_store=lambda _record: store, now_ms=clock)
    return closed_at_end(State.open(path))


@pytest.fixture
def add_disks(tmp_path: Path) -> Callable[[State], None]:
    """Return what gives a gateway a cache disk and an upload buffer of 64 MiB each."""

    def add(state: State) -> None:
        with state.write() as db:
            for number, role in enumerate(DiskRole):
                path = tmp_path / role.lower()
                path.mkdir()
                prepare(path, DiskMarker(f"disk-{number}", "sgw-0", role))
                record = DiskRecord(
                    id=f"disk-{number}",
                    role=role,
                    path=path,
                    device_node=None,
                    size_bytes=64 * MIB,
                    created_at_ms=number,
                )
                disks.insert(db, record)

    return add


@pytest.fixture
def state(bare_state: State, add_disks: Callable[[State], None]) -> State:
    """A gateway with a cache disk and an upload buffer."""
    add_disks(bare_state)
    return bare_state


Maker = Callable[..., Sequence[str]]


@pytest.fixture
def make(state: State, clock: Clock) -> Maker:
    """Create tapes that are AVAILABLE at once; keywords as TapeCreation."""

    def create(*barcodes: str, **options: object) -> Sequence[str]:
        for barcode in barcodes:
            request = TapeCreation(size_bytes=100 * GIB, barcode=barcode, **options)  # type: ignore[arg-type]
            create_tapes(state, request, now_ms=clock)
            with state.write() as db:
                tapes.transition(
                    db, barcode, TapeStatus.AVAILABLE, Stamp("transfer", clock()), store_epoch=1
                )
        return barcodes

    return create


@pytest.fixture
def advance(state: State, clock: Clock) -> Callable[..., None]:
    """Take a tape through statuses as the transfer engine does."""

    def through(barcode: str, *statuses: TapeStatus) -> None:
        for status in statuses:
            clock.now_ms += 1_000
            with state.write() as db:
                tapes.transition(db, barcode, status, Stamp("transfer", clock()))

    return through
