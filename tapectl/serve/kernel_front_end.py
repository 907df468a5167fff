"""The kernel's target as the front end: it has the sessions, we answer its rings."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Sequence

from tapectl.gateway.access import initiators_let_in
from tapectl.gateway.devices import CHANGER_NUMBER, DeviceInfo
from tapectl.gateway.settings import Settings
from tapectl.lio.configuration import KernelTarget
from tapectl.lio.errors import FrontEndUnavailableError, KernelTargetError
from tapectl.lio.requirements import require
from tapectl.lio.ring_service import RingService
from tapectl.lio.uio import UioDevice
from tapectl.serve.changer import ChangerUnit
from tapectl.serve.json_lines import Message
from tapectl.state.database import State

_log = logging.getLogger(__name__)


class KernelFrontEnd:
    """See FrontEnd. The changer's ring is served in this process, each drive's in its worker."""

    def __init__(
        self,
        settings: Settings,
        state: State,
        gateway_id: str,
        changer: ChangerUnit,
        devices: Sequence[DeviceInfo],
    ) -> None:
        """Raises FrontEndUnavailableError, KernelTargetError."""
        if settings.user:
            raise FrontEndUnavailableError(
                "the kernel's target needs root until the end",
                hint="leave out --user (the setting user), or use --frontend user",
            )
        if settings.library_target:
            raise FrontEndUnavailableError(
                "the kernel's target has no target of the whole library",
                hint="leave out the setting library_target, or use --frontend user",
            )
        require(settings.fabric)
        self._settings = settings
        self._state = state
        self._changer = changer
        self._devices = list(devices)
        self._target = KernelTarget(gateway_id, settings.fabric, settings.listen)
        # rtslib keeps a table of storage objects; workers that start anew ask at any time.
        self._lock = threading.Lock()
        self._ring: RingService | None = None
        self._rings: dict[str, str] = {}
        self._stopping = threading.Event()

    @property
    def addresses(self) -> Sequence[str]:
        return self._target.addresses

    @property
    def targets(self) -> Sequence[str]:
        return [device.target_name for device in self._devices]

    def ring_of(self, device: DeviceInfo) -> str:
        name = self._rings.get(device.name)
        if name is None:
            with self._lock:
                name = self._rings[device.name] = self._target.storage_object(device)
        # Without the lock: a worker that starts anew must answer what `close` waits for.
        return name

    def open(self) -> None:
        changer = self._changer
        uio = UioDevice(self.ring_of(self._devices[CHANGER_NUMBER]))
        self._ring = RingService(
            uio,
            changer.unit,
            changer.host.lock,
            busy_timeout_s=lambda: self._settings.busy_timeout_s,
        )
        if self._ring.used:
            # Initiators that have waited for us hear that the changer was started anew.
            changer.unit.server.attentions.power_on()
        self._ring.start()
        self._export(self._devices)

    def _export(self, devices: Sequence[DeviceInfo]) -> None:
        for device in devices:
            access = initiators_let_in(self._state, device)
            with self._lock:
                self._target.export(device, access)

    def run(self) -> None:
        self._stopping.wait()

    def stop(self) -> None:
        self._stopping.set()

    def is_alive(self, timeout_s: float) -> bool:  # noqa: ARG002  # it is the kernel who lets in
        return True

    def close(self, *, keep: bool) -> None:
        if keep:
            _log.info("the kernel's target stays: initiators wait for the next `tapectl serve`")
            return
        try:
            with self._lock:
                self._target.remove()
        except KernelTargetError as exc:
            _log.error("%s; `tapectl device lio-clean` tries again", exc.message)

    def drain(self) -> None:
        if self._ring is not None:
            self._ring.stop()

    def grow(self, devices: Sequence[DeviceInfo]) -> None:
        self._export(devices[len(self._devices) :])
        self._devices = list(devices)

    def take_over(self, settings: Settings) -> None:
        if settings.listen != self._settings.listen:
            _log.warning("the kernel's target keeps its addresses until the next start")
        self._settings = settings

    def drop_sessions(self, device_name: str, initiator_name: str) -> None:
        for device in self._devices:
            if device.name == device_name:
                access = initiators_let_in(self._state, device)
                try:
                    with self._lock:
                        self._target.drop_sessions(device, initiator_name, access)
                except KernelTargetError as exc:
                    # Whoever asks for it has changed the state, and waits for nothing.
                    _log.error("%s: who may log in is not what was asked for", exc.message)
                    raise

    def status(self) -> Message:
        return {"library": None}

    def sessions(self, device: DeviceInfo) -> list[Message]:
        with self._lock, contextlib.suppress(KernelTargetError):
            return [
                {
                    "initiator_name": session.initiator_name,
                    "peer": session.peer,
                    "connections": session.connections,
                }
                for session in self._target.sessions(device)
            ]
        return []
