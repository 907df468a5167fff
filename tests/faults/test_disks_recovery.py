"""What was acknowledged is there after any death of the writer and any failure of one call."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import itertools
import mmap
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tapectl.disks import flushing
from tapectl.disks.tape_files import OPEN, SEALED
from tapectl.medium.segment import SEGMENT_HEADER_BYTES, SegmentHeader
from tapectl.scsi.cartridge import (
    CartridgeError,
    CartridgeReadError,
    CartridgeWriteError,
    EncryptedBlock,
)
from tests.support.tape_disks import TAPE, LateSealer, TapeDisks, read_all, write

BLOCKS = [bytes([at]) * (40 + at) for at in range(1, 10)]


@pytest.fixture(params=[False, True], ids=["two disks", "shared"])
def disks(tmp_path, request):
    return TapeDisks(tmp_path, shared=request.param)


def leave_open(disks, *blocks, segment_bytes=1 << 16):
    """Write and die: the cartridge is neither sealed nor closed, and all of it is in the files."""
    cartridge = disks.load(segment_bytes=segment_bytes)
    write(cartridge, *blocks)
    cartridge.synchronize()
    return disks.files(OPEN)


def leave_staged(disks, *blocks):
    """Write and die: the blocks are in no segment's file."""
    write(disks.load(segment_bytes=1 << 16), *blocks)
    return disks.staging_path(TAPE.uuid)


def test_an_open_segment_is_sealed_by_the_next_load_and_by_no_other(disks):
    leave_open(disks, *BLOCKS)
    assert read_all(disks.load()) == BLOCKS
    assert not disks.files(OPEN)
    sealed = {path: path.stat().st_mtime_ns for path in disks.files(SEALED)}
    assert len(sealed) == 2
    assert read_all(disks.load()) == BLOCKS
    assert {path: path.stat().st_mtime_ns for path in disks.files(SEALED)} == sealed


def test_a_segment_that_nothing_was_written_to_is_removed(disks):
    leave_open(disks, BLOCKS[0])
    for path in disks.files(OPEN)[: 1 if disks.shared else 2]:
        with open(path, "r+b") as file:
            file.seek(256)
            file.write(bytes(100))
    disks.staging_path(TAPE.uuid).unlink()
    assert read_all(disks.load()) == []
    assert not disks.files()


def test_a_last_frame_torn_at_any_byte_is_none_and_the_rest_stays(tmp_path):
    frame_start = 256 + sum(32 + len(block) for block in BLOCKS[:-1])
    for length in range(frame_start, frame_start + 32 + len(BLOCKS[-1]), 5):
        disks = TapeDisks(tmp_path / str(length))
        for path in leave_open(disks, *BLOCKS):
            size = path.stat().st_size
            os.truncate(path, length)
            os.truncate(path, size)
        disks.staging_path(TAPE.uuid).unlink()  # a power cut takes it
        assert read_all(disks.load()) == BLOCKS[:-1]


def test_what_was_staged_is_in_both_copies_after_the_next_load(disks):
    staged = leave_staged(disks, *BLOCKS)
    assert read_all(disks.load()) == BLOCKS
    assert not staged.exists()
    assert all(BLOCKS[-1] in path.read_bytes() for path in disks.files(SEALED))
    assert read_all(disks.load()) == BLOCKS


def test_what_a_command_of_many_blocks_or_of_encrypted_ones_wrote_is_staged_too(disks):
    cartridge = disks.load(segment_bytes=1 << 16)
    write(cartridge, BLOCKS[0])
    cartridge.write_blocks(memoryview(b"1234" * 5), 4)
    cartridge.write_blocks(memoryview(b"secret"), 6, encrypted=True)
    assert not any(b"secret" in path.read_bytes() for path in disks.files(OPEN))
    found = read_all(disks.load())
    assert found == [BLOCKS[0], *[b"1234"] * 5, EncryptedBlock(b"secret")]


