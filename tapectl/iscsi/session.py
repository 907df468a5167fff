"""What is known of a session once its login is complete."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tapectl.iscsi.params import SessionParameters


class SessionType(enum.Enum):
    """RFC 7143 13.21."""

    NORMAL = "Normal"
    DISCOVERY = "Discovery"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """A session and its one connection. `target_name` is None for a discovery session."""

    session_type: SessionType
    initiator_name: str
    initiator_alias: str = ""
    target_name: str | None
    isid: bytes
    tsih: int
    cid: int
    target_portal_group_tag: int = 1
    parameters: SessionParameters

    @property
    def nexus(self) -> str:
        """The I_T nexus by the names of both SCSI ports (RFC 7143 4.4.2, SAM-6 A.2)."""
        return (
            f"{self.initiator_name},i,0x{self.isid.hex()},"
            f"{self.target_name or ''},t,0x{self.target_portal_group_tag:x}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the session as plain JSON values, for another process."""
        return asdict(self) | {"session_type": self.session_type.value, "isid": self.isid.hex()}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> SessionInfo:
        """Return the session that to_json was told of."""
        return cls(
            **{
                **state,
                "session_type": SessionType(state["session_type"]),
                "isid": bytes.fromhex(state["isid"]),
                "parameters": SessionParameters(**state["parameters"]),
            }
        )
