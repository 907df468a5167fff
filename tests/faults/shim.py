"""The other side of shim.c: builds it, tells it which call is to fail, reads what it wrote down."""

from __future__ import annotations

import enum
import errno
import json
import mmap
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.support.clients import PROJECT, missing, require_program

SOURCE = Path(__file__).with_name("shim.c")
CONTROL_BYTES = 4096
# Sparse: it takes what is written to it.
LOG_BYTES = 1 << 30

_LOGGING = struct.Struct("=I")
_LOG_SIZE = struct.Struct("=QQ")
# kinds, errno, at which call, calls so far, fired, forever, short write, overflow of the log, where
_FAILURE = struct.Struct("=IiQQIIII512s")
_LOGGING_AT, _LOG_SIZE_AT, _FAILURE_AT = 132, 136, 152
_VARIABLES = ("LD_PRELOAD", "FAULTS_ROOT", "FAULTS_CONTROL", "FAULTS_LOG", "FAULTS_NO_SYNC")
_RECORD = struct.Struct("=IBBHHHIQQQ")


class Call(enum.IntEnum):
    """Kinds of calls, as shim.c numbers them."""

    OPEN = 0
    WRITE = 1
    SYNC = 2
    RENAME = 3
    LINK = 4
    UNLINK = 5
    TRUNCATE = 6
    ALLOCATE = 7
    MKDIR = 8
    READ = 9


class Done(enum.IntEnum):
    """What a record of the log says was done."""

    CREATE = 1
    MKDIR = 2
    WRITE = 3
    TRUNCATE = 4
    ALLOCATE = 5
    SYNC = 6
    RENAME = 7
    LINK = 8
    UNLINK = 9
    RMDIR = 10
    FAILED_SYNC = 11


class Record(NamedTuple):
    """One change. `at` is the position in the log behind it; paths are absolute, or empty."""

    at: int
    done: Done
    mode: int
    inode: int
    offset: int
    size: int
    path: str
    path2: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Fired:
    """How a failure went: calls seen, and the one that failed, None if it never came to it."""

    calls: int
    where: str | None


class Shim:
    """The shim over one directory. Processes started with `environment` are under it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Use `create`, or in a process that is under it `inherited`."""
        self.environment = {name: environment[name] for name in _VARIABLES}
        self.root = Path(self.environment["FAULTS_ROOT"])
        self._control = _map(Path(self.environment["FAULTS_CONTROL"]))
        self._log = _map(Path(self.environment["FAULTS_LOG"]))

    @classmethod
    def create(cls, folder: Path, root: Path, *, library: Path) -> Self:
        """Make control and log in `folder`, which is not below `root`. Nothing is logged yet."""
        control, log = folder / "control", folder / "log"
        for path, size_bytes in ((control, CONTROL_BYTES), (log, LOG_BYTES)):
            with open(path, "wb") as sparse:
                sparse.truncate(size_bytes)
        values = (library, root.resolve(), control, log, 1)
        shim = cls(dict(zip(_VARIABLES, map(str, values), strict=True)))
        shim.clear_log()
        return shim

    @classmethod
    def inherited(cls) -> Self:
        """Return the one that this process is under."""
        return cls(os.environ)

    def log_changes(self, on: bool) -> None:
        _LOGGING.pack_into(self._control, _LOGGING_AT, on)

    @property
    def position(self) -> int:
        """The end of the log: everything done before this was read is before it."""
        position: int = _LOG_SIZE.unpack_from(self._control, _LOG_SIZE_AT)[0]
        return position

    def fail(
        self,
        *calls: Call,
        at: int,
        error: int = errno.EIO,
        forever: bool = False,
        short_write: bool = False,
    ) -> None:
        """Let the `at`-th call of these kinds fail, counted from now and from 1, in any process."""
        kinds = sum(1 << call for call in calls)
        _FAILURE.pack_into(
            self._control, _FAILURE_AT, kinds, error, at, 0, 0, forever, short_write, 0, b""
        )

    def relent(self) -> Fired:
        """Let nothing fail any more; return what did."""
        (_, _, _, calls, fired, _, _, overflow, where) = _FAILURE.unpack_from(
            self._control, _FAILURE_AT
        )
        assert not overflow, "the log is full"
        _FAILURE.pack_into(self._control, _FAILURE_AT, 0, 0, 0, 0, 0, 0, 0, 0, b"")
        return Fired(calls, where.rstrip(b"\0").decode() if fired else None)

    def records(self) -> Iterator[Record]:
        """Yield the log from its beginning to where it ends now."""
        view, end, at = memoryview(self._log), self.position, 0
        while at < end:
            (size, done, mode, path_bytes, path2_bytes, _, data_bytes, inode, offset, extent) = (
                _RECORD.unpack_from(view, at)
            )
            start = at + _RECORD.size
            middle = start + path_bytes
            data = middle + path2_bytes
            yield Record(
                at + size,
                Done(done),
                mode,
                inode,
                offset,
                extent,
                os.fsdecode(bytes(view[start:middle])),
                os.fsdecode(bytes(view[middle:data])),
                bytes(view[data : data + data_bytes]),
            )
            at += size

    def clear_log(self) -> None:
        """Begin the log anew; no process may be running."""
        _LOG_SIZE.pack_into(self._control, _LOG_SIZE_AT, 0, LOG_BYTES)


def build(folder: Path) -> Path:
    """Compile the shim into `folder` and return the library."""
    require_program("gcc", "gcc")
    library = folder / "shim.so"
    command = ["gcc", "-O2", "-Wall", "-shared", "-fPIC", "-o", str(library), str(SOURCE)]
    done = subprocess.run(
        [*command, "-ldl", "-lpthread"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        missing(f"the fault shim does not compile (Linux and glibc?): {done.stderr[-400:]}")
    return library


def run_under(library: Path, folder: Path, module: str, *arguments: str) -> Any:
    """Run a module of this folder as a process under a shim of its own; return its JSON.

    `folder` takes the shim's files and the directory it is over; what is left there is removed
    if all went well.
    """
    root = folder / "root"
    root.mkdir(parents=True)
    shim = Shim.create(folder, root, library=library)
    done = subprocess.run(
        [sys.executable, "-m", f"tests.faults.{module}", *arguments],
        cwd=PROJECT,
        env={**os.environ, **shim.environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{module} {' '.join(arguments)}\n{done.stderr[-8000:]}"
    shutil.rmtree(folder)
    return json.loads(done.stdout.splitlines()[-1])


def _map(path: Path) -> mmap.mmap:
    with open(path, "r+b") as file:
        return mmap.mmap(file.fileno(), 0)
