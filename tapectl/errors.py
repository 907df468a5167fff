"""Errors that a user of the command line can act on, and their exit codes.

Imports nothing of ours, so that every layer may raise them. What an initiator
must be told is sense data (`tapectl.scsi`), what a peer broke is a protocol
error (`tapectl.iscsi`), and a bug is any other exception.
"""

from __future__ import annotations

import enum


@enum.unique
class ExitCode(enum.IntEnum):
    """Exit status of `tapectl`, one a cause; documented in tapectl(1), never reused."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    CHECK_FINDINGS = 3
    CHANGED = 4
    # Tapes
    TAPE_NOT_FOUND = 10
    TAPE_EXISTS = 11
    TAPE_STATUS = 12
    TAPE_LIMIT = 13
    TAPE_INVALID = 14
    TAPE_IN_DRIVE = 15
    ELEMENT = 16
    POOL = 17
    TAPE_DAMAGED = 19
    TAPE_LOCKED = 18
    # Disks
    DISK_PATH = 20
    DISK_IN_USE = 21
    DISK_NOT_EMPTY = 22
    DISK_TOO_SMALL = 23
    DISK_MISSING = 24
    DISKS_NEEDED = 25
    DISK_NOT_DRAINED = 26
    # Store
    STORE_UNREACHABLE = 30
    STORE_NOT_FOUND = 31
    STORE_DENIED = 32
    STORE_CREDENTIALS = 33
    STORE_REGION = 34
    STORE_CONFLICT = 35
    STORE_DATA = 36
    RECOVERY_POINT = 37
    TAPE_KEY = 38
    # State
    NOT_ACTIVATED = 40
    ALREADY_ACTIVATED = 41
    STATE_NEWER = 42
    STATE_CORRUPT = 43
    STATE_ACCESS = 44
    SETTING_INVALID = 45
    STATE_BUSY = 46
    GATEWAY_UNKNOWN = 47
    GATEWAY_STATE = 48
    # Serving
    ALREADY_SERVING = 50
    ADDRESS_IN_USE = 51
    DEVICE_NOT_FOUND = 52
    DEVICE_BUSY = 53
    WAIT_TIMEOUT = 54
    UNSAFE_LISTEN = 55
    CHAP_NOT_FOUND = 56
    INITIATOR_NOT_LISTED = 57
    FRONT_END_UNAVAILABLE = 58
    INTERRUPTED = 130


_AWS_REQUEST, _AWS_INTERNAL = "InvalidGatewayRequestException", "InternalServerError"
# What no other request would make right.
_INTERNAL = frozenset(
    {
        ExitCode.FAILURE,
        ExitCode.STORE_UNREACHABLE,
        ExitCode.STORE_DATA,
        ExitCode.STATE_CORRUPT,
        ExitCode.STATE_ACCESS,
        ExitCode.STATE_BUSY,
    }
)


class TapectlError(Exception):
    """An error with one line for the user, a next step and an exit code.

    `code` is a stable word for scripts, `aws_code` the error code that AWS
    Storage Gateway gives for the same cause, where it has one.
    """

    exit_code: ExitCode = ExitCode.FAILURE
    code: str = "failure"
    aws_code: str | None = None

    @property
    def aws_exception(self) -> str:
        """The exception that AWS's API raises for errors of this kind."""
        return _AWS_INTERNAL if self.exit_code in _INTERNAL else _AWS_REQUEST

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(TapectlError):
    """A value given on the command line cannot be used."""

    exit_code = ExitCode.USAGE
    code = "usage"
    aws_code = "InvalidParameters"
