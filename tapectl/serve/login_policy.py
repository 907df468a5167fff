"""What the iSCSI core asks at login, answered from the gateway's state."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence

from tapectl.gateway.chap import login_credentials
from tapectl.gateway.devices import DeviceInfo
from tapectl.gateway.initiators import is_listed, permitted_devices
from tapectl.iscsi.policy import ChapCredential, TargetPortalInfo
from tapectl.iscsi.session import LivingSession
from tapectl.state.database import State

# Asks whoever serves a target for a session by its I_T nexus and its handle.
SessionFinder = Callable[[str, str, int], LivingSession | None]


class TargetDirectory:
    """The targets of this gateway by name, and the session handles given out. Thread-safe.

    A session is found by its nexus and its handle, so a handle that comes round again after 65,535
    logins is no other session's.
    """

    def __init__(
        self,
        state: State,
        devices: Sequence[DeviceInfo],
        find_session: SessionFinder = lambda _target, _nexus, _tsih: None,
    ) -> None:
        self.state = state
        self.find_session = find_session
        self.devices = {device.target_name: device for device in devices}
        self._tsih = 0
        self._tsih_lock = threading.Lock()

    def update(self, devices: Sequence[DeviceInfo]) -> None:
        """Take over the devices of a library that has grown."""
        self.devices = {device.target_name: device for device in devices}

    def new_tsih(self) -> int:
        """Return a target session identifying handle, never 0 (RFC 7143 11.12.6)."""
        with self._tsih_lock:
            self._tsih = self._tsih % 0xFFFF + 1
            return self._tsih


class StateLoginPolicy:
    """iscsi.LoginPolicy for one connection, which reached us at `local_address`."""

    def __init__(self, directory: TargetDirectory, local_address: str) -> None:
        self._directory = directory
        self._local_address = local_address

    def targets(self, initiator_name: str) -> Sequence[TargetPortalInfo]:
        permitted = permitted_devices(self._directory.state, initiator_name)
        # The address that this initiator has reached is the one it can reach:
        # a wildcard or a translated address would be of no use to it.
        return [
            TargetPortalInfo(name=name, addresses=(self._local_address,))
            for name, device in self._directory.devices.items()
            if device.name in permitted
        ]

    def target_exists(self, name: str) -> bool:
        return name in self._directory.devices

    def initiator_allowed(self, target: str, initiator: str) -> bool:
        """Say whether the target's initiator list lets it in; CHAP comes on top of it."""
        device = self._directory.devices[target]
        return is_listed(self._directory.state, device.name, initiator)

    def chap_credentials(self, target: str | None, initiator: str) -> Sequence[ChapCredential]:
        return [
            ChapCredential(
                user=row.user,
                secret=row.secret.decode(),
                mutual_user=row.mutual_user,
                mutual_secret=row.mutual_secret.decode() if row.mutual_secret else None,
            )
            for row in login_credentials(self._directory.state, target, initiator)
        ]

    def find_session(self, target: str, nexus: str, tsih: int) -> LivingSession | None:
        return self._directory.find_session(target, nexus, tsih)

    def new_tsih(self) -> int:
        return self._directory.new_tsih()

    def random_bytes(self, size_bytes: int) -> bytes:
        return os.urandom(size_bytes)
