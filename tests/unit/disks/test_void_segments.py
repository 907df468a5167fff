"""A tape that is written over takes the files of what the store has, and of nothing else."""

from __future__ import annotations

import os
import shutil

import pytest

from tapectl.disks import void_segments
from tapectl.disks.page_cache import bytes_in_memory, drop_pages
from tapectl.disks.tape_files import OPEN, SEALED
from tests.support.gateway import wait_until
from tests.support.tape_disks import TapeDisks, read_all, write

OLD = [bytes([at]) * 1000 for at in range(1, 10)]
NEW = [bytes([at]) * 1000 for at in range(101, 110)]


@pytest.fixture(params=[False, True], ids=["two disks", "shared"])
def disks(tmp_path, request):
    disks = TapeDisks(tmp_path, shared=request.param)
    cartridge = disks.load()
    write(cartridge, *OLD)
    cartridge.close()
    return disks


def numbers_of(paths):
    return {path: path.stat().st_ino for path in paths}


def test_files_of_what_the_store_has_are_written_over(disks):
    disks.upload()
    old = numbers_of(disks.files(SEALED))
    cartridge = disks.load()
    write(cartridge, *NEW)
    assert read_all(cartridge) == NEW
    cartridge.close()
    new = numbers_of(disks.files(SEALED))
    cache_files = [path for path in new if disks.cache in path.parents]
    # The first new segment is there before the old ones are void.
    assert {new[path] for path in cache_files[1:]} < set(old.values())
    assert not old.keys() & new.keys()
    assert read_all(disks.load()) == NEW


def test_what_is_not_needed_leaves_with_the_tape(disks):
    disks.upload()
    old = disks.files(SEALED)
    cartridge = disks.load()
    write(cartridge, NEW[0])
    cartridge.close()
    assert not set(old) & set(disks.files())
    assert read_all(disks.load()) == NEW[:1]


def test_what_is_not_uploaded_stays(disks):
    old = {path: path.read_bytes() for path in disks.files(SEALED)}
    cartridge = disks.load()
    write(cartridge, *NEW)
    cartridge.close()
    assert {path: path.read_bytes() for path in old} == old


def test_what_is_in_memory_no_more_stays_in_the_cache(disks, monkeypatch):
    disks.upload()
    old = disks.files(SEALED)
    monkeypatch.setattr(void_segments, "bytes_in_memory", lambda _path: 0)
    cartridge = disks.load()
    write(cartridge, *NEW)
    cartridge.close()
    assert set(old) <= set(disks.files())


def test_the_memory_of_a_file_is_let_go_of(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(1 << 20))
    assert bytes_in_memory(path) == 1 << 20
    os.sync()

    def is_gone():
        # To look brings the kernel to read, so that it is let go of before each look.
        drop_pages([path])
        return not bytes_in_memory(path)

    wait_until(is_gone, "the memory", 30)


def test_who_has_a_void_segment_open_goes_on_reading_it(disks):
    disks.upload()
    old = disks.files(SEALED)
    readers = [(path.read_bytes(), path.open("rb")) for path in old]
    cartridge = disks.load()
    write(cartridge, *NEW)
    assert read_all(cartridge) == NEW
    cartridge.close()
    for content, reader in readers:
        assert reader.read() == content
        reader.close()
    assert read_all(disks.load()) == NEW


def die_in_the_second_segment(disks):
    """Write over the tape and die; return what was written, and the open copies."""
    cartridge = disks.load()
    write(cartridge, *NEW[:5])
    cartridge.synchronize()
    return NEW[:5], disks.files(OPEN)


@pytest.mark.parametrize("kept_bytes", [0, 256, 300])
def test_what_a_file_was_before_is_not_taken_after_a_power_cut(disks, tmp_path, kept_bytes):
    """Of the new segment the disk has the name, and nothing or little of the content."""
    disks.upload()
    before = tmp_path / "before"
    shutil.copy(disks.files(SEALED)[1], before)
    written, copies = die_in_the_second_segment(disks)
    for copy in copies:
        new = copy.read_bytes()
        with copy.open("r+b") as file:
            file.write(before.read_bytes())
            file.seek(0)
            file.write(new[:kept_bytes])
    for staged in tmp_path.glob("staging*"):
        staged.unlink()
    # What was never brought to the disk is lost: a segment holds three blocks.
    assert read_all(disks.load()) == written[:3]


def test_old_blocks_are_not_taken_for_the_rest_of_a_new_segment(disks):
    """They have the same numbers and places."""
    disks.upload()
    before = disks.files(SEALED)[1].read_bytes()
    written, copies = die_in_the_second_segment(disks)
    for copy in copies:
        with copy.open("r+b") as file:
            end = 256 + 2 * 1032
            file.seek(end)
            file.write(before[end:])
    assert read_all(disks.load()) == written
