"""A segment that is opened while parts of it are still on their way from the store."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tapectl.disks.segment_reader import FetchedCopy, open_segment
from tapectl.medium.chain import Chain
from tapectl.scsi.cartridge import CartridgeBusyError
from tests.support.transfer_gateway import TransferGateway

TAPE = "PARTS1L5"


class EndOnly:
    """A fetcher that has the end of the segment, and nothing else yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.asked = 0

    def ensure(self, barcode: str, sequence: int, offset: int, size_bytes: int) -> Path:
        self.asked += 1
        if self.asked > 1:
            raise CartridgeBusyError(f"{barcode} {sequence}: {size_bytes} bytes at {offset}", 0.0)
        return self._path

    def discard(self, barcode: str, sequence: int) -> None:
        raise AssertionError((barcode, sequence))

    def count_missed(self, size_bytes: int) -> None:
        raise AssertionError(size_bytes)


def test_a_segment_that_cannot_be_opened_yet_leaves_no_file_open(tmp_path: Path) -> None:
    """A drive tries again and again meanwhile, and would run out of descriptors."""
    gateway = TransferGateway(tmp_path)
    gateway.create_tape(TAPE)
    gateway.write_segment(TAPE, [bytes(1000)])
    (record,) = gateway.segments(TAPE)
    chain = Chain()
    chain.append(record.summary)
    fetcher = EndOnly(gateway.cache / f"tapes/{TAPE}/{record.sequence:08d}.seg")
    fetched = FetchedCopy(
        fetcher, barcode=TAPE, sequence=record.sequence, file_bytes=record.summary.file_bytes
    )
    before = os.listdir("/proc/self/fd")
    with pytest.raises(CartridgeBusyError):
        open_segment(chain.entry(0), (), fetched)
    assert fetcher.asked == 2
    assert len(os.listdir("/proc/self/fd")) == len(before)


class Moving:
    """A fetcher that tells the name of a file that has another one by the time it is opened."""

    def __init__(self, path: Path) -> None:
        self._paths = [path.with_suffix(".fill"), path]
        self.missed_bytes = 0

    def ensure(self, _barcode: str, _sequence: int, _offset: int, _size_bytes: int) -> Path:
        return self._paths.pop(0)

    def discard(self, barcode: str, sequence: int) -> None:
        raise AssertionError((barcode, sequence))

    def count_missed(self, size_bytes: int) -> None:
        self.missed_bytes += size_bytes


def test_a_block_whose_file_moved_while_it_was_opened_is_no_cache_hit(tmp_path: Path) -> None:
    """The reader waited for it, and CacheHitPercent must say so."""
    path = tmp_path / "00000001.seg"
    path.write_bytes(bytes(1000))
    fetcher = Moving(path)
    fetched = FetchedCopy(fetcher, barcode=TAPE, sequence=1, file_bytes=1000)
    with pytest.raises(CartridgeBusyError):
        fetched.ensure(0, 100)
    os.pread(fetched.ensure(0, 100), 100, 0)
    fetched.count(100)
    fetched.close()
    assert fetcher.missed_bytes == 100
