"""Disks that refuse: new segments and fetched ones go to the others, uploads go on."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tapectl.disks.disk_directory import DiskMarker, prepare
from tapectl.gateway.transfer.local_files import LocalDisks
from tapectl.scsi.cartridge import CartridgeWriteError
from tapectl.state import disks
from tapectl.state.disks import DiskRecord, DiskRole
from tapectl.store.memory import MemoryStore
from tests.support.transfer_gateway import CACHE, TransferGateway, run_until_idle

TAPE = "TEST01L5"
SMALL = "disk-0000000d"
Refuse = Callable[[str, Path], None]


@pytest.fixture
def gateway(tmp_path: Path) -> TransferGateway:
    """A gateway with a second, smaller cache disk."""
    gateway = TransferGateway(tmp_path)
    path = gateway.root / "small"
    path.mkdir()
    prepare(path, DiskMarker(SMALL, gateway.gateway.id, DiskRole.CACHE_STORAGE))
    record = DiskRecord(
        id=SMALL,
        role=DiskRole.CACHE_STORAGE,
        path=path,
        device_node=None,
        size_bytes=1 << 28,
        created_at_ms=9,
    )
    with gateway.state.write() as db:
        disks.insert(db, record)
    gateway.create_tape(TAPE)
    return gateway


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Refuse:
    """Return what lets a function of os fail for everything on a disk."""

    def install(name: str, disk: Path) -> None:
        real: Callable[..., Any] = getattr(os, name)

        def refusing(first: Any, *arguments: Any, **options: Any) -> Any:
            path = os.readlink(f"/proc/self/fd/{first}") if isinstance(first, int) else str(first)
            if path.startswith(f"{disk}/tapes/"):
                raise OSError(errno.EIO, "Input/output error")
            return real(first, *arguments, **options)

        monkeypatch.setattr(os, name, refusing)

    return install


@pytest.mark.parametrize("name", ["open", "posix_fallocate", "pwritev"])
def test_a_new_segment_goes_to_the_disk_that_takes_it(
    gateway: TransferGateway, refuse: Refuse, name: str
) -> None:
    cartridge = gateway.load(TAPE)
    refuse(name, gateway.cache)
    cartridge.write_blocks(memoryview(b"x" * 1000), 1000)
    cartridge.close()
    (record,) = gateway.segments(TAPE)
    assert record.cache_disk_id == SMALL
    with gateway.state.read() as db:
        failed = disks.find(db, CACHE)
    assert failed is not None
    assert "Input/output error" in (failed.failed_detail or "")
    assert [name for name in gateway.local_files() if name.endswith(".open")] == []


def test_where_no_disk_takes_it_the_first_failure_is_told(
    gateway: TransferGateway, refuse: Refuse
) -> None:
    cartridge = gateway.load(TAPE)
    refuse("pwritev", gateway.cache)
    refuse("pwritev", gateway.root / "small")
    with pytest.raises(CartridgeWriteError, match="Input/output error"):
        cartridge.write_blocks(memoryview(b"x" * 1000), 1000)
    assert gateway.local_files() == []


def test_a_file_that_cannot_be_removed_stops_no_upload(
    gateway: TransferGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore(now_ms=lambda: gateway.ms)
    gateway.write_segment(TAPE, [b"x"])

    def refusing(*_: object, **_options: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refusing)
        run_until_idle(gateway.engine(store))
        assert gateway.segments(TAPE)[0].uploaded_at_ms is not None
        # The next process finds it and goes on, too.
        run_until_idle(gateway.engine(store))
    assert len(gateway.local_files()) == 2
    run_until_idle(gateway.engine(store))
    assert len(gateway.local_files()) == 1


def test_a_fetched_segment_goes_to_the_disk_that_takes_it(
    gateway: TransferGateway, refuse: Refuse
) -> None:
    store = MemoryStore(now_ms=lambda: gateway.ms)
    content = gateway.write_segment(TAPE, [b"x" * 1000])
    run_until_idle(gateway.engine(store))
    gateway.drop_cache()
    refuse("open", gateway.cache)
    engine = gateway.engine(store)
    for _ in range(2000):
        path, ready = engine.fetch_service.ensure(TAPE, 1, 0, len(content))
        if ready:
            break
        engine._context.stopping.wait(0.005)
    assert path.read_bytes() == content
    assert path.is_relative_to(LocalDisks.read(engine._context).paths[SMALL])
    engine.close()
