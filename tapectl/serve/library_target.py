"""The whole library as one target, in the supervisor: its sessions, beside those of the devices."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from tapectl.gateway.devices import DeviceInfo
from tapectl.gateway.initiators import access_changed
from tapectl.gateway.settings import Settings
from tapectl.iscsi.session import LivingSession
from tapectl.serve.changer import ChangerUnit
from tapectl.serve.connection_loop import SessionTimes
from tapectl.serve.drives import DriveUnit
from tapectl.serve.json_lines import Message
from tapectl.serve.library_host import LibraryHost
from tapectl.serve.session_server import SessionServer
from tapectl.state.database import State


class LibraryTarget:
    """LUN 0 is the changer, LUN k drive k, the same as behind their own targets."""

    def __init__(
        self,
        device: DeviceInfo,
        state: State,
        settings: Settings,
        changer: ChangerUnit,
        drives: Sequence[DriveUnit],
    ) -> None:
        """`drives` may grow."""
        self.device = device
        self._state = state
        self._settings = settings
        self._host = LibraryHost(changer.host, drives)
        self._times = SessionTimes.of(settings)
        self._sessions = SessionServer(self._host, self._times)
        # The part of a nexus's name that its target port is.
        target_port = f",{device.target_name},t,"
        changer.set_luns(lambda nexus: self._host.luns if target_port in nexus else 1)

    def stop(self) -> None:
        """Ask the initiators to log out, and end what is left."""
        self._host.table.drain(self._settings.logout_wait_s)

    def take_over(self, settings: Settings) -> None:
        """Go by other settings from now on; sessions go on."""
        self._settings = settings
        self._times.take_over(settings)

    def serve_session(self, stream: socket.socket, handed_over: Message, peer: str) -> None:
        """Serve a connection in the calling thread until its session ends; owns the socket."""
        self._sessions.serve(stream, handed_over, peer)

    def find_session(self, nexus: str, tsih: int) -> LivingSession | None:
        """Return a session that a login wants to join."""
        return self._sessions.find_session(nexus, tsih)

    def drop_sessions(self, initiator_name: str) -> None:
        """End the sessions of an initiator, and those of any that may not log in any more."""
        self._sessions.drop_sessions(
            lambda name: access_changed(self._state, self.device.name, name, initiator_name)
        )

    def status(self) -> Message:
        """Return what the control socket shows."""
        return {"target_name": self.device.target_name, "sessions": self._sessions.status()}
