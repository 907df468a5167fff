"""What is known of a session once its login is complete."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tapectl.iscsi.params import SessionParameters


class SessionType(enum.Enum):
    """RFC 7143 13.21."""

    NORMAL = "Normal"
    DISCOVERY = "Discovery"


def nexus_name(initiator: str, isid: bytes, target: str, portal_group_tag: int) -> str:
    """Return the name of an I_T nexus: those of its two SCSI ports."""
    return f"{initiator},i,0x{isid.hex()},{target},t,0x{portal_group_tag:x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """A session as one of its connections has it: `cid` and some of the parameters are its own.

    `target_name` is None for a discovery session.
    """

    session_type: SessionType
    initiator_name: str
    initiator_alias: str = ""
    target_name: str | None
    isid: bytes
    tsih: int
    cid: int
    target_portal_group_tag: int = 1
    # Whether the connection joined a session that there was (or took the place of one of its own).
    joined: bool = False
    parameters: SessionParameters

    @property
    def nexus(self) -> str:
        """The I_T nexus by the names of both SCSI ports (RFC 7143 4.4.2, SAM-6 A.2)."""
        return nexus_name(
            self.initiator_name, self.isid, self.target_name or "", self.target_portal_group_tag
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


@dataclass(frozen=True, slots=True, kw_only=True)
class LivingSession:
    """A session that another connection may join, as it was when it was asked about."""

    info: SessionInfo
    cids: Sequence[int]
    exp_cmd_sn: int
    max_cmd_sn: int

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values, for another process."""
        return {
            "info": self.info.to_json(),
            "cids": list(self.cids),
            "exp_cmd_sn": self.exp_cmd_sn,
            "max_cmd_sn": self.max_cmd_sn,
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> LivingSession:
        """Return what to_json was told of."""
        return cls(**{**state, "info": SessionInfo.from_json(state["info"])})