def test_a_frame_cut_short_on_its_way_is_none_and_the_rest_stays(tmp_path):
    staged_bytes = sum(32 + len(block) for block in BLOCKS)
    last_start = staged_bytes - 32 - len(BLOCKS[-1])
    for length in range(last_start, staged_bytes, 7):
        disks = TapeDisks(tmp_path / str(length))
        staged = leave_staged(disks, *BLOCKS)
        with open(staged, "r+b") as file:
            file.seek(mmap.PAGESIZE + length)
            file.write(bytes(staged_bytes - length))
        assert read_all(disks.load()) == BLOCKS[:-1]


def without_marks(staged):
    """Return what is staged, but for how far the first copies are."""
    data = staged.read_bytes()
    return data[:512] + data[mmap.PAGESIZE :]


def test_a_flush_cut_short_is_finished_by_the_next_load(tmp_path):
    whole = 256 + sum(32 + len(block) for block in BLOCKS)
    for length in range(256 + 32 + len(BLOCKS[0]), whole, 23):
        disks = TapeDisks(tmp_path / str(length))
        cartridge = disks.load(segment_bytes=1 << 16)
        write(cartridge, *BLOCKS)
        kept = without_marks(disks.staging_path(TAPE.uuid))
        cartridge.synchronize()
        for path in disks.files(OPEN):
            size = path.stat().st_size
            os.truncate(path, length)
            os.truncate(path, size)
        assert kept == without_marks(disks.staging_path(TAPE.uuid))
        assert read_all(disks.load()) == BLOCKS


def test_what_another_life_of_the_tape_staged_is_not_taken(disks):
    staged = leave_staged(disks, *BLOCKS)
    kept = staged.read_bytes()
    disks.load().close()
    disks.records.clear()
    for path in disks.files():
        path.unlink()
    leave_open(disks, BLOCKS[0])
    staged.write_bytes(kept)
    assert read_all(disks.load()) == BLOCKS[:1]


def test_what_was_staged_waits_for_disks_that_are_away(disks):
    staged = leave_staged(disks, *BLOCKS)
    for path in (disks.cache, disks.buffer):
        path.rename(path.with_suffix(".away"))
    assert read_all(disks.load()) == []
    assert staged.exists()
    for path in (disks.cache, disks.buffer):
        path.with_suffix(".away").rename(path)
    assert read_all(disks.load()) == BLOCKS


def test_without_a_place_to_gather_them_every_block_goes_to_the_disks_at_once(disks):
    disks.staging_path(TAPE.uuid).mkdir()
    write(disks.load(segment_bytes=1 << 16), *BLOCKS)
    assert all(BLOCKS[-1] in path.read_bytes() for path in disks.files(OPEN))


def test_a_frame_that_reached_one_copy_only_is_put_in_both(tmp_path):
    for torn in (0, 1):
        disks = TapeDisks(tmp_path / str(torn))
        path = leave_open(disks, *BLOCKS)[torn]
        os.truncate(path, 256 + 50)
        assert read_all(disks.load()) == BLOCKS
        copies = [path.read_bytes() for path in disks.files(SEALED)]
        assert copies[0] == copies[1]


def test_damage_here_in_one_copy_and_there_in_the_other_is_healed(tmp_path):
    disks = TapeDisks(tmp_path)
    first, second = leave_open(disks, *BLOCKS)
    for path, at in ((first, 256 + 40), (second, 256 + 32 + 41 + 5), (first, 20)):
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        path.write_bytes(data)
    assert read_all(disks.load()) == BLOCKS
    copies = [path.read_bytes() for path in disks.files(SEALED)]
    assert copies[0] == copies[1]


@pytest.mark.parametrize("lost", ["cache", "buffer"])
def test_the_copy_of_a_lost_disk_is_made_again(tmp_path, lost):
    for shared in (False, True):
        disks = TapeDisks(tmp_path / str(shared), shared=shared)
        leave_open(disks, *BLOCKS)
        shutil.rmtree(disks.root / lost / "tapes" / TAPE.barcode)
        assert read_all(disks.load()) == BLOCKS
        assert len(disks.files(SEALED)) == 2


def test_a_segment_of_another_tape_is_not_taken(disks):
    leave_open(disks, *BLOCKS)
    other = type(TAPE)(TAPE.barcode, "00000000-0000-4000-8000-000000000001", 1 << 30)
    with pytest.raises(CartridgeReadError, match="another tape"):
        disks.load(other)
    assert disks.files(OPEN)


