"""What the target sends in the full-feature phase: numbering, digests, splitting into PDUs."""

from __future__ import annotations

import struct
from typing import Final

from tapectl.iscsi.command_window import CommandWindow
from tapectl.iscsi.constants import (
    FINAL,
    RESERVED_TAG,
    SERIAL_MASK,
    AsyncEvent,
    CommandFlag,
    Opcode,
    RejectReason,
    ResponseFlag,
)
from tapectl.iscsi.data_transfer import ReadyToTransfer
from tapectl.iscsi.digest import DIGEST, NO_DIGEST, digest
from tapectl.iscsi.params import SessionParameters
from tapectl.iscsi.pdu import (
    NO_LUN,
    PDU,
    R2TPDU,
    AsyncMessagePDU,
    LogoutResponsePDU,
    NOPInPDU,
    RejectPDU,
    SCSIDataInPDU,
    SCSIResponsePDU,
    TaskManagementResponsePDU,
    TextResponsePDU,
    padding,
)
from tapectl.iscsi.send_targets import TextAnswer
from tapectl.iscsi.task import ScsiTask

_SENSE_LENGTH: Final = struct.Struct(">H")
_READ: Final = int(CommandFlag.READ)
_WRITE: Final = int(CommandFlag.WRITE)
_GOOD: Final = 0
# Plain integers: flag arithmetic of the enum is slow, and these stand in the way of every block.
_STATUS: Final = int(ResponseFlag.STATUS)
_OVERFLOW: Final = int(ResponseFlag.OVERFLOW)
_UNDERFLOW: Final = int(ResponseFlag.UNDERFLOW)
_DATA_IN: Final = int(Opcode.SCSI_DATA_IN)
_RESPONSE: Final = int(Opcode.SCSI_RESPONSE)
_R2T: Final = int(Opcode.R2T)


