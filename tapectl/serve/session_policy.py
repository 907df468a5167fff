"""The policy of a process that serves sessions but takes no logins: it knows its one target."""

from __future__ import annotations

from collections.abc import Sequence

from tapectl.iscsi.policy import ChapCredential, TargetPortalInfo
from tapectl.iscsi.session import LivingSession


class OneTargetPolicy:
    """iscsi.LoginPolicy of a connection that was handed over after its login.

    SendTargets in a normal session is answered with the session's own target.
    """

    def __init__(self, target_name: str, address: str) -> None:
        self._target = TargetPortalInfo(name=target_name, addresses=(address,))

    def targets(self, initiator_name: str) -> Sequence[TargetPortalInfo]:
        return [self._target] if initiator_name else []

    def target_exists(self, name: str) -> bool:
        return name == self._target.name

    def initiator_allowed(self, target: str, initiator: str) -> bool:
        return bool(initiator) and self.target_exists(target)

    def chap_credentials(self, target: str | None, initiator: str) -> Sequence[ChapCredential]:
        raise AssertionError(f"no login happens here: {initiator} to {target}")

    def find_session(self, target: str, nexus: str, tsih: int) -> LivingSession | None:
        raise AssertionError(f"no login happens here: {nexus} to {target}, {tsih}")

    def new_tsih(self) -> int:
        raise AssertionError("no login happens here")

    def random_bytes(self, size_bytes: int) -> bytes:
        raise AssertionError(f"no login happens here: {size_bytes} random bytes")
