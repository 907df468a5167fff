"""What is brought to the disks behind an answer: a death at any store loses nothing, and a disk
that refuses then is heard of."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tapectl.disks import segment_files, staging
from tapectl.disks.cartridge import SegmentedCartridge
from tapectl.disks.tape_files import OPEN
from tapectl.scsi.cartridge import CartridgeWriteError
from tests.support.tape_disks import TAPE, TapeDisks, read_all, write

STAGING_BYTES, PIECE_BYTES = 700, 128
# Frames that end at pieces, cross one or several of them, or are less than one.
LENGTHS = (96, 40, 200, 128 - 32, 1, 300, 17, 224, 60, 128, 5, 90, 333, 2, 64, 150)
BLOCKS = [bytes([at]) * length for at, length in enumerate(LENGTHS, start=1)]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (staging, segment_files):
        monkeypatch.setattr(module, "STAGING_BYTES", STAGING_BYTES)
    monkeypatch.setattr(segment_files, "PIECE_BYTES", PIECE_BYTES)


def write_and_answer(cartridge: SegmentedCartridge, *blocks: bytes) -> None:
    for block in blocks:
        write(cartridge, block)
        cartridge.write_behind()


class Stores:
    """Memory that tells of every store to it, once half of it is done and once all is."""

    def __init__(self, view: memoryview, stored: Callable[[], None]) -> None:
        self.view = view
        self._stored = stored

    def __getitem__(self, at: slice) -> Stores:
        return Stores(self.view[at], self._stored)

    def __setitem__(self, at: slice, data: bytes | memoryview) -> None:
        in_two_steps(len(data), self._stored, lambda start, end: self._store(at, data, start, end))

    def _store(self, at: slice, data: bytes | memoryview, start: int, end: int) -> None:
        self.view[at][start:end] = data[start:end]


def in_two_steps(
    size_bytes: int, done: Callable[[], None], do: Callable[[int, int], object]
) -> None:
    half = size_bytes // 2
    for start, end in ((0, half), (half, size_bytes)):
        do(start, end)
        done()


def watch_stores(monkeypatch: pytest.MonkeyPatch, stored: Callable[[], None]) -> None:
    """Have `stored` called after each half of every store to the staging file and the segments."""
    pwrite = os.pwrite

    def pwritev(fd: int, buffers: Sequence[Any], offset: int) -> int:
        data = b"".join(bytes(getattr(one, "view", one)) for one in buffers)
        in_two_steps(
            len(data), stored, lambda start, end: pwrite(fd, data[start:end], offset + start)
        )
        return len(data)

    def view(of: Any) -> Any:
        return Stores(memoryview(of), stored) if isinstance(of, mmap.mmap) else memoryview(of)

    monkeypatch.setattr(os, "pwritev", pwritev)
    monkeypatch.setattr(staging, "memoryview", view, raising=False)


def test_a_death_at_any_store_loses_nothing_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disks = TapeDisks(tmp_path / "disks")
    acknowledged = deaths = 0

    def die_and_load() -> None:
        nonlocal deaths
        deaths += 1
        left = shutil.copytree(disks.root, tmp_path / "left")
        found = read_all(TapeDisks(left).load())
        assert len(found) >= acknowledged
        assert found == BLOCKS[: len(found)]
        shutil.rmtree(left)

    cartridge = disks.load(segment_bytes=8192)
    watch_stores(monkeypatch, die_and_load)
    for block in BLOCKS:
        write(cartridge, block)
        acknowledged += 1
        cartridge.write_behind()
    assert deaths > 100
    assert read_all(cartridge) == BLOCKS


@pytest.mark.parametrize("shared", [False, True])
def test_the_files_have_whole_pieces_once_a_command_is_answered(
    tmp_path: Path, shared: bool
) -> None:
    disks = TapeDisks(tmp_path, shared=shared)
    cartridge = disks.load(segment_bytes=8192)
    end = 256
    pieces = []
    for block in BLOCKS:
        write_and_answer(cartridge, block)
        end += 32 + len(block)
        whole_bytes = max(end - PIECE_BYTES, 0)
        # The second copy follows.
        pieces.append(disks.files(OPEN)[-1].read_bytes()[:whole_bytes])
    cartridge.synchronize()
    whole = disks.files(OPEN)[0].read_bytes()
    assert all(whole.startswith(piece) for piece in pieces)
    cartridge.close()
    assert read_all(disks.load()) == BLOCKS


@pytest.fixture
def failing_writes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list; while it holds something, no write to a segment's file succeeds."""
    failing: list[str] = []
    real = os.pwritev

    def pwritev(fd: int, buffers: Sequence[Any], offset: int) -> int:
        if failing:
            raise OSError(errno.EIO, "no disk")
        return real(fd, buffers, offset)

    monkeypatch.setattr(os, "pwritev", pwritev)
    return failing


def test_who_writes_next_hears_of_a_disk_that_refused_behind_an_answer(
    tmp_path: Path, failing_writes: list[str]
) -> None:
    disks = TapeDisks(tmp_path)
    cartridge = disks.load(segment_bytes=8192)
    write_and_answer(cartridge, *BLOCKS[:2])
    failing_writes.append("now")
    write_and_answer(cartridge, BLOCKS[2])
    assert {disk for disk, _ in disks.failures} == {disks.cache}
    with pytest.raises(CartridgeWriteError):
        write(cartridge, BLOCKS[3])
    with pytest.raises(CartridgeWriteError):
        cartridge.synchronize()
    cartridge.write_behind()
    assert read_all(TapeDisks(shutil.copytree(disks.root, tmp_path / "left")).load()) == BLOCKS[:3]
    failing_writes.clear()
    write_and_answer(cartridge, *BLOCKS[3:])
    cartridge.synchronize()
    assert read_all(cartridge) == BLOCKS
    cartridge.close()
    assert read_all(disks.load()) == BLOCKS


def test_a_cartridge_that_is_closed_meanwhile_owes_nothing(
    tmp_path: Path, failing_writes: list[str]
) -> None:
    disks = TapeDisks(tmp_path)
    cartridge = disks.load(segment_bytes=8192)
    write(cartridge, *BLOCKS[:3])
    failing_writes.append("now")
    with pytest.raises(CartridgeWriteError):
        cartridge.close()
    cartridge.write_behind()
    failing_writes.clear()
    assert read_all(disks.load()) == BLOCKS[:3]
    assert not disks.staging_path(TAPE.uuid).exists()
