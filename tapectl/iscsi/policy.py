"""What a target must be told: its limits (values) and whom it lets in (asked of the server)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tapectl.iscsi.session import LivingSession


@dataclass(frozen=True, slots=True)
class TargetConfig:
    """The target's own limits and what it offers in negotiation. All lengths are in bytes."""

    # A tape block of up to 256 KiB fits one PDU; open-iscsi declares the same.
    max_recv_data_segment_length: int = 262144
    first_burst_length: int = 262144
    # The largest open-iscsi offers: one R2T then asks for all of a large block.
    max_burst_length: int = 16776192
    initial_r2t: bool = False
    immediate_data: bool = True
    max_outstanding_r2t: int = 1
    # Connections of one session (MaxConnections).
    max_connections: int = 4
    # Commands an initiator may have sent that are not yet answered: MaxCmdSN's window.
    queue_depth: int = 32
    # The same for immediate commands, which the window does not bound.
    immediate_commands_max: int = 8
    # Data of one command. The largest block is 16 MiB - 1; fixed-block writes may carry several.
    data_out_bytes_max: int = 32 * 1024 * 1024
    # Data of all commands of the session that are being gathered or executed; beyond it a
    # command is answered TASK SET FULL (unless it is the only one).
    data_out_total_bytes_max: int = 64 * 1024 * 1024
    # Text of one negotiation step, joined over the C bit; login and text requests.
    login_text_bytes_max: int = 65536
    # A login takes 2 to 6 requests.
    login_requests_max: int = 32
    target_portal_group_tag: int = 1
    target_alias: str = ""


@dataclass(frozen=True, slots=True)
class TargetPortalInfo:
    """A target as SendTargets tells it.

    `addresses` are `host:port` or `[v6-address]:port`, without the portal group tag.
    """

    name: str
    addresses: Sequence[str]


@dataclass(frozen=True, slots=True)
class ChapCredential:
    """A CHAP user and secret, and those with which the target proves itself (mutual CHAP)."""

    user: str
    secret: str = field(repr=False)
    mutual_user: str | None = None
    mutual_secret: str | None = field(default=None, repr=False)


class LoginPolicy(Protocol):
    """Who may log in to what. Names come in lower case (iSCSI names are compared so, RFC 3722).

    Called within `TargetConnection.received`; must not block for long.
    """

    def targets(self, initiator_name: str) -> Sequence[TargetPortalInfo]:
        """Return the targets that this initiator may see, for SendTargets."""
        ...

    def target_exists(self, name: str) -> bool: ...

    def initiator_allowed(self, target: str, initiator: str) -> bool: ...

    def chap_credentials(self, target: str | None, initiator: str) -> Sequence[ChapCredential]:
        """Return the users of whom one must authenticate; none: no authentication is required.

        `target` is None for a discovery session.
        """
        ...

    def find_session(self, target: str, nexus: str, tsih: int) -> LivingSession | None:
        """Return the living session of an I_T nexus if its handle is `tsih`."""
        ...

    def new_tsih(self) -> int:
        """Return a session handle, 1 to 65535, that no living session of the nexus has."""
        ...

    def random_bytes(self, size_bytes: int) -> bytes:
        """Return bytes from a cryptographic random number generator."""
        ...
