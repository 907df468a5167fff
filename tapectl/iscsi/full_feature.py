"""The full-feature phase: from headers to events, from replies to PDUs (RFC 7143 4.2, 11).

The way of a block goes through here, so what happens once per command or per data PDU reads
the header with its PDU's Struct and builds no PDU object; everything rarer does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, Never

from tapectl.iscsi.additional_header import extended_cdb
from tapectl.iscsi.buffer_pool import BufferPool
from tapectl.iscsi.constants import (
    BHS_BYTES,
    FINAL,
    OPCODE_MASK,
    RESERVED_TAG,
    SERIAL_MASK,
    CommandFlag,
    Opcode,
    RejectReason,
)
from tapectl.iscsi.control_requests import ControlRequests
from tapectl.iscsi.data_transfer import DataTransfer
from tapectl.iscsi.errors import PDUFormatError, ProtocolError
from tapectl.iscsi.events import (
    CommandReceived,
    TaskAborted,
)
from tapectl.iscsi.pdu import (
    SCSICommandPDU,
    SCSIDataOutPDU,
)
from tapectl.iscsi.policy import LoginPolicy, TargetConfig
from tapectl.iscsi.response_writer import ResponseWriter
from tapectl.iscsi.send_targets import TextExchange
from tapectl.iscsi.session import SessionInfo, SessionType
from tapectl.iscsi.session_state import SessionState
from tapectl.iscsi.task import ScsiTask

_READ: Final = int(CommandFlag.READ)
_WRITE: Final = int(CommandFlag.WRITE)
_BIDIRECTIONAL: Final = _READ | _WRITE
_COMMAND: Final = SCSICommandPDU.LAYOUT
_DATA_OUT: Final = SCSIDataOutPDU.LAYOUT

_CHECK_CONDITION: Final = 0x02
_TASK_SET_FULL: Final = 0x28
# Fixed format sense, ILLEGAL REQUEST, INVALID FIELD IN CDB: more data than we take at once.
_TOO_MUCH_DATA_SENSE: Final = bytes.fromhex("70 00 05 00000000 0a 00000000 24 00 00 000000")
# ILLEGAL REQUEST, INVALID COMMAND OPERATION CODE: no command of ours is longer than 16 bytes.
_LONG_CDB_REFUSAL: Final = (
    _CHECK_CONDITION,
    bytes.fromhex("70 00 05 00000000 0a 00000000 20 00 00 000000"),
)


class FullFeature:
    """The commands of one connection. `begin` and `end` are called by the framing.

    `begin` takes a header and the size of its data segment and returns where these data go
    (None when there are none); `end` is called when they have come and their digest is right.
    """

    def __init__(
        self,
        policy: LoginPolicy,
        config: TargetConfig,
        session: SessionInfo,
        place: tuple[SessionState, int],
    ) -> None:
        """`place` is the session that it is a connection of, and its own StatSN."""
        state, stat_sn = place
        self._config = config
        self._session = session
        self._parameters = session.parameters
        self.state = state
        self._window = state.window
        self.writer = ResponseWriter(self._window, session.parameters, stat_sn)
        self.events = state.events
        self.tasks: dict[int, ScsiTask] = {}
        text = TextExchange(policy, config, session)
        self.control = ControlRequests(self, text, config.immediate_commands_max)
        self._pool = BufferPool()
        self._immediate_commands = 0
        self._next_tag: int = 1
        self._header = memoryview(bytes(BHS_BYTES))
        self._end: Callable[[], None] = self._end_of_discarded
        self._task: ScsiTask | None = None  # whose data are being received
        self._gathered: tuple[memoryview, int] = (memoryview(b""), 0)
        self._then: Callable[[bytes], None] = self._refuse
        self._long_cdb = False
        self._handlers = self._legal_requests()
        state.join(self.cid, self)

    def _legal_requests(self) -> dict[int, Callable[[int], memoryview | None]]:
        """What may come in this kind of session; anything else is rejected."""
        control = partial(self._gather, self._on_control_request)
        handlers: dict[int, Callable[[int], memoryview | None]] = {
            Opcode.NOP_OUT: control,
            Opcode.TEXT_REQUEST: control,
            Opcode.LOGOUT_REQUEST: control,
        }
        if self._session.session_type is SessionType.NORMAL:
            handlers[Opcode.SCSI_COMMAND] = self._on_scsi_command
            handlers[Opcode.SCSI_DATA_OUT] = self._on_data_out
            handlers[Opcode.TASK_MANAGEMENT_REQUEST] = control
        return handlers

    @property
    def cid(self) -> int:
        return self._session.cid

    # What the framing calls

    def begin(self, header: memoryview, size: int) -> memoryview | None:
        self._header = header
        handler = self._handlers.get(header[0] & OPCODE_MASK)
        if handler is None:
            return self._gather(self._refuse, size)
        return handler(size)

    def begin_extended(self, header: memoryview, size: int) -> memoryview | None:
        """The same for a header with additional segments."""
        self._header = header
        if header[0] & OPCODE_MASK != Opcode.SCSI_COMMAND:
            return self.begin(header, size)
        try:
            self._long_cdb = extended_cdb(header)
        except PDUFormatError:
            self.reject(RejectReason.INVALID_PDU_FIELD)
            raise
        try:
            return self.begin(header, size)
        finally:
            self._long_cdb = False

    def end(self) -> None:
        self._end()

    def share_session(self) -> None:
        """Mind the other connections of the session from now on."""
        if Opcode.SCSI_COMMAND in self._handlers:
            self._handlers[Opcode.SCSI_COMMAND] = self._on_scsi_command_of_several

    def reject(self, reason: RejectReason) -> None:
        """Reject the PDU under way."""
        self.writer.reject(reason, bytes(self._header[:BHS_BYTES]))

    @property
    def busy(self) -> bool:
        return bool(self.tasks or self.events)

    def numbers(self) -> dict[str, int]:
        """Return the counters, for another process to go on with."""
        return {
            "exp_cmd_sn": self._window.exp_cmd_sn,
            "max_cmd_sn": self._window.max_cmd_sn,
            "stat_sn": self.writer.stat_sn,
        }

    # Commands and their data

    def _on_scsi_command(self, size: int) -> memoryview | None:
        task = ScsiTask(_COMMAND.unpack_from(self._header))
        if task.immediate:
            if self._immediate_commands >= self._config.immediate_commands_max:
                return self._gather(
                    partial(self._reject_gathered, RejectReason.TOO_MANY_IMMEDIATE_COMMANDS), size
                )
        elif not self._window.accept(task.cmd_sn):
            return self._discard(size)
        if task.itt in self.tasks or task.itt == RESERVED_TAG:
            self._fail(RejectReason.TASK_IN_PROGRESS, f"task tag {task.itt:#x} is in use")
        flags = task.flags
        if flags & _BIDIRECTIONAL == _BIDIRECTIONAL:
            return self._refuse_bidirectional(task, size)
        self.tasks[task.itt] = task
        if task.immediate:
            self._immediate_commands += 1
        if self._long_cdb:
            task.refusal = _LONG_CDB_REFUSAL
        if flags & _WRITE and (task.expected_data_transfer_length or size):
            return self._begin_data_out(task, size)
        if size:
            self._fail(RejectReason.PROTOCOL_ERROR, "data with a command that has none")
        self._deliver(task)
        return None

    def _on_scsi_command_of_several(self, size: int) -> memoryview | None:
        # RFC 7143 11.2.1.8: the initiator task tag is unique in the session, not in a connection.
        itt = _COMMAND.unpack_from(self._header)[4]
        if itt not in self.tasks and itt in self.state.tasks():
            self._fail(RejectReason.TASK_IN_PROGRESS, f"task tag {itt:#x} is in use")
        place = self._on_scsi_command(size)
        self.state.commands_came()
        return place

    def _refuse_bidirectional(self, task: ScsiTask, size: int) -> memoryview | None:
        if not task.immediate:
            self._window.complete()
            self._window.pass_over(task.cmd_sn)
        return self._gather(
            partial(self._reject_gathered, RejectReason.COMMAND_NOT_SUPPORTED), size
        )

    def _begin_data_out(self, task: ScsiTask, size: int) -> memoryview | None:
        parameters = self._parameters
        expected = task.expected_data_transfer_length
        final = task.flags & FINAL != 0
        unsolicited_end = min(expected, parameters.first_burst_length)
        if size and (size > unsolicited_end or not parameters.immediate_data):
            self._fail(RejectReason.PROTOCOL_ERROR, f"{size} bytes of immediate data")
        if not final and parameters.initial_r2t and size < unsolicited_end:
            self._fail(RejectReason.PROTOCOL_ERROR, "unsolicited data without InitialR2T=No")
        refusal = task.refusal
        if refusal is None and (
            self.state.data_out_bytes or expected > self._config.data_out_bytes_max
        ):
            task.refusal = refusal = self._data_out_refusal(expected)
        room = expected if refusal is None else unsolicited_end
        task.buffer = self._pool.take(room)
        task.room_bytes = room
        self.state.data_out_bytes += room
        if size:
            self._end = self._end_of_data_out
            self._task = task
        if size != expected:
            task.transfer = transfer = DataTransfer(
                expected,
                max_burst=parameters.max_burst_length,
                r2t_max=parameters.max_outstanding_r2t,
                solicit=refusal is None,
            )
            transfer.begin(size, unsolicited_end=unsolicited_end, final=final)
            self._solicit(task, transfer)
            if not size:
                self._finish_data_out(task)
                return None
        return task.buffer

    def _data_out_refusal(self, expected: int) -> tuple[int, bytes] | None:
        """Return the status and sense for a command whose data cannot be held, None if they can."""
        config = self._config
        if expected > config.data_out_bytes_max:
            return _CHECK_CONDITION, _TOO_MUCH_DATA_SENSE
        held = self.state.data_out_bytes
        if held and held + expected > config.data_out_total_bytes_max:
            return _TASK_SET_FULL, b""
        return None

    def _on_data_out(self, size: int) -> memoryview | None:
        _, flags, _, _, itt, tag, _, data_sn, offset = _DATA_OUT.unpack_from(self._header)
        task = self.tasks.get(itt)
        transfer = None if task is None else task.transfer
        if task is None or transfer is None or task.buffer is None:
            # Of a task that was aborted or ignored while its data were on their way.
            return self._discard(size)
        try:
            transfer.accept((tag, data_sn, offset), flags, size)
        except ProtocolError:
            self.reject(RejectReason.PROTOCOL_ERROR)
            raise
        self._solicit(task, transfer)
        if not size:
            self._finish_data_out(task)
            return None
        self._end = self._end_of_data_out
        self._task = task
        return task.buffer[offset:]

    def _solicit(self, task: ScsiTask, transfer: DataTransfer) -> None:
        while (r2t := transfer.next_r2t(self._next_tag)) is not None:
            self.take_tag()
            self.writer.r2t(task, r2t)

    def _end_of_data_out(self) -> None:
        task, self._task = self._task, None
        if task is not None and not task.done:
            self._finish_data_out(task)

    def _finish_data_out(self, task: ScsiTask) -> None:
        """Deliver the task if all its data are here."""
        transfer = task.transfer
        if transfer is not None:
            if not transfer.announced:
                return
            task.transfer = None
        if task.refusal is None and task.buffer is not None:
            task.data_out = task.buffer[: task.expected_data_transfer_length]
        self._deliver(task)

    def _deliver(self, task: ScsiTask) -> None:
        """Emit a task that is whole, in the order of command numbers unless it is immediate."""
        task.ready = True
        if task.immediate or self._window.in_order(task.cmd_sn):
            self._emit(task)
        else:
            self._window.deliver(task.cmd_sn, partial(self._emit, task))

    def _emit(self, task: ScsiTask) -> None:
        if task.done:
            return
        if task.refusal is not None:
            self.reply(task, task.refusal[0], b"", task.refusal[1])
        else:
            self.events.append(CommandReceived(task))

    def reply(
        self,
        task: ScsiTask,
        status: int,
        data_in: bytes | memoryview,
        sense: bytes,
        data_out_bytes: int | None = None,
    ) -> None:
        if task.done:
            return
        buffer = task.buffer
        self._forget(task)
        if buffer is not None:
            self._pool.release(buffer)
        self.writer.reply(task, status, data_in, sense, data_out_bytes)

    def _forget(self, task: ScsiTask) -> None:
        """End a task: its tag, its slot in the window and its share of memory are free again.

        The buffer of an aborted task is not used again: bytes may still be on their way into
        it, and the server may still hold a view of it.
        """
        task.done = True
        del self.tasks[task.itt]
        if task.immediate:
            self._immediate_commands -= 1
        else:
            self._window.complete()
        if task.buffer is not None:
            task.buffer = None
            self.state.data_out_bytes -= task.room_bytes

    # Aborting

    def abort_tasks(self, lun: int | None) -> None:
        for task in list(self.tasks.values()):
            if lun is None or task.lun == lun:
                self.abort(task)

    def leave_session(self) -> None:
        """End the connection's part in the session: its tasks die, those of others go on."""
        self.abort_tasks(None)
        if self.state.members.get(self.cid) is self:
            self.state.leave(self.cid)

    def abort(self, task: ScsiTask) -> None:
        if task.done:
            return  # it came to its end because one before it was aborted
        delivered = task.ready and task.refusal is None
        task.transfer = None
        self._forget(task)
        if delivered:
            self.events.append(TaskAborted(task.itt))
        if not task.ready and not task.immediate:
            self._window.pass_over(task.cmd_sn)

    # Receiving what is rare

    def _on_control_request(self, data: bytes) -> None:
        self.control.received(bytes(self._header[:BHS_BYTES]), data)

    def fail_next(self, error: ProtocolError) -> None:
        """Let the next PDU end the connection."""
        self._handlers = dict.fromkeys(range(OPCODE_MASK + 1), partial(_raise, error))

    def _gather(self, then: Callable[[bytes], None], size: int) -> memoryview | None:
        """Call `then` with the data segment once it has come."""
        if not size:
            then(b"")
            return None
        buffer = self._pool.take(size)
        self._gathered = (buffer, size)
        self._then = then
        self._end = self._end_of_gathered
        return buffer

    def _end_of_gathered(self) -> None:
        buffer, size = self._gathered
        data = bytes(buffer[:size])
        self._pool.release(buffer)
        self._then(data)

    def _discard(self, size: int) -> memoryview | None:
        if not size:
            return None
        buffer = self._pool.take(size)
        self._gathered = (buffer, size)
        self._end = self._end_of_discarded
        return buffer

    def _end_of_discarded(self) -> None:
        self._pool.release(self._gathered[0])

    def _refuse(self, _data: bytes) -> None:
        snack = self._header[0] & OPCODE_MASK == Opcode.SNACK_REQUEST
        self.reject(RejectReason.SNACK_REJECT if snack else RejectReason.COMMAND_NOT_SUPPORTED)

    def _reject_gathered(self, reason: RejectReason, _data: bytes) -> None:
        self.reject(reason)

    def _fail(self, reason: RejectReason, message: str) -> None:
        self.reject(reason)
        raise ProtocolError(message)

    def take_tag(self) -> int:
        """Return a target transfer tag that is not in use."""
        tag: int = self._next_tag
        # The reserved tag is never used.
        self._next_tag = (tag + 1) % SERIAL_MASK
        return tag


def _raise(error: ProtocolError, _size: int) -> Never:
    raise error
