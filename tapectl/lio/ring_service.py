"""Runs the commands of a ring on a logical unit: what a session is elsewhere, a ring is here.

There is one I_T nexus a device: TCMU tells of none, so the kernel itself keeps apart what is of one
initiator and what of another (reservations, its own unit attentions).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from tapectl.lio.continuity import FAILED, Continuity, Outcome
from tapectl.lio.ring import (
    Capability,
    CommandRing,
    RingCommand,
    RingError,
    RingTaskManagement,
    TaskManagementType,
)
from tapectl.scsi.cartridge import CartridgeBusyError, CommandUnfinishedError
from tapectl.scsi.logical_unit import IMPLICIT_HEAD_OF_QUEUE, LogicalUnit, Reply, Status
from tapectl.scsi.ssc.data_buffer import DataBuffer

_log = logging.getLogger(__name__)

NEXUS = "kernel target"
_READ_6, _WRITE_6 = 0x08, 0x0A
_RESETS = frozenset(
    (
        TaskManagementType.LOGICAL_UNIT_RESET,
        TaskManagementType.TARGET_WARM_RESET,
        TaskManagementType.TARGET_COLD_RESET,
    )
)
_BUSY = Outcome(Status.BUSY, b"", 0)
_ABORTED = Outcome(Status.TASK_ABORTED, b"", 0)


class RingDevice(Protocol):
    """Where a ring comes from (`uio.UioDevice`)."""

    memory: memoryview

    def ring(self) -> None: ...

    def wait(self, timeout_s: float | None = None) -> None: ...

    def wake(self) -> None: ...

    def close(self) -> None: ...


class StoppingError(Exception):
    """The service is to end: what is not answered stays in the ring for the next one."""


class RingService:
    """One thread that answers a ring, from `start` to `stop`.

    It calls the unit with `lock` held, as whoever else calls it does. `busy_timeout_s` tells how
    long a command that begins to wait may wait. `buffer` is what the unit reads blocks into;
    `continuity` is what outlives this process, None for units that have nothing.
    """

    def __init__(
        self,
        device: RingDevice,
        unit: LogicalUnit,
        lock: threading.Lock,
        *,
        busy_timeout_s: Callable[[], float],
        buffer: DataBuffer | None = None,
        continuity: Continuity | None = None,
    ) -> None:
        """Map the ring; raise RingError."""
        self._device = device
        self._unit = unit
        self._lock = lock
        self._busy_timeout_s = busy_timeout_s
        self._buffer = buffer
        self._continuity = continuity
        self._ring = CommandRing(device.memory)
        self._waiting: deque[RingCommand] = deque()
        self._aborted: set[int] = set()
        self._running: int | None = None
        self._gathered = memoryview(bytearray())
        self._stopping = False
        self._thread = threading.Thread(target=self._serve, name="ring", daemon=True)

    @property
    def used(self) -> bool:
        """Whether anybody has used the ring before."""
        return self._ring.used

    def start(self) -> None:
        """Answer what is in the ring, and what comes; raise the errors of a tape that is gone on
        with: CartridgeBusyError."""
        with self._lock:
            self._unit.nexus_established(NEXUS)
            if self._continuity is not None:
                self._waiting.extend(self._continuity.take_over(self._ring))
        self._thread.start()

    def stop(self) -> None:
        """End once the command that is under way is answered; the rest stays in the ring."""
        self._stopping = True
        self._device.wake()
        if self._thread.is_alive():
            self._thread.join()
        self._device.close()

    def changed(self) -> None:
        """The unit changed otherwise than by a command; the caller holds its lock."""
        if self._continuity is not None:
            self._continuity.changed()

    def _serve(self) -> None:
        try:
            # Whoever was here before may have died between its last answer and its ringing.
            self._device.ring()
            self._answer_first()
            while not self._stopping:
                self._take()
                if self._waiting:
                    self._run(self._waiting.popleft())
                else:
                    self._device.wait()
        except StoppingError:
            pass
        except RingError as exc:
            _log.error("the ring of the kernel's target is broken: %s", exc)
        except OSError as exc:
            _log.info("the ring ends: %s", exc)

    def _answer_first(self) -> None:
        """Answer the command that the last process was at, if it is known how it ended; else run
        it before any other."""
        self._take()
        if self._continuity is None:
            return
        command = self._continuity.command_left(self._waiting)
        if command is None:
            return
        with self._lock:
            outcome = self._continuity.outcome_left(command)
        self._waiting.remove(command)
        if outcome is None:
            self._waiting.appendleft(command)
        else:
            self._answer(command, outcome)

    def _take(self) -> None:
        """Take everything out of the ring; act at once on what is to happen to commands in it."""
        while (entry := self._ring.take()) is not None:
            if isinstance(entry, RingCommand):
                self._waiting.append(entry)
            else:
                self._manage(entry)

    def _manage(self, request: RingTaskManagement) -> None:
        _log.info("task management %d for %d commands", request.function, len(request.command_ids))
        # Those that are answered by now are none of ours any more, and their ids are used again.
        ours = {command.command_id for command in self._waiting}
        if self._running is not None:
            ours.add(self._running)
        self._aborted |= ours & set(request.command_ids)
        if request.function in _RESETS:
            with self._lock:
                self._unit.logical_unit_reset()
                self.changed()

    def _run(self, command: RingCommand) -> None:
        self._running = command.command_id
        if command.command_id in self._aborted:
            outcome = _ABORTED
        elif not command.cdb:
            # It may have been run: that is told once it is tried again (`power_on`).
            outcome = _BUSY
        else:
            try:
                outcome = self._execute(command)
            except CartridgeBusyError as exc:
                outcome = self._execute_patiently(command, exc)
        self._answer(command, outcome)
        self._running = None

    def _answer(self, command: RingCommand, outcome: Outcome) -> None:
        if not outcome.data_in_bytes and not outcome.status and command.cdb[0] != _WRITE_6:
            # That nothing is returned cannot be told: then it is nothing of another command's.
            # Not earlier: what was sent with a command is needed until it has been run.
            for piece in command.data:
                piece[:] = bytes(len(piece))
        ring, continuity = self._ring, self._continuity
        if continuity is not None:
            continuity.answering(command, outcome, ring)
        ring.answer(
            command, outcome.status, sense=outcome.sense, data_in_bytes=outcome.data_in_bytes
        )
        if continuity is not None:
            continuity.answered(ring)
        self._device.ring()
        self._aborted.discard(command.command_id)

    def _answer_ahead(self) -> None:
        """While a command waits, answer those behind it that need not: they are aborted, or of
        those that never wait."""
        for command in list(self._waiting):
            aborted = command.command_id in self._aborted
            if not aborted and command.cdb[0] not in IMPLICIT_HEAD_OF_QUEUE:
                continue
            if not self._may_answer_ahead(command):
                return
            self._waiting.remove(command)
            self._answer(command, _ABORTED if aborted else self._execute(command))

    def _may_answer_ahead(self, command: RingCommand) -> bool:
        ring, continuity = self._ring, self._continuity
        return (
            continuity is not None
            and Capability.OUT_OF_ORDER_COMPLETION in ring.capabilities
            and continuity.may_answer(command, ring)
        )

    def _execute(self, command: RingCommand) -> Outcome:
        """Run a command to its end. Raises CartridgeBusyError, having changed nothing."""
        continuity = self._continuity
        data = self._one_view(command)
        is_read = command.cdb[0] == _READ_6
        if is_read and self._buffer is not None:
            self._buffer.lent = data
        try:
            with self._lock:
                if continuity is not None:
                    continuity.begin(command, self._ring)
                try:
                    reply = self._unit.execute(NEXUS, command.cdb, data)
                except CartridgeBusyError:
                    if continuity is not None:
                        continuity.postponed()
                    raise
                except Exception:
                    _log.exception("command %s", command.cdb.hex())
                    outcome = FAILED
                else:
                    outcome = self._deliver(command, reply)
                if continuity is not None:
                    continuity.done(command, outcome)
        finally:
            if self._buffer is not None:
                self._buffer.lent = None
        return outcome

    def _one_view(self, command: RingCommand) -> memoryview:
        """Return the data of a command as one view. The kernel keeps it together where it can;
        where it is in pieces it is gathered, for what is written, in a buffer of ours."""
        data = command.data
        if len(data) == 1:
            return data[0]
        size_bytes = command.data_bytes
        if size_bytes > len(self._gathered):
            self._gathered = memoryview(bytearray(size_bytes))
        whole = self._gathered[:size_bytes]
        if command.cdb[0] != _READ_6:
            at = 0
            for piece in data:
                whole[at : at + len(piece)] = piece
                at += len(piece)
        return whole

    def _deliver(self, command: RingCommand, reply: Reply) -> Outcome:
        """Put what a command returns where the kernel looks for it."""
        data_in = reply.data_in
        size_bytes = min(len(data_in), command.data_bytes)
        in_place = isinstance(data_in, memoryview) and data_in.obj is self._device.memory.obj
        if size_bytes and not in_place:
            _scatter(memoryview(data_in)[:size_bytes], command.data)
        return Outcome(reply.status, reply.sense, size_bytes)

    def _execute_patiently(self, command: RingCommand, busy: CartridgeBusyError) -> Outcome:
        """Run a command again until it goes on; after the bound the initiator gets BUSY."""
        deadline = time.monotonic() + self._busy_timeout_s()
        while True:
            self._pause(busy.retry_after_s)
            if command.command_id in self._aborted:
                return _ABORTED
            try:
                return self._execute(command)
            except CommandUnfinishedError as exc:
                busy, deadline = exc, time.monotonic() + self._busy_timeout_s()
            except CartridgeBusyError as exc:
                busy = exc
            if time.monotonic() > deadline:
                _log.warning("%s: answered BUSY", busy)
                return _BUSY

    def _pause(self, wait_s: float) -> None:
        """Wait, but look at what happens meanwhile, to the command and to others. Raises
        StoppingError."""
        deadline = time.monotonic() + wait_s
        while True:
            self._take()
            # What is aborted is answered before anything that came after the abort: who takes over
            # finds the abort in the ring as long as it is needed.
            if self._running in self._aborted:
                return
            self._answer_ahead()
            if self._stopping:
                raise StoppingError
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return
            self._device.wait(left_s)


def _scatter(data: memoryview, pieces: Sequence[memoryview]) -> None:
    """Copy data into the pieces, in order; there is room for all of it."""
    at = 0
    for piece in pieces:
        part = data[at : at + len(piece)]
        piece[: len(part)] = part
        at += len(part)
        if at == len(data):
            return