class ResponseWriter:
    """Queues PDUs to send. Data given as a view is queued as that view, not copied."""

    __slots__ = (
        "_data_digest",
        "_header_digest",
        "_max_burst",
        "_window",
        "outgoing",
        "segment_bytes_max",
        "stat_sn",
    )

    def __init__(self, window: CommandWindow, parameters: SessionParameters, stat_sn: int) -> None:
        self._window = window
        self._header_digest = parameters.header_digest
        self._data_digest = parameters.data_digest
        self._max_burst = parameters.max_burst_length
        # The largest data segment the initiator takes.
        self.segment_bytes_max = parameters.initiator_max_recv_data_segment_length
        self.stat_sn = stat_sn
        self.outgoing: list[bytes | memoryview] = []

    def reply(
        self,
        task: ScsiTask,
        status: int,
        data_in: bytes | memoryview,
        sense: bytes,
        data_out_bytes: int | None = None,
    ) -> None:
        """Queue the data and the status of a task; see TargetConnection.reply."""
        expected = task.expected_data_transfer_length
        size = len(data_in)
        sent = 0
        flags, residual = FINAL, 0
        if task.flags & _READ:
            sent = min(size, expected)
            if size != expected:
                flags |= _OVERFLOW if size > expected else _UNDERFLOW
                residual = abs(size - expected)
        elif size:
            flags, residual = FINAL | _OVERFLOW, size
        elif data_out_bytes is not None:
            if data_out_bytes != expected:
                flags |= _OVERFLOW if data_out_bytes > expected else _UNDERFLOW
                residual = abs(data_out_bytes - expected)
        elif expected and (not task.flags & _WRITE or len(task.data_out) != expected):
            flags, residual = FINAL | _UNDERFLOW, expected - len(task.data_out)
        if sent and status == _GOOD and not sense:
            if sent <= self.segment_bytes_max and sent <= self._max_burst:
                data = data_in if sent == size else memoryview(data_in)[:sent]
                self._data_in(task, (flags | _STATUS, 0, 0, residual), data)
            else:
                self._data_in_sequences(task, memoryview(data_in)[:sent], flags | _STATUS, residual)
            return
        count = task.r2t_count
        if sent:
            count = self._data_in_sequences(task, memoryview(data_in)[:sent], 0, 0)
        segment = _SENSE_LENGTH.pack(len(sense)) + sense if sense else b""
        window = self._window
        header = SCSIResponsePDU.LAYOUT.pack(
            _RESPONSE,
            flags,
            0,
            status,
            len(segment),
            task.itt,
            0,
            self.stat_sn,
            window.exp_cmd_sn,
            window.max_cmd_sn,
            count,
            0,
            residual,
        )
        self.stat_sn = (self.stat_sn + 1) & SERIAL_MASK
        self._queue(header, segment)

    def _data_in_sequences(
        self, task: ScsiTask, data: memoryview, status_flags: int, residual: int
    ) -> int:
        """Queue Data-In PDUs; each burst ends with F, the last PDU carries the status if asked.

        Returns the number of PDUs.
        """
        size, offset, data_sn = len(data), 0, 0
        burst_end = min(self._max_burst, size)
        while offset < size:
            end = min(offset + self.segment_bytes_max, burst_end)
            last = end == size
            flags = FINAL if end == burst_end else 0
            if last:
                flags |= status_flags
            self._data_in(task, (flags, data_sn, offset, residual if last else 0), data[offset:end])
            offset, data_sn = end, data_sn + 1
            if end == burst_end:
                burst_end = min(burst_end + self._max_burst, size)
        return data_sn

    def _data_in(
        self, task: ScsiTask, place: tuple[int, int, int, int], data: bytes | memoryview
    ) -> None:
        """Queue one Data-In; `place` is (flags, DataSN, Buffer Offset, Residual Count)."""
        flags, data_sn, offset, residual = place
        stat_sn = 0
        if flags & _STATUS:
            stat_sn = self.stat_sn
            self.stat_sn = (stat_sn + 1) & SERIAL_MASK
        window = self._window
        header = SCSIDataInPDU.LAYOUT.pack(
            _DATA_IN,
            flags,
            0,
            len(data),
            NO_LUN,
            task.itt,
            RESERVED_TAG,
            stat_sn,
            window.exp_cmd_sn,
            window.max_cmd_sn,
            data_sn,
            offset,
            residual,
        )
        self._queue(header, data)

    def _queue(self, header: bytes, data: bytes | memoryview) -> None:
        out = self.outgoing
        if self._header_digest:
            header += DIGEST.pack(digest(header))
        out.append(header)
        size = len(data)
        if not size:
            return
        out.append(data)
        tail = padding(size)
        if self._data_digest:
            value = digest(data)
            tail += DIGEST.pack(digest(tail, value) if tail else value)
        if tail:
            out.append(tail)

    def r2t(self, task: ScsiTask, r2t: ReadyToTransfer) -> None:
        """Queue an R2T. Its StatSN is the next one and stays so (RFC 7143 11.8.2)."""
        task.r2t_count += 1
        header = R2TPDU.LAYOUT.pack(
            _R2T,
            FINAL,
            0,
            task.lun_raw,
            task.itt,
            r2t.target_transfer_tag,
            self.stat_sn,
            self._window.exp_cmd_sn,
            self._window.max_cmd_sn,
            r2t.r2t_sn,
            r2t.offset,
            r2t.length,
        )
        self._queue(header, NO_DIGEST)

    def nop_in(self, itt: int, data: bytes) -> None:
        """Answer a NOP-Out."""
        self._send(
            NOPInPDU(
                initiator_task_tag=itt,
                stat_sn=self._take_stat_sn(),
                exp_cmd_sn=self._window.exp_cmd_sn,
                max_cmd_sn=self._window.max_cmd_sn,
                data=data[: self.segment_bytes_max],
            )
        )

    def ping(self, target_transfer_tag: int) -> None:
        """Send a NOP-In that asks for an answer; it takes no StatSN (RFC 7143 11.19)."""
        self._send(
            NOPInPDU(
                target_transfer_tag=target_transfer_tag,
                stat_sn=self.stat_sn,
                exp_cmd_sn=self._window.exp_cmd_sn,
                max_cmd_sn=self._window.max_cmd_sn,
            )
        )

    def text(self, itt: int, answer: TextAnswer) -> None:
        self._send(
            TextResponsePDU(
                flags=answer.flags,
                initiator_task_tag=itt,
                target_transfer_tag=answer.target_transfer_tag,
                stat_sn=self._take_stat_sn(),
                exp_cmd_sn=self._window.exp_cmd_sn,
                max_cmd_sn=self._window.max_cmd_sn,
                data=answer.data,
            )
        )

    def task_management(self, itt: int, response: int) -> None:
        self._send(
            TaskManagementResponsePDU(
                response=response,
                initiator_task_tag=itt,
                stat_sn=self._take_stat_sn(),
                exp_cmd_sn=self._window.exp_cmd_sn,
                max_cmd_sn=self._window.max_cmd_sn,
            )
        )

    def logout(self, itt: int, response: int) -> None:
        self._send(
            LogoutResponsePDU(
                response=response,
                initiator_task_tag=itt,
                stat_sn=self._take_stat_sn(),
                exp_cmd_sn=self._window.exp_cmd_sn,
                max_cmd_sn=self._window.max_cmd_sn,
            )
        )

    def reject(self, reason: RejectReason, header: bytes) -> None:
        """Queue a Reject with the 48 bytes of the header that is refused."""
        self._send(
            RejectPDU(
                reason=reason,
                stat_sn=self._take_stat_sn(),
                exp_cmd_sn=self._window.exp_cmd_sn,
                max_cmd_sn=self._window.max_cmd_sn,
                data=header,
            )
        )

    def async_message(
        self, event: AsyncEvent, parameters: tuple[int, int, int], sense: bytes = b""
    ) -> None:
        self._send(
            AsyncMessagePDU(
                stat_sn=self._take_stat_sn(),
                exp_cmd_sn=self._window.exp_cmd_sn,
                max_cmd_sn=self._window.max_cmd_sn,
                async_event=event,
                parameter1=parameters[0],
                parameter2=parameters[1],
                parameter3=parameters[2],
                data=_SENSE_LENGTH.pack(len(sense)) + sense if sense else b"",
            )
        )

    def _take_stat_sn(self) -> int:
        stat_sn = self.stat_sn
        self.stat_sn = (stat_sn + 1) & SERIAL_MASK
        return stat_sn

    def _send(self, pdu: PDU) -> None:
        self.outgoing.append(
            pdu.encode(header_digest=self._header_digest, data_digest=self._data_digest)
        )
