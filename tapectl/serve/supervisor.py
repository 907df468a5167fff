"""`tapectl serve`: portal, media changer, workers and transfer process, in the foreground.

Starts everything, routes sessions to whoever serves their target, answers the
control socket, and drains all of it on SIGTERM or Ctrl-C. Holds no tape open
and never talks to the store.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tapectl import __version__
from tapectl.gateway import serving_record
from tapectl.gateway.activation import describe_gateway
from tapectl.gateway.alerts import Alert, AlertKind, drive_flags, library_flags
from tapectl.gateway.devices import CHANGER_NUMBER, DeviceInfo, list_devices
from tapectl.gateway.settings import ListenAddress, Settings
from tapectl.serve.alerts import AlertMonitor
from tapectl.serve.bound_addresses import BoundAddresses
from tapectl.serve.changer import ChangerUnit
from tapectl.serve.channel import ChannelClosedError
from tapectl.serve.child import Child
from tapectl.serve.control import ControlOperations, control_socket_path
from tapectl.serve.deaths import DeathNotices
from tapectl.serve.drives import DriveUnit, WorkerDrives
from tapectl.serve.event_feed import EventFeeds
from tapectl.serve.event_recorder import EventRecorder
from tapectl.serve.front_end import FrontEnd
from tapectl.serve.front_end_choice import check_listen, uses_kernel_target
from tapectl.serve.json_lines import Message
from tapectl.serve.json_server import JsonServer
from tapectl.serve.logs import configure_log
from tapectl.serve.metrics import MetricsServer
from tapectl.serve.missing_tapes import MissingTapes
from tapectl.serve.reloading import plan_reload
from tapectl.serve.service_manager import ServiceManager
from tapectl.serve.session_watch import SessionWatch, presences
from tapectl.serve.user_front_end import UserFrontEnd
from tapectl.state.database import State
from tapectl.state.errors import StateError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReadyInfo:
    """What an admin wants to read when the gateway is up."""

    portals: Sequence[str]
    targets: Sequence[str]


@dataclass(slots=True)
class _End:
    """Why this ends, and by whom."""

    reason: str = ""
    actor: str = "serve"


class Supervisor:
    """Everything that `serve` runs. `run` blocks until it is told to stop."""

    def __init__(self, settings: Settings, state: State, *, lock_fd: int) -> None:
        self._settings = settings
        self._state = state
        self._state_path = settings.state_path
        self._lock_fd = lock_fd
        gateway = describe_gateway(state)
        devices = list_devices(state)
        self._recorder = EventRecorder(state, settings.keep_events_days)
        self._sessions_seen = SessionWatch(self._recorder, lambda: presences(self._status({})))
        self._deaths = DeathNotices(state, gateway.id, self._recorder)
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
            died=self._deaths.transfer_died,
        )
        self._changer = ChangerUnit(
            devices[CHANGER_NUMBER],
            gateway,
            state,
            settings,
            WorkerDrives(self._drives),
        )
        self._alerts = AlertMonitor(
            state, settings, transfer_status=self._transfer_status, tell=self._tell_alerts
        )
        self._missing_tapes = MissingTapes(self._drives, self._changer.host.lock)
        self._metrics = BoundAddresses(
            lambda address: MetricsServer(address, state, lambda: self._status({})),
            MetricsServer.close,
        )
        self._measure(settings.metrics_listen)
        self._feeds = EventFeeds(state, gateway.id)
        self._keep_target = False
        self._end = _End()
        self._front_end = self._new_front_end(devices)

    def _new_front_end(self, devices: Sequence[DeviceInfo]) -> FrontEnd:
        settings, changer = self._settings, self._changer
        if uses_kernel_target(settings):
            # rtslib-fb is loaded for those alone who use it.
            from tapectl.serve.kernel_front_end import KernelFrontEnd

            return KernelFrontEnd(settings, self._state, self._gateway.id, changer, devices)
        return UserFrontEnd(
            settings,
            self._state,
            changer,
            self._drives,
            devices,
            self._recorder,
            self._sessions_seen,
        )

    def _new_drive(self, device: DeviceInfo) -> DriveUnit:
        return DriveUnit(
            device,
            self._changer_serial,
            self._state,
            self._settings,
            lock_fd=self._lock_fd,
            ring_of=lambda: self._front_end.ring_of(device),
            died=lambda death: self._deaths.worker_died(device, death),
        )

    @property
    def _children(self) -> Sequence[Child]:
        return [*(drive.child for drive in self._drives), self._transfer]

    def run(self, on_ready: Callable[[ReadyInfo], None], manager: ServiceManager) -> None:
        """Start, serve, and stop in order; what was acknowledged is on both disks afterwards."""
        operations = ControlOperations(self._operations())
        control = JsonServer(control_socket_path(self._state_path), operations.answer)
        this_run = {
            "version": __version__,
            "pid": os.getpid(),
            "frontend": "lio" if uses_kernel_target(self._settings) else "user",
        }
        if serving_record.note_begin(self._state, this_run):
            _log.error("the last `tapectl serve` of this gateway died: see `tapectl events`")
        started = False
        try:
            self._recorder.start()
            # All processes start up at the same time; then each gets its work.
            for child in self._children:
                child.spawn()
            self._transfer.begin()
            for drive in self._drives:
                drive.child.begin()
            self._alerts.start()
            self._missing_tapes.start()
            self._sessions_seen.start()
            self._feeds.start(self._settings)
            self._front_end.open()
            control.start()
            serving_record.note_started(self._state, this_run)
            started = True
            on_ready(ReadyInfo(self._front_end.addresses, self._front_end.targets))
            manager.ready(f"serving on {', '.join(self._front_end.addresses)}")
            self._front_end.run()
        except BaseException as exc:
            self._end.reason = f"failed: {exc}"
            raise
        finally:
            manager.stopping()
            control.close()
            self._measure(())
            self._alerts.stop()
            self._missing_tapes.stop()
            self._sessions_seen.stop()
            self._front_end.close(keep=self._keep_target)
            # All at once: each waits for its initiators to leave, and may have a segment to flush.
            children = self._children
            with ThreadPoolExecutor(len(children) + 2) as pool:
                stopping = [pool.submit(self._changer.stop), pool.submit(self._front_end.drain)]
                ends = {child.name: pool.submit(child.stop) for child in children}
            for stopped in stopping:
                stopped.result()
            self._note_end([name for name, end in ends.items() if not end.result()], told=started)

    def _note_end(self, failed: Sequence[str], *, told: bool) -> None:
        """Everything has come to its end, but for the processes that `failed` to: what they had
        acknowledged is recovered at the next start."""
        self._recorder.stop()
        how = {"reason": self._end.reason, "clean": not failed, "killed": failed}
        try:
            serving_record.note_end(self._state, how if told else None, actor=self._end.actor)
        except StateError as exc:
            _log.warning("the end is not noted: %s", exc.message)
        self._feeds.finish()

    def stop(self, reason: str, actor: str = "serve") -> None:
        """Make `run` drain and return; from any thread. `reason` and `actor` are for the events."""
        self._end = _End(reason, actor)
        self._front_end.stop()

    def is_alive(self, timeout_s: float) -> bool:
        """Return whether initiators are let in, or this is draining; waits so long to find out."""
        return self._front_end.is_alive(timeout_s)

    def reload(self, wanted: Settings) -> None:
        """Take over what can be taken over of other settings while serving."""
        check_listen(wanted, self._state)
        found = plan_reload(self._settings, wanted)
        settings = found.settings
        # What can be refused comes first.
        self._front_end.take_over(settings)
        if "metrics_listen" in found.changed:
            self._measure(settings.metrics_listen)
        self._settings = settings
        configure_log(settings.log_format, level=logging.getLogger().level)
        for drive in self._drives:
            drive.take_over(settings)
        self._changer.take_over(settings)
        self._alerts.take_over(settings)
        self._recorder.keep(settings.keep_events_days)
        # Always: programs may have come into the folder of hooks.
        self._feeds.start(settings)
        if found.transfer:
            self._transfer.renew()
        names = ", ".join(sorted(found.changed)) or "none changed"
        _log.info("settings reloaded: %s", names)
        if found.unchanged_until_restart:
            names = ", ".join(sorted(found.unchanged_until_restart))
            _log.warning("these settings change with the next start only: %s", names)

    def _measure(self, addresses: Sequence[ListenAddress]) -> None:
        """Answer Prometheus at these addresses and no others; raise AddressInUseError."""
        for server in self._metrics.change(addresses):
            server.close()

    def kill(self) -> None:
        """End everything now; recovery at the next start loses nothing acknowledged."""
        for drive in self._drives:
            drive.child.kill()
        self._transfer.kill()

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
            "portals": list(self._front_end.addresses),
            "metrics": [str(server.address) for server in self._metrics.all],
            "alerts": self._alerts.messages(),
            "changer": {
                **self._sessions(self._changer.device, self._changer.sessions()),
                "tape_alerts": self._changer.tape_alerts(),
            },
            "drives": [
                {
                    "drive_number": drive.device.drive_number,
                    "target_name": drive.device.target_name,
                    "pid": drive.child.pid,
                    "deaths": drive.child.deaths,
                    **(status := drive.status()),
                    **self._sessions(drive.device, status.get("sessions")),
                }
                for drive in self._drives
            ],
            **self._front_end.status(),
            "transfer": {
                "pid": self._transfer.pid,
                "deaths": self._transfer.deaths,
                **self._transfer_status(),
            },
        }

    def _sessions(self, device: DeviceInfo, own: object) -> Message:
        found = self._front_end.sessions(device)
        return {"sessions": own if found is None else found}

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
            self._changer.library_grew()
            self._front_end.grow(devices)
            self._gateway = gateway

    def _wake(self, _request: Message) -> Message:
        self._grow()
        with contextlib.suppress(ChannelClosedError):  # it looks when it is back
            self._transfer.request({"op": "wake"})
        return {}

    def _move(self, request: Message) -> Message:
        source, destination = (int(str(request[name])) for name in ("source", "destination"))
        self._changer.move(source, destination, str(request["actor"]))
        return self._wake(request)

    def _drop_sessions(self, request: Message) -> Message:
        """The access of an initiator to a device was changed."""
        self._front_end.drop_sessions(str(request["device"]), str(request["initiator_name"]))
        return {}

    def _stop(self, request: Message) -> Message:
        self._keep_target = bool(request.get("keep_target"))
        self.stop("gateway stop", str(request.get("actor", "serve")))
        return {}
