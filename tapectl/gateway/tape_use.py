"""One user of a tape's segments at a time: a drive that has it loaded, or a command.

A lock on one byte of a file beside the state, its place in the file made of the barcode. It belongs
to the open file, so that it is gone with its process, whatever became of that.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
from pathlib import Path

from tapectl.errors import ExitCode, TapectlError
from tapectl.state.database import give_to_owner

# struct flock of Linux: l_type, l_whence, l_start, l_len, l_pid.
_FLOCK = "hhqqi"
# An offset of a file is positive; of so many no two of a library's tapes meet.
_OFFSET_BITS = 62


class TapeInUseError(TapectlError):
    """A drive or another command has the tape."""

    exit_code = ExitCode.TAPE_IN_DRIVE
    code = "tape_in_use"
    aws_code = "OperationAborted"

    def __init__(self, barcode: str) -> None:
        super().__init__(
            f"tape {barcode} is in use",
            hint="a drive has it, or `tapectl tape cat`, `export` or `import`: try again later",
        )


class TapeUse:
    """The use of one tape at a time by this object. One thread at a time."""

    def __init__(self, state_path: Path) -> None:
        self._state_path = state_path
        self._fd = -1

    def begin(self, barcode: str) -> None:
        """Take the tape; raise TapeInUseError if another process, or object, has it."""
        self.end()
        path = self._state_path.with_name(self._state_path.name + ".tapes")
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            give_to_owner(fd, self._state_path)
            digest = hashlib.blake2b(barcode.encode(), digest_size=8).digest()
            offset = int.from_bytes(digest, "big") >> (64 - _OFFSET_BITS)
            lock = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, offset, 1, 0)
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, lock)
        except BlockingIOError:
            os.close(fd)
            raise TapeInUseError(barcode) from None
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd

    def end(self) -> None:
        """Let the tape go. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> TapeUse:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
