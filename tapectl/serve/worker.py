"""A drive's worker process: owns one drive, its loaded tape, and its sessions.

One process a drive, so that drives scale over cores and a crash takes one
drive. It talks to the supervisor over its channel, to initiators over the
sockets it is handed, to the disks and the state, and to the transfer process
for cold data; never to the store.
"""

from __future__ import annotations

import logging
import secrets
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

from tapectl.disks.cartridge import SegmentedCartridge
from tapectl.disks.tape_files import TapeDescription
from tapectl.disks.tape_loading import LoadProgress
from tapectl.gateway.clock import now_ms
from tapectl.gateway.drive_types import drive_personalities
from tapectl.gateway.initiators import access_changed
from tapectl.gateway.journal import StateJournal
from tapectl.gateway.settings import Settings
from tapectl.gateway.tape_use import TapeUse
from tapectl.gateway.tapes import record_used_bytes
from tapectl.lio.continuity import Continuity
from tapectl.lio.journal import Journal, journal_path
from tapectl.lio.ring_service import NEXUS, RingService
from tapectl.lio.uio import UioDevice
from tapectl.scsi.cartridge import CartridgeBusyError, CartridgeError
from tapectl.scsi.ssc.drive import TapeDrive
from tapectl.scsi.ssc.vpd import Automation
from tapectl.serve.child_main import ChildService, run_child
from tapectl.serve.connection_loop import SessionTimes
from tapectl.serve.fetch_socket import FetchClient, transfer_socket_path
from tapectl.serve.json_lines import Message
from tapectl.serve.logs import configure_log
from tapectl.serve.nexus_link import serve_nexus
from tapectl.serve.rates import RateMeter
from tapectl.serve.session_server import SessionServer
from tapectl.serve.unit_host import UnitHost
from tapectl.state import gateways, tapes
from tapectl.state.database import State
from tapectl.state.device_memory import DeviceMemory
from tapectl.state.errors import StateError

# Run as a module, __name__ is __main__.
_log = logging.getLogger("tapectl.serve.worker")

# How long a load waits for an index that is only in the store, or for room to recover into. The
# changer's session waits as long, and an initiator gives a silent one up after ten seconds.
LOAD_WAIT_S = 8.0
# Over so long a drive's speed is told.
RATE_WINDOW_S = 5.0

# How soon a drained disk is let go of: a query of a few rows.
DISKS_LOOK_S = 2.0
# How old what the state knows of reads may be: little against what decides about eviction.
READS_RECORD_S = 10.0


