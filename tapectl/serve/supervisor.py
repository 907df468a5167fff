"""`tapectl serve`: portal, media changer, workers and transfer process, in the foreground.

Starts everything, routes sessions to whoever serves their target, answers the
control socket, and drains all of it on SIGTERM or Ctrl-C. Holds no tape open
and never talks to the store.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from tapectl.disks.staging import STAGING_FOLDER
from tapectl.errors import TapectlError
from tapectl.gateway.activation import describe_gateway
from tapectl.gateway.alerts import Alert, AlertKind, drive_flags, library_flags
from tapectl.gateway.devices import (
    CHANGER_NUMBER,
    DISCOVERY,
    DeviceInfo,
    library_device,
    list_devices,
)
from tapectl.gateway.initiators import access_is_limited
from tapectl.gateway.settings import ListenAddress, Settings
from tapectl.iscsi.policy import TargetConfig
from tapectl.iscsi.session import LivingSession, SessionInfo
from tapectl.serve.alerts import AlertMonitor
from tapectl.serve.bound_addresses import BoundAddresses
from tapectl.serve.changer import ChangerUnit
from tapectl.serve.channel import ChannelClosedError
from tapectl.serve.child import Child
from tapectl.serve.client import connect
from tapectl.serve.control import ControlOperations, control_socket_path
from tapectl.serve.drives import DriveUnit, WorkerDrives
from tapectl.serve.errors import UnsafeListenError
from tapectl.serve.event_feed import EventFeeds
from tapectl.serve.json_lines import Message
from tapectl.serve.json_server import JsonServer
from tapectl.serve.library_target import LibraryTarget
from tapectl.serve.lock import serve_lock
from tapectl.serve.login_policy import TargetDirectory
from tapectl.serve.logs import configure_log
from tapectl.serve.metrics import MetricsServer
from tapectl.serve.portal import Portal, open_listener
from tapectl.serve.privileges import become, forbid_core_dumps
from tapectl.serve.reloading import plan_reload
from tapectl.serve.service_manager import ServiceManager
from tapectl.state import disks
from tapectl.state.database import State

_log = logging.getLogger(__name__)

# Workers of a supervisor that was killed flush before they leave.
LOCK_WAIT_S = 15.0


@dataclass(frozen=True, slots=True)
class ReadyInfo:
    """What an admin wants to read when the gateway is up."""

    portals: Sequence[str]
    targets: Sequence[str]


class Supervisor:
    """Everything that `serve` runs. `run` blocks until it is told to stop."""

    def __init__(self, settings: Settings, state: State, *, lock_fd: int) -> None:
        self._settings = settings
        self._state = state
        self._state_path = settings.state_path
        self._lock_fd = lock_fd
        gateway = describe_gateway(state)
        devices = list_devices(state)
        self._gateway = gateway
        self._growing = threading.Lock()
        self._changer_serial = devices[CHANGER_NUMBER].serial
        self._drives = [
            self._new_drive(device) for device in devices if device.drive_number != CHANGER_NUMBER
        ]
        self._transfer = Child(
            "transfer",
            "tapectl.serve.transfer",
            inherited_fds=(lock_fd,),
            prepare=lambda _restarted: {
                "settings": self._settings.to_json(),
                "log_level": logging.getLevelName(logging.getLogger().level),
            },
        )
        self._changer = ChangerUnit(
            devices[CHANGER_NUMBER],
            gateway,
            state,
            settings,
            WorkerDrives(self._drives),
        )
        self._library = (
            LibraryTarget(library_device(state), state, settings, self._changer, self._drives)
            if settings.library_target
            else None
        )
        self._alerts = AlertMonitor(
            state, settings, transfer_status=self._transfer_status, tell=self._tell_alerts
        )
        self._drive_by_target = {drive.device.target_name: drive for drive in self._drives}
        self._directory = TargetDirectory(state, self._with_library(devices), self._find_session)
        self._listeners = BoundAddresses(open_listener, socket.socket.close)
        self._listeners.change(settings.listen)
        self._metrics = BoundAddresses(
            lambda address: MetricsServer(address, state, lambda: self._status({})),
            MetricsServer.close,
        )
        self._measure(settings.metrics_listen)
        self._feeds = EventFeeds(state, gateway.id)
        self._portal = Portal(
            self._listeners.all, self._directory, TargetConfig(), self._take_session
        )

    def _new_drive(self, device: DeviceInfo) -> DriveUnit:
        return DriveUnit(
            device, self._changer_serial, self._state, self._settings, lock_fd=self._lock_fd
        )

    def _with_library(self, devices: Sequence[DeviceInfo]) -> Sequence[DeviceInfo]:
        return devices if self._library is None else [*devices, self._library.device]

    @property
    def _children(self) -> Sequence[Child]:
        return [*(drive.child for drive in self._drives), self._transfer]

    def run(self, on_ready: Callable[[ReadyInfo], None], manager: ServiceManager) -> None:
        """Start, serve, and stop in order; what was acknowledged is on both disks afterwards."""
        operations = ControlOperations(self._operations())
        control = JsonServer(control_socket_path(self._state_path), operations.answer)
        try:
            # All processes start up at the same time; then each gets its work.
            for child in self._children:
                child.spawn()
            self._transfer.begin()
            for drive in self._drives:
                drive.child.begin()
            self._alerts.start()
            self._feeds.start(self._settings)
            control.start()
            on_ready(ReadyInfo(self._portal.addresses, list(self._directory.devices)))
            manager.ready(f"serving on {', '.join(self._portal.addresses)}")
            self._portal.run()
        finally:
            manager.stopping()
            control.close()
            self._measure(())
            self._feeds.stop()
            self._alerts.stop()
            # All at once: each waits for its initiators to leave, and may have a segment to flush.
            children = self._children
            with ThreadPoolExecutor(len(children) + 2) as pool:
                stopping = [pool.submit(self._changer.stop)]
                if self._library is not None:
                    stopping.append(pool.submit(self._library.stop))
                stopping += [pool.submit(child.stop) for child in children]
            for stopped in stopping:
                stopped.result()

    def stop(self) -> None:
        """Make `run` drain and return; may be called from a signal handler."""
        self._portal.stop()

    def is_alive(self, timeout_s: float) -> bool:
        """Return whether initiators are let in, or this is draining; waits so long to find out."""
        return self._portal.is_alive(timeout_s)

    def reload(self, wanted: Settings) -> None:
        """Take over what can be taken over of other settings while serving."""
        check_listen(wanted, self._state)
        found = plan_reload(self._settings, wanted)
        settings = found.settings
        # What can be refused comes first.
        if "listen" in found.changed:
            self._listen(settings.listen)
        if "metrics_listen" in found.changed:
            self._measure(settings.metrics_listen)
        self._settings = settings
        configure_log(settings.log_format, level=logging.getLogger().level)
        for drive in self._drives:
            drive.take_over(settings)
        self._changer.take_over(settings)
        if self._library is not None:
            self._library.take_over(settings)
        self._alerts.take_over(settings)
        # Always: programs may have come into the folder of hooks.
        self._feeds.start(settings)
        if found.transfer:
            self._transfer.renew()
        names = ", ".join(sorted(found.changed)) or "none changed"
        _log.info("settings reloaded: %s", names)
        if found.unchanged_until_restart:
            names = ", ".join(sorted(found.unchanged_until_restart))
            _log.warning("these settings change with the next start only: %s", names)

    def _listen(self, addresses: Sequence[ListenAddress]) -> None:
        """Listen at these addresses and no others; raise AddressInUseError, and nothing changes."""
        self._listeners.change(addresses)
        self._portal.listen_with(self._listeners.all)  # which closes the others
        _log.info("listening on %s", ", ".join(map(str, addresses)))

    def _measure(self, addresses: Sequence[ListenAddress]) -> None:
        """Answer Prometheus at these addresses and no others; raise AddressInUseError."""
        for server in self._metrics.change(addresses):
            server.close()

    def kill(self) -> None:
        """End everything now; recovery at the next start loses nothing acknowledged."""
        for drive in self._drives:
            drive.child.kill()
        self._transfer.kill()

    def _take_session(
        self, stream: socket.socket, session: SessionInfo, handed_over: Message, peer: str
    ) -> None:
        drive = self._drive_by_target.get(session.target_name or "")
        if drive is not None:
            drive.take_session(stream, handed_over, peer)
        elif self._library is not None and session.target_name == self._library.device.target_name:
            self._library.serve_session(stream, handed_over, peer)
        else:
            self._changer.serve_session(stream, handed_over, peer)

    def _find_session(self, target: str, nexus: str, tsih: int) -> LivingSession | None:
        if self._library is not None and target == self._library.device.target_name:
            return self._library.find_session(nexus, tsih)
        drive = self._drive_by_target.get(target)
        return (drive or self._changer).find_session(nexus, tsih)

    def _operations(self) -> dict[str, Callable[[Message], Message]]:
        return {
            "status": self._status,
            "wake": self._wake,
            "move": self._move,
            "drop_sessions": self._drop_sessions,
            "stop": self._stop,
        }

    def _status(self, _request: Message) -> Message:
        return {
            "pid": os.getpid(),
            "portals": self._portal.addresses,
            "metrics": [str(server.address) for server in self._metrics.all],
            "alerts": self._alerts.messages(),
            "changer": {
                "sessions": self._changer.sessions(),
                "tape_alerts": self._changer.tape_alerts(),
            },
            "drives": [
                {
                    "drive_number": drive.device.drive_number,
                    "target_name": drive.device.target_name,
                    "pid": drive.child.pid,
                    **drive.status(),
                }
                for drive in self._drives
            ],
            "library": None if self._library is None else self._library.status(),
            "transfer": {"pid": self._transfer.pid, **self._transfer_status()},
        }

    def _transfer_status(self) -> Message:
        try:
            return self._transfer.request({"op": "status"})
        except ChannelClosedError as exc:
            return {"ok": False, "message": str(exc)}

    def _tell_alerts(self, alerts: Sequence[Alert]) -> None:
        for drive in self._drives:
            drive.set_alerts(drive_flags(alerts))
            if any(alert.kind is AlertKind.GATEWAY_FENCED for alert in alerts):
                drive.protect()
        self._changer.set_alerts(library_flags(alerts))

    def _grow(self) -> None:
        """Serve what an admin command has added to the library: drives, slots."""
        with self._growing:
            gateway = describe_gateway(self._state)
            if gateway == self._gateway:
                return
            devices = list_devices(self._state)
            for device in devices[1 + len(self._drives) :]:
                drive = self._new_drive(device)
                drive.child.spawn()
                drive.child.begin()
                self._drives.append(drive)
                self._drive_by_target[device.target_name] = drive
            self._changer.library_grew()
            self._directory.update(self._with_library(devices))
            self._gateway = gateway

    def _wake(self, _request: Message) -> Message:
        self._grow()
        with contextlib.suppress(ChannelClosedError):  # it looks when it is back
            self._transfer.request({"op": "wake"})
        return {}

    def _move(self, request: Message) -> Message:
        self._changer.move(int(str(request["source"])), int(str(request["destination"])))
        return self._wake(request)

    def _drop_sessions(self, request: Message) -> Message:
        """The access of an initiator to a device was changed."""
        initiator_name = str(request["initiator_name"])
        if request["device"] == DISCOVERY:
            self._portal.drop_discovery_sessions()
        elif self._library is not None:
            # Whom any device lets in counts for the whole library too.
            self._library.drop_sessions(initiator_name)
        if self._changer.device.name == request["device"]:
            self._changer.drop_sessions(initiator_name)
        for drive in self._drives:
            if drive.device.name == request["device"]:
                drive.drop_sessions(initiator_name)
        return {}

    def _stop(self, _request: Message) -> Message:
        self.stop()
        return {}


def check_listen(settings: Settings, state: State) -> None:
    """Raise UnsafeListenError for an address beyond loopback that anyone could log in at."""
    if settings.allow_anonymous or access_is_limited(state):
        return
    for address in settings.listen:
        try:
            loopback = ipaddress.ip_address(address.host).is_loopback
        except ValueError:
            loopback = address.host == "localhost"
        if not loopback:
            raise UnsafeListenError(str(address))


def run(
    settings: Settings,
    *,
    on_ready: Callable[[ReadyInfo], None] | None = None,
    reload: Callable[[], Settings] | None = None,
) -> int:
    """Serve until SIGTERM or Ctrl-C; return the exit status.

    At SIGHUP the settings are those that `reload` returns, as far as they can be. A second signal
    ends everything at once. Raises AlreadyServingError, AddressInUseError, UnsafeListenError and
    the errors of the state.
    """
    configure_log(settings.log_format)
    forbid_core_dumps()
    manager = ServiceManager.from_environment(os.environ)
    state = State.open(settings.state_path)
    check_listen(settings, state)
    with serve_lock(settings.state_path, "serve", wait_s=_lock_wait_s(settings)) as lock_fd:
        supervisor = Supervisor(settings, state, lock_fd=lock_fd)
        if settings.user:
            become(settings.user, _what_serving_writes(settings, state))
        load = reload or (lambda: settings)
        with (
            _signals_stop(supervisor),
            _hangup_reloads(supervisor, load, manager),
            manager.kept_alive(supervisor.is_alive),
        ):
            supervisor.run(on_ready or (lambda _info: None), manager)
    return 0


def _what_serving_writes(settings: Settings, state: State) -> Iterator[Path]:
    path = settings.state_path
    yield path.parent
    names = [path.name + suffix for suffix in ("", "-wal", "-shm", ".lock", ".key", ".tapes")]
    names.append(STAGING_FOLDER)
    yield from (one for name in names if (one := path.with_name(name)).exists())
    with state.read() as db:
        for disk in disks.all_disks(db):
            if disk.path.is_dir():
                yield disk.path
                yield disk.path / "tapes"


def _lock_wait_s(settings: Settings) -> float:
    """Return how long to wait for the lock: not at all where a supervisor is well and answers."""
    other = connect(settings.state_path)
    if other is None:
        return LOCK_WAIT_S
    with other:
        return 0.0


@contextlib.contextmanager
def _signals_stop(supervisor: Supervisor) -> Iterator[None]:
    """SIGTERM and SIGINT drain; the second one kills."""
    asked = threading.Event()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if asked.is_set():
            supervisor.kill()
            os._exit(128 + number)
        asked.set()
        _log.info("draining (%s)", signal.Signals(number).name)
        supervisor.stop()

    old = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _hangup_reloads(
    supervisor: Supervisor, load: Callable[[], Settings], manager: ServiceManager
) -> Iterator[None]:
    """SIGHUP reads the settings anew, in a thread: it may wait for a process to end."""
    asked, ended = threading.Event(), threading.Event()

    def run() -> None:
        while asked.wait() and not ended.is_set():
            asked.clear()
            try:
                with manager.reloading():
                    supervisor.reload(load())
            except TapectlError as exc:
                _log.error("settings are not reloaded: %s", exc.message)

    old = signal.signal(signal.SIGHUP, lambda _number, _frame: asked.set())
    threading.Thread(target=run, name="reload", daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        asked.set()
        signal.signal(signal.SIGHUP, old)
