"""The drives as the supervisor sees them: one worker process each, and what the robot asks."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Sequence

from tapectl.gateway.devices import DeviceInfo
from tapectl.gateway.settings import Settings
from tapectl.gateway.tapes import barcode_in_element
from tapectl.iscsi.session import LivingSession
from tapectl.lio.errors import KernelTargetError
from tapectl.scsi.library import MoveError, MoveRefusal
from tapectl.serve.channel import ChannelClosedError
from tapectl.serve.child import Child, Death
from tapectl.serve.json_lines import Message
from tapectl.state.database import State

_log = logging.getLogger(__name__)


class DriveUnit:
    """One drive: its worker, restarted with its tape when it dies.

    `changer_serial` is that of the changer of its library.
    """

    def __init__(
        self,
        device: DeviceInfo,
        changer_serial: str,
        state: State,
        settings: Settings,
        *,
        lock_fd: int,
        ring_of: Callable[[], str | None] = lambda: None,
        died: Callable[[Death], None] = lambda _death: None,
    ) -> None:
        """`ring_of` returns the ring of the kernel's target that the worker is to serve, if any;
        `died` is told of every death of a worker."""
        self.device = device
        self._ring_of = ring_of
        self._changer_serial = changer_serial
        self._state = state
        self._settings = settings
        self._alerts: frozenset[int] = frozenset()
        self._loading = threading.Lock()
        # The tape that is in it could not be loaded.
        self.lacks_tape = False
        self.child = Child(
            f"drive-{device.drive_number:02d}",
            "tapectl.serve.worker",
            inherited_fds=(lock_fd,),
            prepare=self._prepare,
            started=self._started,
            died=died,
        )

    def load(self, barcode: str) -> None:
        """Put a cartridge in; raise MoveError if the drive does not take it."""
        answer = self._ask({"op": "load", "barcode": barcode})
        if not answer["ok"]:
            raise MoveError(MoveRefusal.DRIVE_FAILED, str(answer.get("message")))
        self.lacks_tape = False

    def unload(self) -> None:
        """Take the cartridge out, sealed; raise MoveError if an initiator prevents it."""
        answer = self._ask({"op": "unload"})
        if answer.get("refusal") == "prevented":
            raise MoveError(MoveRefusal.REMOVAL_PREVENTED)
        if not answer["ok"]:
            raise MoveError(MoveRefusal.DRIVE_FAILED, str(answer.get("message")))
        self.lacks_tape = False

    def take_session(self, stream: socket.socket, handed_over: Message, peer: str) -> None:
        """Hand a logged-in connection over; closes our copy of the socket in any case.

        When the worker is dead the initiator sees its connection close and
        logs in again, by which time there is a new worker.
        """
        request: Message = {"op": "session", "peer": peer, "connection": handed_over}
        try:
            self.child.request(request, [stream.fileno()])
        except ChannelClosedError as exc:
            _log.warning("%s: session not taken: %s", self.child.name, exc)
        finally:
            stream.close()

    def open_nexus(self, nexus: str, initiator_name: str) -> socket.socket:
        """Return a socket on which a nexus of the library target runs (`nexus_link`).

        Raises ChannelClosedError where there is no worker, or one that has not started yet.
        """
        if not self.child.ready:
            raise ChannelClosedError(f"{self.child.name} is starting")
        ours, theirs = socket.socketpair()
        request: Message = {"op": "nexus", "nexus": nexus, "initiator_name": initiator_name}
        with theirs:
            try:
                self.child.request(request, [theirs.fileno()])
            except ChannelClosedError:
                ours.close()
                raise
        return ours

    def set_alerts(self, flags: frozenset[int]) -> None:
        """Let the drive hold these TapeAlert flags; a worker that starts anew gets them too."""
        if flags == self._alerts:
            return
        self._alerts = flags
        with contextlib.suppress(ChannelClosedError):
            self.child.request({"op": "alerts", "flags": sorted(flags)})

    def protect(self) -> None:
        """Let the drive refuse to write on the tape that it holds; every later one it finds
        protected when it loads it."""
        with contextlib.suppress(ChannelClosedError):
            self.child.request({"op": "protect"})

    def take_over(self, settings: Settings) -> None:
        """Let the drive go by other settings from now on; its tape and its sessions stay."""
        self._settings = settings
        with contextlib.suppress(ChannelClosedError):  # a worker that starts anew gets them too
            self.child.request({"op": "settings", "settings": settings.to_json()})

    def find_session(self, nexus: str, tsih: int) -> LivingSession | None:
        """Return a session of the worker that a login wants to join."""
        try:
            answer = self.child.request({"op": "find_session", "nexus": nexus, "tsih": tsih})
        except ChannelClosedError as exc:
            _log.warning("%s: no session: %s", self.child.name, exc)
            return None
        found = answer.get("session")
        return LivingSession.from_json(found) if isinstance(found, dict) else None

    def drop_sessions(self, initiator_name: str) -> None:
        """End the sessions of an initiator, and those of any that may not log in any more."""
        with contextlib.suppress(ChannelClosedError):  # they ended with the worker
            self.child.request({"op": "drop_sessions", "initiator_name": initiator_name})

    def status(self) -> Message:
        """Return the worker's view, or why there is none."""
        try:
            return self.child.request({"op": "status"})
        except ChannelClosedError as exc:
            return {"ok": False, "message": str(exc)}

    def _ask(self, request: Message) -> Message:
        try:
            return self.child.request(request)
        except ChannelClosedError as exc:
            raise MoveError(MoveRefusal.DRIVE_FAILED, str(exc)) from exc

    def _prepare(self, restarted: bool) -> Message:
        return {
            "settings": self._settings.to_json(),
            "drive_number": self.device.drive_number,
            "serial": self.device.serial,
            "changer_serial": self._changer_serial,
            "element_address": self.device.element_address,
            "device_name": self.device.name,
            "target_name": self.device.target_name,
            "alerts": sorted(self._alerts),
            "restarted": restarted,
            "log_level": logging.getLevelName(logging.getLogger().level),
        }

    def _started(self, restarted: bool) -> None:
        self._load_what_it_holds(attention=not restarted)
        ring = self._ring_of()
        if ring is None:
            return
        # Not before the tape is there: what waits in the ring is meant for it.
        answer = self.child.request({"op": "serve_ring", "ring": ring})
        if not answer["ok"]:
            raise KernelTargetError(f"{self.child.name}: {answer.get('message')}")

    def load_again(self) -> None:
        """Try once more to load a tape that could not be when the drive started.

        The caller keeps it from being moved meanwhile.
        """
        with contextlib.suppress(ChannelClosedError):  # a worker that starts anew does it, too
            if self.child.ready:
                self._load_what_it_holds(attention=True, again=True)

    def _load_what_it_holds(self, *, attention: bool, again: bool = False) -> None:
        with self._loading:
            if again and not self.lacks_tape:
                return
            barcode = barcode_in_element(self._state, self.device.element_address)
            if barcode is None:
                self.lacks_tape = False
                return
            answer = self.child.request(
                {"op": "load", "barcode": barcode, "attention": attention, "patient": not again}
            )
            self.lacks_tape = not answer["ok"]
            if self.lacks_tape and not again:
                _log.error(
                    "%s: cannot load %s yet: %s", self.child.name, barcode, answer.get("message")
                )


class WorkerDrives:
    """gateway.library.DriveControl over the running workers, the first drive first.

    The sequence is the supervisor's own, which grows with the library.
    """

    def __init__(self, drives: Sequence[DriveUnit]) -> None:
        self._drives = drives

    def responds(self, drive_number: int) -> bool:
        return self._drives[drive_number - 1].child.ready

    def load(self, drive_number: int, barcode: str) -> None:
        self._drives[drive_number - 1].load(barcode)

    def unload(self, drive_number: int) -> None:
        self._drives[drive_number - 1].unload()