class DriveWorker:
    """The service of one drive. Requests come from one thread, sessions run in their own."""

    def __init__(self, start: Message) -> None:
        self._settings = Settings.from_json(str(start["settings"]))
        self._state = State.open(self._settings.state_path)
        self._journal = StateJournal(self._state, self._settings)
        self._fetcher = FetchClient(transfer_socket_path(self._settings.state_path))
        self._sealer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="seal")
        self._drive = TapeDrive(
            drive_personalities(self._state)[cast("int", start["drive_number"]) - 1],
            serial=str(start["serial"]),
            target_name=str(start["target_name"]),
            memory=DeviceMemory(self._state, str(start["serial"])),
            random=secrets.token_bytes,
            automation=Automation(
                str(start["changer_serial"]), cast("int", start["element_address"])
            ),
            now_ms=now_ms,
            early_warning_percent=self._settings.early_warning_percent,
        )
        self._drive.alerts.hold(_flags(start["alerts"]))
        self._device_name = str(start["device_name"])
        self._host = UnitHost(self._drive)
        self._times = SessionTimes.of(self._settings)
        self._sessions = SessionServer(self._host, self._times)
        self._ring: RingService | None = None
        self._cartridge: SegmentedCartridge | None = None
        # A load that has waited for too long is done again by whoever wanted it.
        self._load_progress = LoadProgress()
        # Held while the cartridge is in the drive: commands use tapes, too.
        self._use = TapeUse(self._settings.state_path)
        self._idle_position: tuple[int, int] | None = None
        self._rates = RateMeter(self._moved_bytes, window_s=RATE_WINDOW_S)
        self._rates.start()
        self._stopped = threading.Event()
        # Ends a wait whose length is a setting: it is another one, or the worker stops.
        self._look_up = threading.Event()
        if start.get("restarted"):
            self._drive.power_on_attention()
        threading.Thread(target=self._seal_when_idle, name="idle-seal", daemon=True).start()
        threading.Thread(target=self._leave_drained_disks, name="disks", daemon=True).start()
        threading.Thread(target=self._record_reads, name="reads", daemon=True).start()

    def handle(self, request: Message, fds: list[int]) -> Message:
        """Answer one request of the supervisor."""
        match request["op"]:
            case "session":
                self._take_session(request, socket.socket(fileno=fds.pop()))
                return {"ok": True}
            case "serve_ring":
                self._serve_ring(str(request["ring"]))
                return {"ok": True}
            case "nexus":
                self._take_nexus(request, socket.socket(fileno=fds.pop()))
                return {"ok": True}
            case "load":
                self._load(
                    str(request["barcode"]),
                    attention=bool(request.get("attention", True)),
                    wait_s=LOAD_WAIT_S if request.get("patient", True) else 0.0,
                )
                return {"ok": True}
            case "unload":
                return self._unload()
            case "status":
                return {"ok": True, **self._status()}
            case "alerts":
                with self._host.lock:
                    self._drive.alerts.hold(_flags(request["flags"]))
                return {"ok": True}
            case "settings":
                self._take_over(Settings.from_json(str(request["settings"])))
                return {"ok": True}
            case "protect":
                self._protect()
                return {"ok": True}
            case "find_session":
                found = self._sessions.find_session(
                    str(request["nexus"]), int(str(request["tsih"]))
                )
                return {"ok": True, "session": found.to_json() if found else None}
            case "drop_sessions":
                self._drop_sessions(str(request["initiator_name"]))
                return {"ok": True}
        raise ValueError(f"unknown request: {request['op']}")

    def stop(self) -> None:
        """End the sessions and put the tape's last bytes on both disks; the tape stays loaded."""
        self._stopped.set()
        self._look_up.set()
        if self._ring is not None:
            self._ring.stop()
        self._host.table.drain(self._settings.logout_wait_s)
        with self._host.lock:
            self._drive.unload()
            self._close_cartridge()
        self._sealer.shutdown(wait=True)

    def _take_over(self, settings: Settings) -> None:
        """Go by other settings from now on: the next segment and the next load, every session."""
        self._settings = settings
        configure_log(settings.log_format, level=logging.getLogger().level)
        self._times.take_over(settings)
        with self._host.lock:
            self._drive.early_warning.set_percent(settings.early_warning_percent)
        self._look_up.set()

    def _take_session(self, request: Message, stream: socket.socket) -> None:
        handed_over = cast("Message", request["connection"])
        arguments = (stream, handed_over, str(request["peer"]))
        threading.Thread(
            target=self._sessions.serve, args=arguments, name="session", daemon=True
        ).start()

    def _take_nexus(self, request: Message, stream: socket.socket) -> None:
        arguments = (stream, self._host, str(request["nexus"]), str(request["initiator_name"]))
        threading.Thread(target=serve_nexus, args=arguments, name="nexus", daemon=True).start()

    def _serve_ring(self, name: str) -> None:
        """Serve a ring of the kernel's target, from what the last worker left of it on."""
        device = UioDevice(name)
        path = journal_path(self._settings.state_path, self._device_name)
        self._ring = RingService(
            device,
            self._drive,
            self._host.lock,
            busy_timeout_s=lambda: self._times.busy_timeout_s,
            buffer=self._drive.data_buffer,
            continuity=Continuity(self._drive, NEXUS, Journal(path, device.identity)),
        )
        self._ring.start()

    def _tell_ring(self) -> None:
        """The drive was given or lost a cartridge; the caller holds the unit's lock."""
        if self._ring is not None:
            self._ring.changed()

    def _drop_sessions(self, initiator_name: str) -> None:
        """End the sessions of an initiator, and those of any that may not log in any more."""
        self._sessions.drop_sessions(
            lambda name: access_changed(self._state, self._device_name, name, initiator_name)
        )

    def _load(self, barcode: str, *, attention: bool, wait_s: float) -> None:
        deadline = time.monotonic() + wait_s
        if self._cartridge is not None:
            # To open a tape anew seals what is being written to it.
            raise RuntimeError(f"{barcode}: {self._cartridge.barcode} is in the drive")
        self._use.begin(barcode)
        try:
            cartridge = self._open_patiently(barcode, deadline)
        except BaseException:
            self._use.end()
            raise
        with self._host.lock:
            self._cartridge = cartridge
            self._drive.load(cartridge, attention=attention)
            self._tell_ring()
        _log.info("loaded %s", barcode)

    def _open_patiently(self, barcode: str, deadline: float) -> SegmentedCartridge:
        while True:
            try:
                return self._open_cartridge(barcode)
            except CartridgeBusyError as exc:
                if time.monotonic() > deadline:
                    raise
                time.sleep(exc.retry_after_s)

    def _open_cartridge(self, barcode: str) -> SegmentedCartridge:
        return SegmentedCartridge.open(
            self._describe(barcode),
            journal=self._journal,
            fetcher=self._fetcher,
            segment_bytes=self._settings.segment_bytes,
            sealer=self._seal_in_background,
            progress=self._load_progress,
        )

    def _unload(self) -> Message:
        with self._host.lock:
            if self._drive.removal_prevented:
                return {"ok": False, "refusal": "prevented"}
            cartridge = self._drive.unload()
            self._tell_ring()
            self._close_cartridge()
        if cartridge is not None:
            _log.info("unloaded %s", cartridge.barcode)
        self._fetcher.wake()
        return {"ok": True}

    def _close_cartridge(self) -> None:
        """Seal and release the cartridge; the caller holds the unit's lock.

        What could not be sealed is recovered as by a load, once: a fault that has passed must not
        keep a tape in its drive. Raises CartridgeError; the cartridge is let go then, too.
        """
        cartridge = self._cartridge
        if cartridge is None:
            return
        self._cartridge = None
        try:
            cartridge = self._seal_all(cartridge)
        finally:
            self._use.end()
        self._note_used_bytes(cartridge)
        self._journal.record_reads()

    def _seal_all(self, cartridge: SegmentedCartridge) -> SegmentedCartridge:
        try:
            cartridge.close()
        except CartridgeError as exc:
            _log.warning("%s: trying again: %s", cartridge.barcode, exc)
            cartridge = self._open_cartridge(cartridge.barcode)
            cartridge.close()
        return cartridge

    def _note_used_bytes(self, cartridge: SegmentedCartridge) -> None:
        try:
            record_used_bytes(self._state, cartridge.barcode, cartridge.volume_used_bytes)
        except StateError as exc:
            # A number that is shown, and is right again after the next time.
            _log.warning("%s: its use is not noted: %s", cartridge.barcode, exc)

    def _protect(self) -> None:
        """This machine is not the gateway any more: what is written now counts for nothing."""
        with self._host.lock:
            if self._cartridge is not None:
                self._cartridge.protect()
                self._drive.settle_guard()

    def _describe(self, barcode: str) -> TapeDescription:
        with self._state.read() as db:
            tape = tapes.get(db, barcode)
            fenced = gateways.read_standing(db).fenced_at_ms is not None
        return TapeDescription(
            barcode=tape.barcode,
            tape_uuid=tape.tape_uuid,
            capacity_bytes=tape.size_bytes,
            write_protected=tape.write_protected or fenced,
            worm=tape.worm,
            generation=tape.generation,
            cleaning=tape.cleaning,
            created_ms=tape.created_at_ms,
        )

    def _seal_in_background(self, job: Callable[[], None]) -> None:
        def seal_and_wake() -> None:
            job()
            # What `tape list` shows while the tape stays in its drive; as in a status, without the
            # lock.
            if (cartridge := self._cartridge) is not None:
                self._note_used_bytes(cartridge)
            self._fetcher.wake()

        self._sealer.submit(seal_and_wake)

    def _seal_when_idle(self) -> None:
        """Seal the open segment when nothing was written for a while, so that it is uploaded
        and becomes part of a recovery point though the tape stays in the drive."""
        while not self._stopped.is_set():
            if self._look_up.wait(self._settings.seal_idle_s):
                self._look_up.clear()
                continue
            with self._host.lock:
                cartridge = self._cartridge
                if cartridge is None:
                    continue
                seen = (cartridge.end_of_data, cartridge.volume_used_bytes)
                if seen != self._idle_position:
                    self._idle_position = seen
                    continue
                try:
                    cartridge.seal_open_segment()
                except CartridgeError as exc:
                    _log.warning("%s: sealing at rest: %s", cartridge.barcode, exc)
                    continue
                self._note_used_bytes(cartridge)
                self._drive.statistics.keep()

    def _leave_drained_disks(self) -> None:
        """Let go of files on disks that are being drained, so that they can be emptied, unmounted
        and removed while the tape stays in the drive."""
        seen: frozenset[Path] = frozenset()
        while not self._stopped.wait(DISKS_LOOK_S):
            try:
                in_use, to_go = self._journal.allocated_paths()
                # Also those that have been drained and removed since the last look.
                leaving = (seen | to_go) - in_use
                with self._host.lock:
                    if leaving and self._cartridge is not None:
                        self._cartridge.leave_disks(leaving)
                seen = in_use | to_go
            except (CartridgeError, StateError) as exc:
                _log.warning("leaving drained disks: %s", exc)

    def _record_reads(self) -> None:
        """Enter which segments are read, so that the cache keeps them."""
        while not self._stopped.wait(READS_RECORD_S):
            self._journal.record_reads()

    def _status(self) -> Message:
        # Without the lock: a status must not wait for a command, and counters that are a
        # command apart harm nobody.
        cartridge = self._cartridge
        return {
            "barcode": cartridge.barcode if cartridge else None,
            "threaded": self._drive.threaded,
            "tape_alerts": sorted(self._drive.alerts.active),
            "position": cartridge.position if cartridge else None,
            "used_bytes": cartridge.volume_used_bytes if cartridge else None,
            "volume_bytes": cartridge.volume_bytes if cartridge else None,
            **self._moved_bytes(),
            **{f"{name}_per_s": rate for name, rate in self._rates.rates().items()},
            "sessions": self._sessions.status(),
        }

    def _moved_bytes(self) -> dict[str, int]:
        """Return what initiators wrote and read since the process began, and how much of what was
        read came from the store meanwhile."""
        counters = self._drive.counters
        moved = counters.total + counters.mounted
        return {
            "written_bytes": moved.written_bytes,
            "read_bytes": moved.read_bytes,
            "missed_bytes": self._fetcher.missed_bytes,
        }


def _flags(message: object) -> list[int]:
    return [int(flag) for flag in cast("list[int]", message)]


def start(message: Message) -> ChildService:
    """Build the worker from the supervisor's first message."""
    return DriveWorker(message)


if __name__ == "__main__":
    run_child(start)
