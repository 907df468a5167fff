"""The second copy: it gets what the first has, past the page cache or through it."""

import errno
import os
import random

import pytest

from tapectl.disks import segment_files
from tapectl.disks.following_copy import FollowingCopy
from tapectl.disks.tape_files import OPEN, SEALED
from tapectl.scsi.cartridge import CartridgeWriteError
from tests.support.closing import closed_at_end
from tests.support.tape_disks import TapeDisks, read_all, write

DATA = random.Random(1).randbytes((3 << 20) + 777)
REAL_OPEN, REAL_SPLICE = os.open, os.splice


def refuse_direct(monkeypatch):
    def without_direct(path, flags, *rest, **options):
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "no O_DIRECT here")
        return REAL_OPEN(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", without_direct)


def refuse_splice(monkeypatch):
    def unknown(*_arguments, **_options):
        raise OSError(errno.ENOSYS, "no splice here")

    monkeypatch.setattr(os, "splice", unknown)


def refuse_second_splice(monkeypatch):
    """Out of the pipe, when there is something in it."""

    def unaligned(source, target, count, **options):
        if "offset_dst" in options:
            raise OSError(errno.EINVAL, "not so")
        return REAL_SPLICE(source, target, count, **options)

    monkeypatch.setattr(os, "splice", unaligned)


def splice_little(monkeypatch):
    monkeypatch.setattr(
        os, "splice", lambda a, b, count, **more: REAL_SPLICE(a, b, min(count, 12288), **more)
    )


class Pair:
    """A file that grows, and the one that follows it."""

    def __init__(self, folder):
        self.paths = folder / "first", folder / "second"
        self.fds = [os.open(path, os.O_RDWR | os.O_CREAT) for path in self.paths]
        for fd in self.fds:
            os.posix_fallocate(fd, 0, 4 << 20)
        self.copy = FollowingCopy(*self.fds, self.paths[1])
        self.size_bytes = 0
        closed_at_end(self)

    def close(self):
        self.copy.close()
        for fd in self.fds:
            os.close(fd)

    def grow(self, size_bytes):
        os.pwrite(
            self.fds[0], DATA[self.size_bytes : self.size_bytes + size_bytes], self.size_bytes
        )
        self.size_bytes += size_bytes

    def second(self):
        return self.paths[1].read_bytes()[: self.size_bytes]


@pytest.fixture
def pair(tmp_path):
    return Pair(tmp_path)


@pytest.mark.parametrize(
    "circumstances",
    [lambda _: None, refuse_direct, refuse_splice, refuse_second_splice, splice_little],
)
def test_it_has_all_that_the_first_has(tmp_path, monkeypatch, circumstances):
    circumstances(monkeypatch)
    pair = Pair(tmp_path)
    for step in (100, 300_000, 1, 4095, 1_500_000, 4096, 200_000, 777):
        pair.grow(step)
        pair.copy.follow(pair.size_bytes)
        if step % 2:
            os.fsync(pair.copy.complete(pair.size_bytes))
            assert pair.second() == DATA[: pair.size_bytes]
    pair.copy.complete(pair.size_bytes)
    assert pair.second() == DATA[: pair.size_bytes]
    pair.copy.close()


def test_it_takes_no_memory(pair):
    pair.grow(2 << 20)
    pair.copy.follow(2 << 20)
    with open(pair.paths[1], "rb") as second, pytest.raises(BlockingIOError):
        os.preadv(second.fileno(), [bytearray(1)], 1 << 20, os.RWF_NOWAIT)


def test_a_disk_that_refuses_may_be_asked_again(pair, monkeypatch):
    pair.grow(1 << 20)
    with monkeypatch.context() as patch:

        def broken(source, target, count, **options):
            if options.get("offset_dst", 0) >= 1 << 19:
                raise OSError(errno.EIO, "broken")
            return REAL_SPLICE(source, target, min(count, 1 << 18), **options)

        patch.setattr(os, "splice", broken)
        with pytest.raises(OSError, match="broken"):
            pair.copy.follow(pair.size_bytes)
    pair.copy.complete(pair.size_bytes)
    assert pair.second() == DATA[: pair.size_bytes]


def test_once_closed_it_is_left_as_it_is(pair):
    pair.grow(1 << 20)
    pair.copy.close()
    pair.copy.follow(1 << 20)
    assert not any(pair.second())
    with pytest.raises(OSError, match="descriptor"):
        pair.copy.complete(1 << 20)


def leave_unsynchronised(disks):
    """Write so much that some of it is on both disks, and some on the first alone."""
    blocks = [bytes([at]) * 30_000 for at in range(60)]
    cartridge = disks.load(segment_bytes=4 << 20)
    write(cartridge, *blocks)
    return cartridge, blocks


@pytest.mark.parametrize("refuses", ["cache", "buffer"])
def test_what_was_acknowledged_is_on_the_other_disk_when_one_refuses(
    tmp_path, monkeypatch, refuses
):
    monkeypatch.setattr(segment_files, "FOLLOW_BYTES", 1 << 19)
    disks = TapeDisks(tmp_path)
    cartridge, blocks = leave_unsynchronised(disks)
    refusing = str(getattr(disks, refuses))

    def refused(fd):
        return os.readlink(f"/proc/self/fd/{fd}").startswith(refusing)

    def fail(patch, name, target_at):
        real = getattr(os, name)

        def failing(*arguments, **options):
            if refused(arguments[target_at]):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return real(*arguments, **options)

        patch.setattr(os, name, failing)

    with monkeypatch.context() as patch:
        for name, target_at in (("pwritev", 0), ("pwrite", 0), ("splice", 1)):
            fail(patch, name, target_at)
        with pytest.raises(CartridgeWriteError):
            cartridge.synchronize()
    other = disks.buffer if refuses == "cache" else disks.cache
    opened = [path for path in disks.files(OPEN) if path.is_relative_to(other)]
    assert blocks[-40] in opened[0].read_bytes()
    # The disk that refused is gone for good; what was on its way is beside the state.
    (disks.root / refuses).rename(tmp_path / "gone")
    assert read_all(disks.load()) == blocks
    assert len(disks.files(SEALED)) == 1
