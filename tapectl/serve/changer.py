"""The media changer in the supervisor: its device server, its library, its sessions."""

from __future__ import annotations

import socket
from collections.abc import Callable

from tapectl.gateway.clock import now_ms
from tapectl.gateway.devices import DeviceInfo, device_serial
from tapectl.gateway.drive_types import drive_personalities
from tapectl.gateway.initiators import access_changed
from tapectl.gateway.library import DriveControl, StateLibrary, move_tape
from tapectl.gateway.settings import Settings
from tapectl.iscsi.session import LivingSession
from tapectl.scsi.changer_personality import CHANGER_PERSONALITIES
from tapectl.scsi.smc.changer import MediaChanger
from tapectl.serve.connection_loop import SessionTimes
from tapectl.serve.json_lines import Message
from tapectl.serve.session_server import SessionServer
from tapectl.serve.unit_host import UnitHost
from tapectl.state.database import State
from tapectl.state.device_memory import DeviceMemory
from tapectl.state.gateways import GatewayRecord


class ChangerUnit:
    """The changer's logical unit and whoever moves tapes: initiators and admin commands.

    Every move and every command holds the unit's lock, so that a tape cannot
    move twice at once and a move by CLI is seen whole by initiators.
    """

    def __init__(
        self,
        device: DeviceInfo,
        gateway: GatewayRecord,
        state: State,
        settings: Settings,
        drives: DriveControl,
    ) -> None:
        self._state = state
        self.device = device
        self._settings = settings
        self._drives = drives
        self._library = StateLibrary(state, drives, hold_s=settings.hold_s)
        serial = device_serial(gateway, device.drive_number)
        self.unit = MediaChanger(
            CHANGER_PERSONALITIES[gateway.changer_type],
            self._library,
            serial=serial,
            target_name=device.target_name,
            drives=drive_personalities(state),
            memory=DeviceMemory(state, serial),
            now_ms=now_ms,
        )
        self.host = UnitHost(self.unit)
        self._times = SessionTimes.of(settings)
        self._sessions = SessionServer(self.host, self._times)

    def stop(self) -> None:
        self.host.table.drain(self._settings.logout_wait_s)

    def take_over(self, settings: Settings) -> None:
        """Go by other settings from now on; sessions go on."""
        self._settings = settings
        self._times.take_over(settings)
        self._library.hold_s = settings.hold_s

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

    def move(self, source: int, destination: int, actor: str) -> None:
        """Move for an admin command; raise the TapectlError that says why not."""
        hold_s = self._settings.hold_s
        with self.host.lock:
            library = StateLibrary(self._state, self._drives, hold_s=hold_s, actor=actor)
            move_tape(library, source, destination)
            self.unit.statistics.count_moves(((source, destination),))

    def set_luns(self, luns: Callable[[str], int]) -> None:
        """Say how many logical units a nexus finds at its target."""
        self.unit.server.luns = luns

    def library_grew(self) -> None:
        """Take over the new elements of the library and tell initiators of them."""
        with self.host.lock:
            self._library.reload()
            self.unit.library_grew(drive_personalities(self._state))

    def set_alerts(self, flags: frozenset[int]) -> None:
        """Let the changer hold these TapeAlert flags."""
        with self.host.lock:
            self.unit.hold_alerts(flags)

    def tape_alerts(self) -> list[int]:
        """Return the flags that are active, by number."""
        return sorted(self.unit.alerts.active)

    def sessions(self) -> list[Message]:
        return self._sessions.status()