def test_recovery_writes_again_what_a_failed_flush_may_have_lost(disks, monkeypatch):
    files = {path.stat().st_ino for path in leave_open(disks, *BLOCKS)}
    written = dict.fromkeys(files, 0)
    pwrite = os.pwrite

    def counting(fd, data, offset):
        written[os.fstat(fd).st_ino] += len(data)
        return pwrite(fd, data, offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", counting)
        disks.load()
    assert min(written.values()) > 256 + sum(32 + len(block) for block in BLOCKS)


def leave_two_open(disks, *, old=()):
    """Die with a segment that was not sealed yet and another that goes on from it.

    `old` was on the tape before, as far as it is not overwritten.
    """
    if old:
        cartridge = disks.load(segment_bytes=900)
        write(cartridge, *old)
        cartridge.close()
    cartridge = disks.load(segment_bytes=900, sealer=LateSealer())
    before = set(disks.files())
    write(cartridge, *BLOCKS)
    return sorted({path.stem for path in disks.files(OPEN)} - {path.stem for path in before})


def test_two_open_segments_are_both_there_after_the_death_of_a_process(disks):
    assert len(leave_two_open(disks)) == 2
    assert read_all(disks.load()) == BLOCKS


@pytest.mark.parametrize("lost", ["its end", "its name"])
@pytest.mark.parametrize("old", [[], [bytes(len(block)) for block in BLOCKS]], ids=["new", "over"])
def test_what_goes_on_from_a_segment_that_a_power_cut_took_is_gone_with_it(disks, lost, old):
    first, _ = leave_two_open(disks, old=old)
    for path in disks.files(OPEN):
        if path.stem == first and lost == "its name":
            path.unlink()
        elif path.stem == first:
            os.truncate(path, 256 + 32 + len(BLOCKS[0]))
    left = [] if lost == "its name" else BLOCKS[:1]
    assert read_all(disks.load()) == (left or old)
    assert not disks.files(OPEN)
    cartridge = disks.load()
    cartridge.space_end_of_data()
    write(cartridge, b"on")
    assert read_all(cartridge)[-1] == b"on"


def test_what_goes_on_from_a_segment_that_is_on_a_missing_disk_waits_for_it(tmp_path):
    disks = TapeDisks(tmp_path / "disks")
    first, _ = leave_two_open(disks)
    aside = tmp_path / "aside"
    shutil.move(disks.cache, aside)
    for path in disks.files(OPEN):
        if path.stem == first:
            path.unlink()
    with pytest.raises(CartridgeReadError, match="a disk is missing"):
        disks.load()
    shutil.move(aside, disks.cache)
    assert read_all(disks.load()) == BLOCKS


def test_no_segment_is_sealed_after_one_that_could_not_be(disks, monkeypatch):
    sealer = LateSealer()
    cartridge = disks.load(segment_bytes=900, sealer=sealer)
    write(cartridge, *BLOCKS[:-1])
    with contextlib.suppress(CartridgeError):
        cartridge.seal_open_segment()
    with monkeypatch.context() as patch:
        FailNth(patch, "fsync", 1)
        assert len(sealer.jobs) == 2
        sealer.run()
    assert not disks.records
    assert read_all(disks.load()) == BLOCKS[:-1]


class FailNth:
    """Stands for one function of os, or of another module, and fails its n-th call."""

    def __init__(self, monkeypatch, name, n, module=os):
        self.calls = 0
        self._real = getattr(module, name)
        self._n = n
        monkeypatch.setattr(module, name, self)

    def __call__(self, *arguments, **options):
        self.calls += 1
        if self.calls == self._n:
            raise OSError(5, "Input/output error")
        return self._real(*arguments, **options)


@pytest.mark.parametrize(
    "name", ["pwritev", "pwrite", "fdatasync", "fsync", "ftruncate", "rename", "link", "open"]
)
@pytest.mark.parametrize("shared", [False, True])
def test_any_call_may_fail_once(tmp_path, monkeypatch, name, shared):
    for n in itertools.count(1):
        disks = TapeDisks(tmp_path / str(n), shared=shared)
        with monkeypatch.context() as patch:
            failing = FailNth(patch, name, n)
            acknowledged = write_through_failures(disks)
        assert read_all(disks.load()) == acknowledged
        assert not disks.files(OPEN)
        if failing.calls < n:
            return


@pytest.mark.parametrize(
    ("n", "follows"),
    [(n, follows) for follows in (False, True) for n in range(1, 5 if follows else 9)],
)
def test_a_large_block_may_fail_in_any_of_its_parts(tmp_path, monkeypatch, n, follows):
    disks = TapeDisks(tmp_path)
    if not follows:  # both copies are written before the answer
        monkeypatch.setattr(disks, "staging_path", lambda _tape_uuid: None)
    cartridge = disks.load(segment_bytes=8 << 20)
    large = random.Random(n).randbytes(3 << 20)
    write(cartridge, b"before", large)
    with monkeypatch.context() as patch:
        FailNth(patch, "pwrite", n)
        with pytest.raises(CartridgeWriteError):
            write(cartridge, large)
    write(cartridge, b"after")
    assert read_all(disks.load()) == [b"before", large, b"after"]


@pytest.mark.parametrize("shared", [False, True])
def test_a_disk_may_fail_while_it_is_flushed_in_steps(tmp_path, monkeypatch, shared):
    monkeypatch.setattr(flushing, "STEP_BYTES", 128)
    for n in itertools.count(1):
        disks = TapeDisks(tmp_path / str(n), shared=shared)
        with monkeypatch.context() as patch:
            failing = FailNth(patch, "write_out", n, module=flushing)
            acknowledged = write_through_failures(disks)
        if failing.calls < n:
            return
        assert disks.failures
        assert read_all(disks.load()) == acknowledged


def write_through_failures(disks):
    """Do what a drive does, trying again nothing; return the objects that were acknowledged."""
    acknowledged = []
    try:
        cartridge = disks.load(segment_bytes=700)
    except CartridgeError:
        return acknowledged
    for block in BLOCKS:
        try:
            write(cartridge, block)
            acknowledged.append(block)
        except CartridgeError:
            assert cartridge.end_of_data == len(acknowledged)
            assert cartridge.position == len(acknowledged)
        with contextlib.suppress(CartridgeError):
            if len(acknowledged) % 3 == 0:
                cartridge.synchronize()
    with contextlib.suppress(CartridgeError):
        cartridge.close()
    return acknowledged


@pytest.mark.parametrize(
    "name", ["pwrite", "fsync", "ftruncate", "rename", "link", "open", "pread"]
)
@pytest.mark.parametrize("shared", [False, True])
def test_recovery_may_be_cut_short_at_any_call(tmp_path, monkeypatch, name, shared):
    for n in itertools.count(1):
        disks = TapeDisks(tmp_path / str(n), shared=shared)
        leave_open(disks, *BLOCKS, segment_bytes=700)
        with monkeypatch.context() as patch:
            failing = FailNth(patch, name, n)
            with contextlib.suppress(CartridgeError):
                disks.load()
        assert read_all(disks.load()) == BLOCKS
        assert not disks.files(OPEN)
        if failing.calls < n:
            return


WRITER = """
import sys
from pathlib import Path
from concurrent.futures import ThreadPoolExecutor
from tapectl.disks import following_copy, segment_files
from tapectl.scsi.cartridge import CartridgeBusyError
from tests.support.tape_disks import TapeDisks
following_copy.DIRECT_BYTES_MIN = 4096
segment_files.FOLLOW_BYTES = 8192
segment_files.PIECE_BYTES = 4096
disks = TapeDisks(Path(sys.argv[1]), shared=sys.argv[2] == "shared")
cartridge = disks.load(segment_bytes=100_000, sealer=ThreadPoolExecutor(1).submit)
cartridge.space_end_of_data()
for number in range(cartridge.position, 100_000):
    block = number.to_bytes(8, "big") * (1 + number * 37 % 2000)
    while True:
        try:
            cartridge.write_blocks(memoryview(block), len(block))
            break
        except CartridgeBusyError:
            pass
    sys.stdout.write("%08d" % number)
    sys.stdout.flush()
    cartridge.write_behind()
"""


@pytest.mark.parametrize("placement", ["shared", "two"])
def test_no_acknowledged_block_is_lost_to_kill(tmp_path, placement):
    rng = random.Random(placement)
    root = Path(__file__).parents[2]
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), placement],
            stdout=subprocess.PIPE,
            cwd=root,
        )
        assert writer.stdout is not None
        wanted = rng.randint(1, 400)
        output = writer.stdout.read(8 * wanted)
        writer.send_signal(signal.SIGKILL)
        output += writer.stdout.read()
        writer.wait()
        writer.stdout.close()
        acknowledged = int(output[len(output) // 8 * 8 - 8 :][:8])

        found = read_all(TapeDisks(tmp_path, shared=placement == "shared").load())
        assert len(found) > acknowledged
        for number, block in enumerate(found):
            assert block == number.to_bytes(8, "big") * (1 + number * 37 % 2000)


@pytest.mark.parametrize("lost", ["cache", "buffer"])
def test_without_a_disk_of_one_role_the_other_copy_is_sealed_alone(tmp_path, lost):
    disks = TapeDisks(tmp_path)
    leave_open(disks, *BLOCKS)
    shutil.move(disks.root / lost, tmp_path / "away")
    assert read_all(disks.load()) == BLOCKS
    assert len(disks.files(SEALED)) == 1
    # The disk comes back with what it had.
    shutil.move(tmp_path / "away", disks.root / lost)
    assert read_all(disks.load()) == BLOCKS
    assert not disks.files(OPEN)


class RefusingDisk:
    """Stands for one function of os and fails every call that concerns one disk."""

    def __init__(self, monkeypatch, name, disk, error):
        self._real = getattr(os, name)
        self._disk = str(disk)
        self._error = error
        monkeypatch.setattr(os, name, self)

    def __call__(self, first, *arguments, **options):
        path = os.readlink(f"/proc/self/fd/{first}") if isinstance(first, int) else str(first)
        read = self._real is REAL_OPEN and arguments[0] & os.O_ACCMODE == os.O_RDONLY
        if path.startswith(self._disk) and not read:
            raise OSError(self._error, os.strerror(self._error))
        return self._real(first, *arguments, **options)


REAL_OPEN = os.open


@pytest.mark.parametrize("name", ["open", "pwrite", "fsync", "ftruncate", "rename", "preadv"])
@pytest.mark.parametrize("sick", ["cache", "buffer"])
def test_a_disk_that_refuses_keeps_no_tape_from_loading(tmp_path, monkeypatch, name, sick):
    disks = TapeDisks(tmp_path)
    leave_open(disks, *BLOCKS)
    with monkeypatch.context() as patch:
        error = errno.EROFS if name == "open" else errno.EIO
        RefusingDisk(patch, name, disks.root / sick, error)
        assert read_all(disks.load()) == BLOCKS
    if name != "preadv":
        assert {disk for disk, _ in disks.failures} == {disks.root / sick}
    assert read_all(disks.load()) == BLOCKS
    assert not disks.files(OPEN)


def test_what_no_copy_can_be_read_of_is_not_taken_for_the_end(tmp_path, monkeypatch):
    disks = TapeDisks(tmp_path)
    leave_open(disks, *BLOCKS)
    with monkeypatch.context() as patch:
        RefusingDisk(patch, "preadv", disks.root, errno.EIO)
        with pytest.raises(CartridgeReadError, match="cannot be read"):
            disks.load()
    assert read_all(disks.load()) == BLOCKS


def test_an_earlier_attempt_that_a_disk_brings_back_is_not_mixed_in(tmp_path):
    disks = TapeDisks(tmp_path)
    stale = leave_open(disks, b"never acknowledged")[0].read_bytes()
    for path in disks.files(OPEN):
        path.unlink()
    leave_open(disks, *BLOCKS)
    first, second = disks.files(OPEN)
    header = SegmentHeader.decode(stale[:SEGMENT_HEADER_BYTES])
    older = dataclasses.replace(header, created_ms=header.created_ms - 1)
    first.write_bytes(older.encode() + stale[SEGMENT_HEADER_BYTES:])
    assert read_all(disks.load()) == BLOCKS
    assert not disks.files(OPEN)
    assert second.with_suffix(SEALED).exists()


@pytest.fixture
def failing_writes(monkeypatch):
    """Return a list; while it holds something, no write to a segment's file succeeds."""
    failing, real = [], os.pwritev

    def pwritev(*arguments):
        if failing:
            raise OSError(errno.EIO, "no disk")
        return real(*arguments)

    monkeypatch.setattr(os, "pwritev", pwritev)
    return failing


def test_acknowledged_blocks_outlive_a_flush_that_failed_for_a_while(disks, failing_writes):
    cartridge = disks.load(segment_bytes=1 << 16)
    write(cartridge, *BLOCKS)
    failing_writes.append("now")
    with pytest.raises(CartridgeWriteError):
        cartridge.synchronize()
    with pytest.raises(CartridgeWriteError):  # it neither goes on without them nor forgets them
        write(cartridge, b"more")
    with pytest.raises(CartridgeReadError):
        read_all(cartridge)
    failing_writes.clear()
    cartridge.space_end_of_data()
    write(cartridge, b"more")
    cartridge.synchronize()
    assert read_all(cartridge) == [*BLOCKS, b"more"]
    cartridge.close()
    assert read_all(disks.load()) == [*BLOCKS, b"more"]


def test_acknowledged_blocks_outlive_an_unload_that_failed(disks, failing_writes):
    cartridge = disks.load(segment_bytes=1 << 16)
    write(cartridge, *BLOCKS)
    failing_writes.append("now")
    with pytest.raises(CartridgeWriteError):
        cartridge.close()
    cartridge.close()
    failing_writes.clear()
    assert read_all(disks.load()) == BLOCKS


def test_files_that_are_being_sealed_stay_open_when_an_unload_fails(disks, failing_writes):
    """Else the thread that seals them would write to whatever has their descriptors by then."""
    go_on, sealed_in = threading.Event(), []

    def seal(job):
        def later():
            go_on.wait(10)
            job()
            sealed_in.extend(record.summary.sequence for record in disks.records.values())

        thread.submit(later)

    with ThreadPoolExecutor(1) as thread, ThreadPoolExecutor(1) as unloading:
        cartridge = disks.load(segment_bytes=1 << 16, sealer=seal)
        write(cartridge, *BLOCKS)
        cartridge.seal_open_segment()
        write(cartridge, b"more")
        failing_writes.append("now")
        unload = unloading.submit(cartridge.close)
        with pytest.raises(TimeoutError):
            unload.result(0.05)
        go_on.set()
        with pytest.raises(CartridgeWriteError):
            unload.result()
    assert sealed_in == [1]
    failing_writes.clear()
    assert read_all(disks.load()) == [*BLOCKS, b"more"]


def leave_behind(disks):
    """Write and die with a second copy that has less than the first, of two segments."""
    blocks = [bytes([at]) * 3000 for at in range(30)]
    sealer = LateSealer()
    cartridge = disks.load(segment_bytes=60_000, sealer=sealer)
    write(cartridge, *blocks)
    assert len(sealer.jobs) == 1
    cartridge.read_block(memoryview(bytearray(1)))  # brings all to the first files
    return blocks


def test_a_second_copy_that_is_behind_waits_for_the_disk_of_the_first(tmp_path, caplog):
    disks = TapeDisks(tmp_path / "disks")
    blocks = leave_behind(disks)
    aside = tmp_path / "aside"
    shutil.move(disks.cache, aside)
    for _ in range(2):
        with pytest.raises(CartridgeReadError, match="a disk is missing"):
            disks.load()
    shutil.move(aside, disks.cache)
    assert read_all(disks.load()) == blocks
    assert not disks.files(OPEN)
    assert len(disks.files(SEALED)) == 4
    assert not caplog.records


def test_what_only_a_lost_disk_had_is_told(tmp_path, caplog, monkeypatch):
    """The disk is given up: the tape ends where the last thing is that was synchronised."""
    disks = TapeDisks(tmp_path / "disks")
    cartridge = disks.load(segment_bytes=8 << 20)
    write(cartridge, *BLOCKS)
    cartridge.synchronize()
    write(cartridge, bytes(1 << 20))
    shutil.rmtree(disks.cache)
    monkeypatch.setattr(disks, "lacks_disks", lambda: False)
    assert read_all(disks.load()) == BLOCKS
    assert "never synchronised" in caplog.text
