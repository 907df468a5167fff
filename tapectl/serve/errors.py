"""Errors of serving that the admin who runs `serve` or talks to it can act on."""

from __future__ import annotations

from tapectl.errors import ExitCode, TapectlError


class AlreadyServingError(TapectlError):
    """Another process serves or synchronises this gateway."""

    exit_code = ExitCode.ALREADY_SERVING
    code = "already_serving"

    def __init__(self, owner: str) -> None:
        super().__init__(
            f"this gateway is already being served: {owner}",
            hint="one `serve` or `sync` at a time; `tapectl status` shows what it does",
        )


class AddressInUseError(TapectlError):
    """A portal address cannot be bound."""

    exit_code = ExitCode.ADDRESS_IN_USE
    code = "address_in_use"


class UnsafeListenError(TapectlError):
    """Listening beyond loopback would let anyone in."""

    exit_code = ExitCode.UNSAFE_LISTEN
    code = "unsafe_listen"

    def __init__(self, address: str) -> None:
        super().__init__(
            f"listening beyond loopback without CHAP lets anyone write tapes: {address}",
            hint="`tapectl chap set` or `tapectl device allow` first, or say --allow-anonymous",
        )


class SupervisorError(TapectlError):
    """What a supervisor answered over its control socket, as the error that it was there."""

    def __init__(self, fields: dict[str, object]) -> None:
        hint = fields.get("hint")
        super().__init__(str(fields.get("message")), hint=str(hint) if hint else None)
        self.code = str(fields.get("code"))
        aws_code = fields.get("aws_code")
        self.aws_code = str(aws_code) if aws_code else None
        self.exit_code = ExitCode(int(str(fields.get("exit_code", int(ExitCode.FAILURE)))))
