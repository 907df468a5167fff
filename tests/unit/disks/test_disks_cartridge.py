"""A cartridge on two disks: what an initiator and an admin notice."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from tapectl.disks import void_segments
from tapectl.disks.interface import StoredSegment
from tapectl.disks.tape_files import OPEN, SEALED, TapeDescription
from tapectl.scsi.cartridge import (
    CartridgeBusyError,
    CartridgeFullError,
    CartridgeReadError,
    CartridgeWriteError,
    Mark,
)
from tests.support.gateway import wait_until
from tests.support.tape_disks import TAPE, LateSealer, TapeDisks, read_all, write

BLOCKS = [bytes([at]) * 1000 for at in range(1, 11)]


@pytest.fixture(params=[False, True], ids=["two disks", "shared"])
def disks(tmp_path, request):
    return TapeDisks(tmp_path, shared=request.param)


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x40]))


class Store:
    """A fetcher that holds whole segment files and gives out nothing but what was asked for."""

    def __init__(self, disks, tmp_path):
        self.files = {}
        self.asked = []
        self.discarded = []
        self.waits = 0
        self.missed_bytes = 0
        self._folder = tmp_path / "fetched"
        self._folder.mkdir()
        for sequence, record in disks.records.items():
            self.files[sequence] = record.cache_path.read_bytes()
            for path in (record.cache_path, record.buffer_path):
                path.unlink()
            disks.records[sequence] = StoredSegment(record.summary, None, None, uploaded=True)

    def discard(self, barcode, sequence):
        assert barcode == TAPE.barcode
        self.discarded.append(sequence)

    def count_missed(self, size_bytes):
        self.missed_bytes += size_bytes

    def ensure(self, barcode, sequence, offset, size_bytes):
        assert barcode == TAPE.barcode
        if self.waits:
            self.waits -= 1
            raise CartridgeBusyError("on its way")
        self.asked.append((sequence, offset, size_bytes))
        data = self.files[sequence]
        assert offset + size_bytes <= len(data)
        path = self._folder / f"{sequence}.fill"
        with open(path, "r+b" if path.exists() else "w+b") as file:
            file.truncate(len(data))
            file.seek(offset)
            file.write(data[offset : offset + size_bytes])
        return path


def test_both_copies_hold_a_block_when_it_is_synchronised(disks):
    cartridge = disks.load()
    write(cartridge, BLOCKS[0])
    cartridge.synchronize()
    copies = disks.files(OPEN)
    assert len(copies) == 2
    assert copies[0].read_bytes() == copies[1].read_bytes()
    assert BLOCKS[0] in copies[0].read_bytes()
    assert copies[0].samefile(copies[1]) == disks.shared


def test_segments_are_sealed_when_full_and_on_close(disks):
    cartridge = disks.load(segment_bytes=4096)
    write(cartridge, *BLOCKS)
    assert (len(disks.files(SEALED)), len(disks.files(OPEN))) == (6, 2)
    cartridge.close()
    cartridge.close()
    assert not disks.files(OPEN)
    assert sum(record.summary.object_count for record in disks.records.values()) == 10
    for record in disks.records.values():
        assert record.cache_path.stat().st_size == record.summary.file_bytes
        assert record.cache_path.read_bytes() == record.buffer_path.read_bytes()


def test_memory_is_for_what_may_be_read(disks, monkeypatch):
    dropped = []
    monkeypatch.setattr(void_segments, "drop_pages", dropped.extend)
    cartridge = disks.load(segment_bytes=4096)
    write(cartridge, *BLOCKS)
    cartridge.synchronize()
    kept, *over = (disks.records[sequence].cache_path for sequence in sorted(disks.records))
    cartridge.locate(1)
    write(cartridge, BLOCKS[0])
    # Of the first segment a block is left; nobody can ask for the others any more.
    assert read_all(cartridge) == [BLOCKS[0], BLOCKS[0]]
    cartridge.close()
    wait_until(lambda: set(over) <= set(dropped), "the memory", 30)
    assert kept not in dropped


def test_a_segment_that_is_idle_can_be_sealed_and_writing_goes_on(disks):
    cartridge = disks.load()
    assert not cartridge.seal_open_segment()
    write(cartridge, BLOCKS[0])
    assert cartridge.seal_open_segment()
    assert not cartridge.seal_open_segment()
    write(cartridge, BLOCKS[1])
    assert read_all(cartridge) == BLOCKS[:2]


def test_an_overwrite_at_the_beginning_leaves_the_old_files_as_they_are(disks):
    cartridge = disks.load()
    write(cartridge, *BLOCKS[:3])
    cartridge.seal_open_segment()
    old = {path: path.read_bytes() for path in disks.files(SEALED)}
    cartridge.locate(0)
    write(cartridge, b"new")
    assert read_all(cartridge) == [b"new"]
    cartridge.close()
    assert {path: path.read_bytes() for path in old} == old


def test_a_block_larger_than_a_segment_has_one_of_its_own(disks):
    cartridge = disks.load(segment_bytes=4096)
    write(cartridge, b"a" * 100, b"b" * 100_000, b"c" * 100)
    cartridge.close()
    assert read_all(disks.load()) == [b"a" * 100, b"b" * 100_000, b"c" * 100]


def test_many_blocks_of_one_command(disks):
    data = bytes(range(256)) * 4 * 10
    cartridge = disks.load(segment_bytes=1 << 20)
    cartridge.write_blocks(memoryview(data), 8)  # 1,280 blocks: more than one pwritev can take
    assert cartridge.position == 1280
    assert b"".join(read_all(cartridge)) == data


def test_the_capacity_is_the_physical_end(disks):
    cartridge = disks.load(TapeDescription(TAPE.barcode, TAPE.tape_uuid, 2500))
    with pytest.raises(CartridgeFullError) as full:
        cartridge.write_blocks(memoryview(b"".join(BLOCKS[:4])), 1000)
    assert full.value.written == 2
    with pytest.raises(CartridgeFullError):
        write(cartridge, BLOCKS[2])
    cartridge.write_filemarks(1)
    write(cartridge, b"x" * 500)
    assert (cartridge.used_bytes, cartridge.position) == (2500, 4)
    cartridge.locate(0)
    write(cartridge, BLOCKS[0])
    assert cartridge.used_bytes == 1000


def test_a_protected_tape_takes_no_write(disks):
    cartridge = disks.load(TapeDescription(TAPE.barcode, TAPE.tape_uuid, 1 << 20, True))
    for call in (lambda: write(cartridge, b"x"), lambda: cartridge.write_filemarks(1)):
        with pytest.raises(CartridgeWriteError, match="write-protected"):
            call()
    assert not disks.files()


def test_full_disks_make_the_writer_wait_and_change_nothing(disks):
    cartridge = disks.load(segment_bytes=4096)
    write(cartridge, *BLOCKS[:3])
    disks.full = True
    for _ in range(2):
        with pytest.raises(CartridgeBusyError):
            write(cartridge, BLOCKS[3])
    assert (cartridge.position, cartridge.end_of_data) == (3, 3)
    # The full segment was sealed, for only its upload makes room.
    assert len(disks.records) == 1
    disks.full = False
    write(cartridge, BLOCKS[3])
    assert read_all(cartridge) == BLOCKS[:4]


def test_a_writer_faster_than_its_disks_waits_and_can_read_meanwhile(disks):
    sealer = LateSealer()
    cartridge = disks.load(segment_bytes=2048, sealer=sealer)
    written = []

    def write_on():
        for block in BLOCKS * 10:
            write(cartridge, block)
            written.append(block)

    with pytest.raises(CartridgeBusyError):
        write_on()
    # One is written to the disks, one is on its way there, and one is being filled.
    assert len(written) >= 3
    assert read_all(cartridge) == written
    sealer.run()
    cartridge.locate(len(written))
    write(cartridge, BLOCKS[3])
    assert read_all(cartridge) == [*written, BLOCKS[3]]


def test_synchronize_returns_when_all_is_sealed(disks):
    with ThreadPoolExecutor(1) as executor:
        cartridge = disks.load(sealer=executor.submit)
        for block in BLOCKS[:5]:
            write(cartridge, block)
            cartridge.seal_open_segment()
            cartridge.synchronize()
        assert len(disks.records) == 5
        assert not disks.files(OPEN)
        assert read_all(cartridge) == BLOCKS[:5]


def test_a_failed_seal_is_told_to_the_next_write_and_to_synchronize(disks, monkeypatch):
    cartridge = disks.load()
    write(cartridge, BLOCKS[0])
    monkeypatch.setattr(TapeDisks, "record_sealed", lambda *_: 1 / 0)
    cartridge.seal_open_segment()
    for call in (lambda: write(cartridge, BLOCKS[1]), cartridge.synchronize, cartridge.close):
        with pytest.raises(CartridgeWriteError):
            call()
    monkeypatch.undo()
    assert read_all(disks.load()) == BLOCKS[:1]


def test_damage_in_one_copy_is_read_from_the_other(tmp_path, caplog):
    disks = TapeDisks(tmp_path)
    cartridge = disks.load()
    write(cartridge, *BLOCKS)
    for path in disks.files():
        if path.is_relative_to(disks.cache):
            flip(path, 256 + 32 + 5)  # the payload of the first block
            flip(path, 256 + 1032 + 9)  # the header of the second
    assert read_all(cartridge) == BLOCKS
    cartridge.close()
    assert "damaged in one copy" in caplog.text
    assert cartridge.recovered_reads == caplog.text.count("damaged in one copy")
    assert read_all(disks.load()) == BLOCKS


def test_damage_in_all_copies_is_read_from_the_store(tmp_path):
    disks = TapeDisks(tmp_path)
    cartridge = disks.load()
    write(cartridge, *BLOCKS)
    cartridge.close()
    contents = {path: path.read_bytes() for path in disks.files()}
    paths = {sequence: record.cache_path for sequence, record in disks.records.items()}
    store = Store(disks, tmp_path)
    for sequence, record in disks.records.items():
        path = paths[sequence]
        path.write_bytes(contents[path])
        flip(path, 256 + 32 + 5)  # the payload of the first block
        disks.records[sequence] = StoredSegment(record.summary, path, None, uploaded=True)
    store.waits = 1
    cartridge = disks.load(fetcher=store)
    with pytest.raises(CartridgeBusyError):
        cartridge.read_block(memoryview(bytearray(1000)))
    assert store.discarded == [1]
    assert read_all(cartridge) == BLOCKS
    assert store.discarded == sorted(disks.records)
    assert cartridge.recovered_reads == len(disks.records)


def test_damage_in_all_copies_is_an_error_and_never_data(disks):
    cartridge = disks.load()
    write(cartridge, *BLOCKS[:3])
    cartridge.synchronize()
    for path in disks.files()[: 1 if disks.shared else 2]:
        flip(path, 256 + 1032 + 32 + 5)
    cartridge.locate(1)
    buffer = memoryview(bytearray(1000))
    for room in (1000, 10):
        with pytest.raises(CartridgeReadError):
            cartridge.read_block(buffer[:room])
    assert cartridge.position == 1
    cartridge.locate(2)
    assert cartridge.read_block(buffer) == 1000


def test_a_segment_with_a_damaged_end_is_read_by_its_frames(disks):
    cartridge = disks.load(segment_bytes=1 << 20)
    write(cartridge, *BLOCKS)
    cartridge.write_filemarks(2)
    cartridge.close()
    for path in disks.files()[: 1 if disks.shared else 2]:
        flip(path, path.stat().st_size - 60)
    assert read_all(disks.load()) == [*BLOCKS, None, None]


def test_either_disk_may_be_gone(tmp_path):
    for lost in ("cache", "buffer"):
        disks = TapeDisks(tmp_path / lost)
        cartridge = disks.load()
        write(cartridge, *BLOCKS)
        cartridge.close()
        shutil.rmtree(tmp_path / lost / lost)
        assert read_all(disks.load()) == BLOCKS


def test_what_is_only_in_the_store_is_fetched_by_range(disks, tmp_path):
    blocks = [bytes([at]) * 400_000 for at in range(1, 21)]
    cartridge = disks.load(segment_bytes=4 << 20)
    write(cartridge, *blocks)
    cartridge.close()
    store = Store(disks, tmp_path)
    cartridge = disks.load(fetcher=store)
    assert not store.asked  # loading looks at nothing
    cartridge.locate(15)
    assert not store.asked
    buffer = memoryview(bytearray(400_000))
    store.waits = 3
    for _ in range(3):
        with pytest.raises(CartridgeBusyError):
            cartridge.read_block(buffer)
        assert cartridge.position == 15
    assert cartridge.read_block(buffer) == 400_000
    assert buffer == blocks[15]
    assert {sequence for sequence, _, _ in store.asked} == {2}
    assert store.missed_bytes == 400_000
    assert read_all(cartridge) == blocks
    assert store.missed_bytes == 21 * 400_000
    # A segment that is whole in the cache meanwhile is none that the cache misses.
    ensure = store.ensure

    def ensure_whole(*place):
        path = ensure(*place)
        return path.rename(path.with_suffix(".seg"))

    store.ensure = ensure_whole
    cartridge = disks.load(fetcher=store)
    assert cartridge.read_block(buffer) == 400_000
    assert store.missed_bytes == 21 * 400_000


def test_a_fetched_file_that_was_renamed_before_it_is_opened_is_asked_for_again(disks, tmp_path):
    cartridge = disks.load()
    write(cartridge, *BLOCKS[:1])
    cartridge.close()
    store = Store(disks, tmp_path)
    ensure = store.ensure
    store.ensure = lambda *place: ensure(*place).with_suffix(".gone")
    cartridge = disks.load(fetcher=store)
    buffer = memoryview(bytearray(1000))
    with pytest.raises(CartridgeBusyError):
        cartridge.read_block(buffer)
    store.ensure = ensure
    assert cartridge.read_block(buffer) == 1000


def test_without_copies_and_store_a_block_cannot_be_read(disks):
    cartridge = disks.load()
    write(cartridge, *BLOCKS[:1])
    cartridge.close()
    for path in disks.files():
        path.unlink()
    cartridge = disks.load()
    with pytest.raises(CartridgeReadError):
        cartridge.read_block(memoryview(bytearray(1000)))
    assert cartridge.end_of_data == 1


def test_a_missing_segment_is_told_when_the_tape_is_loaded(disks):
    cartridge = disks.load(segment_bytes=2048)
    write(cartridge, *BLOCKS[:4])
    cartridge.close()
    del disks.records[2]
    for path in disks.files():
        if path.name.startswith("00000002"):
            path.unlink()
    with pytest.raises(CartridgeReadError, match="segment 3 starts at object 2"):
        disks.load()


def test_locate_looks_into_no_segment(disks, monkeypatch):
    cartridge = disks.load(segment_bytes=2048)
    write(cartridge, *BLOCKS)
    cartridge.close()
    cartridge = disks.load()
    monkeypatch.setattr("tapectl.disks.segment_reader.os.pread", lambda *_: 1 / 0)
    assert cartridge.locate(7) is None
    assert cartridge.locate(99) is Mark.END_OF_DATA
    assert cartridge.written_bytes_at_position == 10_000


def test_a_copy_that_was_made_anew_is_read_by_a_drive_that_has_the_old_one_open(tmp_path):
    disks = TapeDisks(tmp_path)
    cartridge = disks.load()
    write(cartridge, b"x" * 1000)
    cartridge.seal_open_segment()
    cartridge.synchronize()
    assert read_all(cartridge) == [b"x" * 1000]
    first, second = disks.files(SEALED)
    sound = first.read_bytes()
    damaged = sound[:500] + b"y" + sound[501:]
    first.write_bytes(damaged)
    assert read_all(cartridge) == [b"x" * 1000]
    healed = first.with_suffix(".copy")
    healed.write_bytes(sound)
    healed.replace(first)
    second.write_bytes(damaged)
    assert read_all(cartridge) == [b"x" * 1000]
    first.write_bytes(damaged)
    with pytest.raises(CartridgeReadError):
        read_all(cartridge)
