"""Data of a tape that cannot be had, and what a user is told of it."""

from __future__ import annotations

from tapectl.errors import ExitCode, TapectlError


class TapeUnreadableError(TapectlError):
    """Data of a tape cannot be had, now or ever."""

    exit_code = ExitCode.TAPE_DAMAGED
    code = "tape_unreadable"
    aws_code = "StorageFailure"


def encrypted_object(barcode: str, number: int) -> TapeUnreadableError:
    """Return the error of a block that a drive has encrypted with a key of its initiator."""
    return TapeUnreadableError(
        f"object {number} of tape {barcode} is encrypted",
        hint="only the backup software that set the key can read it, through a drive",
    )
