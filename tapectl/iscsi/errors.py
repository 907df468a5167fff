"""What a peer can do wrong."""

from __future__ import annotations

from tapectl.iscsi.constants import LoginStatus


class ProtocolError(Exception):
    """The initiator broke RFC 7143, or its login was refused: the connection is over.

    Raised by `TargetConnection.received` only. What the peer is still to be told (a Reject, a
    Login Response with its status) has been queued: send `take_outgoing()`, then close.
    """


class PDUFormatError(ProtocolError):
    """A header or data segment that cannot be decoded."""


class LoginError(ProtocolError):
    """A login that must be refused, with the status that tells the initiator why."""

    def __init__(self, status: LoginStatus, message: str) -> None:
        super().__init__(message)
        self.status = status
