"""Files that commands write: whole or not at all, and never in the place of a device."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tapectl.cli.files import whole_file
from tapectl.errors import ExitCode, UsageError

Active = Callable[..., int]


@contextlib.contextmanager
def reading(pipe: Path) -> Iterator[list[bytes]]:
    """Read a named pipe meanwhile; the list has what came when the block is left."""
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    yield read
    reader.join()


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with reading(pipe) as read, whole_file(pipe) as file:
        file.write(b"page")
    assert read == [b"page"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target = tmp_path / "there" / "page"
    target.write_bytes(b"old")
    link = tmp_path / "page"
    link.symlink_to(target)
    with whole_file(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("path", [".", "/", "/nonexistent/page"])
def test_what_cannot_be_a_file_is_said_in_one_line(
    path: str, active: Active, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert active("report", path) == ExitCode.USAGE
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("tapectl: cannot write the file (")
    assert lines[1].startswith("hint: ")
    assert len(lines) == 2


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "page"
    path.write_bytes(b"old")

    def write_some() -> None:
        with whole_file(path) as file:
            file.write(b"ne")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(UsageError):
        write_some()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_tape_is_exported_to_a_pipe_that_has_a_name(active: Active, tmp_path: Path) -> None:
    active("tape", "create", "--size", "100GiB", "--barcode", "VTL001L5", "--wait")
    page, pipe = tmp_path / "page", tmp_path / "pipe"
    page.write_bytes(b"one page")
    assert active("tape", "import", "VTL001L5", str(page), "--format", "raw") == 0
    os.mkfifo(pipe)
    with reading(pipe) as read:
        assert active("tape", "export", "VTL001L5", str(pipe), "--format", "raw") == 0
    assert read == [b"one page"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
