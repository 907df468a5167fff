"""Errors of the state file itself, and of tapes that it does not hold or that refuse a step."""

from __future__ import annotations

from pathlib import Path

from tapectl.errors import ExitCode, TapectlError


class StateError(TapectlError):
    """The state file cannot be used."""

    code = "state"
    aws_code = "GatewayInternalError"


class NotActivatedError(StateError):
    """There is no state file: no gateway has been activated here."""

    exit_code = ExitCode.NOT_ACTIVATED
    code = "not_activated"
    aws_code = "GatewayNotFound"

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"no gateway is activated here, there is no state file: {path}",
            hint="run `tapectl activate`, or name the state file with --state",
        )


class StateNewerError(StateError):
    """A newer tapectl has written the state file."""

    exit_code = ExitCode.STATE_NEWER
    code = "state_newer"

    def __init__(self, path: Path, *, version: int, known: int) -> None:
        super().__init__(
            f"the state file has version {version}, this tapectl knows up to {known}: {path}",
            hint="install the tapectl that wrote it, or a newer one",
        )


class StateCorruptError(StateError):
    """The state file is damaged, or is not a state file of tapectl."""

    exit_code = ExitCode.STATE_CORRUPT
    code = "state_corrupt"

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"the state file is damaged or is none of tapectl ({reason}): {path}",
            hint="put a copy of the file back; the tapes themselves are safe in the store",
        )


class StateAccessError(StateError):
    """The operating system does not let us read or write the state file."""

    exit_code = ExitCode.STATE_ACCESS
    code = "state_access"

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"cannot read and write the state file ({reason}): {path}",
            hint="run as the user that owns the gateway, and see that its disk has room",
        )


class StateBusyError(StateError):
    """Another process has kept the state file for longer than any of ours ever does."""

    exit_code = ExitCode.STATE_BUSY
    code = "state_busy"

    def __init__(self, path: Path, waited_s: float) -> None:
        super().__init__(
            f"another process has kept the state file for {waited_s:.0f} s: {path}",
            hint="look for a stopped tapectl, or another program that has the file open",
        )


class TapeNotFoundError(TapectlError):
    """No tape has this barcode."""

    exit_code = ExitCode.TAPE_NOT_FOUND
    code = "tape_not_found"
    aws_code = "TapeCartridgeNotFound"

    def __init__(
        self, barcode: str, *, near: str | None = None, hint: str = "run `tapectl tape list`"
    ) -> None:
        """`near` is a barcode that there is, and that may have been meant."""
        hint = hint if near is None else f"did you mean {near}?"
        super().__init__(f"no tape with barcode {barcode}", hint=hint)


class TapeMovedError(TapeNotFoundError):
    """The tape was one of this gateway, and is another one's now."""

    code = "tape_moved"

    def __init__(self, barcode: str, gateway_id: str) -> None:
        TapectlError.__init__(
            self,
            f"tape {barcode} belongs to gateway {gateway_id} now",
            hint=f"run this there; from the shelf there `tapectl tape retrieve {barcode}` brings it"
            " back to here",
        )


class TapeStatusError(TapectlError):
    """The tape's status does not allow what was asked."""

    exit_code = ExitCode.TAPE_STATUS
    code = "tape_status"
    aws_code = "OperationAborted"

    def __init__(self, message: str, *, status: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status
