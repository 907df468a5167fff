"""Our own target as the front end: portal, login, sessions handed to whoever serves a target."""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence

from tapectl.gateway.activation import describe_gateway
from tapectl.gateway.devices import DISCOVERY, DeviceInfo, library_device
from tapectl.gateway.settings import ListenAddress, Settings
from tapectl.iscsi.policy import TargetConfig
from tapectl.iscsi.session import LivingSession, SessionInfo
from tapectl.serve.bound_addresses import BoundAddresses
from tapectl.serve.changer import ChangerUnit
from tapectl.serve.drives import DriveUnit
from tapectl.serve.event_recorder import EventRecorder
from tapectl.serve.json_lines import Message
from tapectl.serve.library_target import LibraryTarget
from tapectl.serve.login_policy import TargetDirectory
from tapectl.serve.portal import Portal, open_listener
from tapectl.serve.refused_logins import RefusedLogins
from tapectl.serve.session_watch import Presence, SessionWatch
from tapectl.state.database import State

_log = logging.getLogger(__name__)


class UserFrontEnd:
    """See FrontEnd. Binds its addresses at once, as root may be given up after that.

    `drives` may grow.
    """

    def __init__(
        self,
        settings: Settings,
        state: State,
        changer: ChangerUnit,
        drives: Sequence[DriveUnit],
        devices: Sequence[DeviceInfo],
        recorder: EventRecorder,
        sessions: SessionWatch,
    ) -> None:
        """Raises AddressInUseError."""
        self._sessions = sessions
        self._settings = settings
        self._changer = changer
        self._drives = drives
        self._library = (
            LibraryTarget(library_device(state), state, settings, changer, drives)
            if settings.library_target
            else None
        )
        self._directory = TargetDirectory(state, self._with_library(devices), self._find_session)
        self._listeners = BoundAddresses(open_listener, socket.socket.close)
        self._listeners.change(settings.listen)
        self._refused_logins = RefusedLogins(recorder, describe_gateway(state).id, self._device_of)
        self._portal = Portal(
            self._listeners.all,
            self._directory,
            TargetConfig(),
            self._take_session,
            self._refused_logins,
        )

    def _with_library(self, devices: Sequence[DeviceInfo]) -> Sequence[DeviceInfo]:
        return devices if self._library is None else [*devices, self._library.device]

    @property
    def addresses(self) -> Sequence[str]:
        return self._portal.addresses

    @property
    def targets(self) -> Sequence[str]:
        return list(self._directory.devices)

    def ring_of(self, _device: DeviceInfo) -> None:
        """See FrontEnd: sessions come over the channel."""

    def open(self) -> None:
        """See FrontEnd: `run` does all of it."""

    def run(self) -> None:
        self._portal.run()

    def stop(self) -> None:
        self._portal.stop()

    def is_alive(self, timeout_s: float) -> bool:
        return self._portal.is_alive(timeout_s)

    def close(self, *, keep: bool) -> None:
        """See FrontEnd: nobody is let in once `run` has returned."""

    def drain(self) -> None:
        if self._library is not None:
            self._library.stop()

    def grow(self, devices: Sequence[DeviceInfo]) -> None:
        self._directory.update(self._with_library(devices))

    def take_over(self, settings: Settings) -> None:
        if settings.listen != self._settings.listen:
            self._listen(settings.listen)
        self._settings = settings
        if self._library is not None:
            self._library.take_over(settings)

    def _listen(self, addresses: Sequence[ListenAddress]) -> None:
        """Listen at these addresses and no others; raise AddressInUseError, and nothing changes."""
        self._listeners.change(addresses)
        self._portal.listen_with(self._listeners.all)  # which closes the others
        _log.info("listening on %s", ", ".join(map(str, addresses)))

    def drop_sessions(self, device_name: str, initiator_name: str) -> None:
        if device_name == DISCOVERY:
            self._portal.drop_discovery_sessions()
        elif self._library is not None:
            # Whom any device lets in counts for the whole library too.
            self._library.drop_sessions(initiator_name)
        if self._changer.device.name == device_name:
            self._changer.drop_sessions(initiator_name)
        for drive in self._drives:
            if drive.device.name == device_name:
                drive.drop_sessions(initiator_name)

    def status(self) -> Message:
        return {
            "library": None if self._library is None else self._library.status(),
            "refused_logins": self._refused_logins.counts,
        }

    def sessions(self, _device: DeviceInfo) -> None:
        """See FrontEnd: whoever serves a device knows its sessions."""

    def _drive_of(self, target_name: str | None) -> DriveUnit | None:
        return next((one for one in self._drives if one.device.target_name == target_name), None)

    def _take_session(
        self, stream: socket.socket, session: SessionInfo, handed_over: Message, peer: str
    ) -> None:
        device = self._device_of(session.target_name or "")
        if device is not None:
            self._sessions.saw(Presence(session.initiator_name, device, peer))
        drive = self._drive_of(session.target_name)
        if drive is not None:
            drive.take_session(stream, handed_over, peer)
        elif self._library is not None and session.target_name == self._library.device.target_name:
            self._library.serve_session(stream, handed_over, peer)
        else:
            self._changer.serve_session(stream, handed_over, peer)

    def _device_of(self, target_name: str) -> str | None:
        device = self._directory.devices.get(target_name)
        return None if device is None else device.name

    def _find_session(self, target: str, nexus: str, tsih: int) -> LivingSession | None:
        if self._library is not None and target == self._library.device.target_name:
            return self._library.find_session(nexus, tsih)
        return (self._drive_of(target) or self._changer).find_session(nexus, tsih)
