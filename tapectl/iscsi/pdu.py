"""The PDUs of RFC 7143 section 11: one class each, its header layout declared once.

`LAYOUT` is the 48-byte basic header segment. Its items, in the order of the wire, are: opcode
(with the immediate bit), then the class's fields, with the word that holds both lengths
(TotalAHSLength in words, DataSegmentLength in bytes) where offset 4 falls. The full-feature
phase's fast path uses the same Struct objects without building these values.
"""

from __future__ import annotations

import dataclasses
import struct
from dataclasses import dataclass
from typing import ClassVar, Final, Self

from tapectl.iscsi.constants import (
    BHS_BYTES,
    FINAL,
    IMMEDIATE,
    OPCODE_MASK,
    RESERVED_TAG,
    Opcode,
)
from tapectl.iscsi.digest import digest, encode_digest
from tapectl.iscsi.errors import PDUFormatError

NO_LUN: Final = bytes(8)
DATA_SEGMENT_LENGTH_MASK: Final = 0xFFFFFF
# Opcode, flags and two bytes that differ from PDU to PDU, then both lengths.
LENGTHS: Final = struct.Struct(">4xI")
_PADDING: Final = (b"", b"\0\0\0", b"\0\0", b"\0")


def padding(size_bytes: int) -> bytes:
    """Return the zero bytes that bring a segment to a multiple of four (RFC 7143 11.1)."""
    return _PADDING[size_bytes & 3]


class PDU:
    """What every PDU class can do; adds no field of its own.

    A class has `flags` (byte 1) and `data` (its data segment, without padding).
    Requests also have `immediate`.
    """

    __slots__ = ()
    OPCODE: ClassVar[Opcode]
    LAYOUT: ClassVar[struct.Struct]

    @classmethod
    def header_fields(cls) -> list[str]:
        """Return the names of the fields that stand in the header, in its order."""
        names = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]  # always one
        return [name for name in names if name not in ("immediate", "data")]

    @classmethod
    def _lengths_index(cls) -> int:
        # Every byte field before offset 4 is one item; the opcode is the first.
        return cls.LAYOUT.format.partition("I")[0].count("B")

    @classmethod
    def from_bhs(cls, bhs: bytes | bytearray | memoryview, data: bytes = b"") -> Self:
        """Decode a 48-byte header and its data segment (without padding and digests).

        Raises PDUFormatError if the length or the opcode is not this PDU's.
        """
        if len(bhs) != BHS_BYTES or bhs[0] & OPCODE_MASK != cls.OPCODE:
            raise PDUFormatError(f"not a {cls.__name__}: {bytes(bhs[:4]).hex()}")
        items = list(cls.LAYOUT.unpack(bhs))
        first = items.pop(0)
        lengths = items.pop(cls._lengths_index() - 1)
        if lengths & DATA_SEGMENT_LENGTH_MASK != len(data):
            raise PDUFormatError(f"{len(data)} bytes of data, header says {lengths:#x}")
        values = dict(zip(cls.header_fields(), items, strict=True))
        values["data"] = data
        if cls.OPCODE < Opcode.NOP_IN:
            values["immediate"] = bool(first & IMMEDIATE)
        return cls(**values)

    def encode(self, *, header_digest: bool = False, data_digest: bool = False) -> bytes:
        """Return the whole PDU as sent: header, data, padding, and the digests asked for."""
        data: bytes = self.data  # type: ignore[attr-defined]  # every PDU class has it
        items: list[object] = [getattr(self, name) for name in self.header_fields()]
        items.insert(self._lengths_index() - 1, len(data))
        first = self.OPCODE | (IMMEDIATE if getattr(self, "immediate", False) else 0)
        parts = [self.LAYOUT.pack(first, *items)]
        if header_digest:
            parts.append(encode_digest(digest(parts[0])))
        if data:
            padded = data + padding(len(data))
            parts.append(padded)
            if data_digest:
                parts.append(encode_digest(digest(padded)))
        return b"".join(parts)


# What the initiator sends.


@dataclass(frozen=True, slots=True, kw_only=True)
class NOPOutPDU(PDU):
    """NOP-Out (RFC 7143 11.18)."""

    OPCODE: ClassVar = Opcode.NOP_OUT
    LAYOUT: ClassVar = struct.Struct(">BB2xI8sIIII16x")
    immediate: bool = False
    flags: int = FINAL
    lun: bytes = NO_LUN
    initiator_task_tag: int
    target_transfer_tag: int = RESERVED_TAG
    cmd_sn: int
    exp_stat_sn: int = 0
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class SCSICommandPDU(PDU):
    """SCSI Command (RFC 7143 11.3); `flags` are CommandFlag with the task attribute.

    `expected_data_transfer_length` is in bytes and counts the whole command, not this PDU's
    immediate data.
    """

    OPCODE: ClassVar = Opcode.SCSI_COMMAND
    LAYOUT: ClassVar = struct.Struct(">BB2xI8sIIII16s")
    immediate: bool = False
    flags: int = FINAL
    lun: bytes = NO_LUN
    initiator_task_tag: int
    expected_data_transfer_length: int = 0
    cmd_sn: int
    exp_stat_sn: int = 0
    cdb: bytes
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskManagementRequestPDU(PDU):
    """Task Management Function Request (RFC 7143 11.5); `flags` hold the function."""

    OPCODE: ClassVar = Opcode.TASK_MANAGEMENT_REQUEST
    LAYOUT: ClassVar = struct.Struct(">BB2xI8sIIIIII8x")
    immediate: bool = True
    flags: int
    lun: bytes = NO_LUN
    initiator_task_tag: int
    referenced_task_tag: int = RESERVED_TAG
    cmd_sn: int
    exp_stat_sn: int = 0
    ref_cmd_sn: int = 0
    exp_data_sn: int = 0
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginRequestPDU(PDU):
    """Login Request (RFC 7143 11.12); `flags` hold T, C, CSG and NSG."""

    OPCODE: ClassVar = Opcode.LOGIN_REQUEST
    LAYOUT: ClassVar = struct.Struct(">BBBBI6sHIH2xII16x")
    immediate: bool = True
    flags: int
    version_max: int = 0
    version_min: int = 0
    isid: bytes
    tsih: int = 0
    initiator_task_tag: int
    cid: int = 0
    cmd_sn: int = 0
    exp_stat_sn: int = 0
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRequestPDU(PDU):
    """Text Request (RFC 7143 11.10)."""

    OPCODE: ClassVar = Opcode.TEXT_REQUEST
    LAYOUT: ClassVar = struct.Struct(">BB2xI8sIIII16x")
    immediate: bool = False
    flags: int = FINAL
    lun: bytes = NO_LUN
    initiator_task_tag: int
    target_transfer_tag: int = RESERVED_TAG
    cmd_sn: int
    exp_stat_sn: int = 0
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class SCSIDataOutPDU(PDU):
    """SCSI Data-Out (RFC 7143 11.7)."""

    OPCODE: ClassVar = Opcode.SCSI_DATA_OUT
    LAYOUT: ClassVar = struct.Struct(">BB2xI8sII4xI4xII4x")
    immediate: bool = False
    flags: int = FINAL
    lun: bytes = NO_LUN
    initiator_task_tag: int
    target_transfer_tag: int = RESERVED_TAG
    exp_stat_sn: int = 0
    data_sn: int = 0
    buffer_offset: int = 0
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogoutRequestPDU(PDU):
    """Logout Request (RFC 7143 11.14); `flags` hold the reason."""

    OPCODE: ClassVar = Opcode.LOGOUT_REQUEST
    LAYOUT: ClassVar = struct.Struct(">BB2xI8xIH2xII16x")
    immediate: bool = True
    flags: int = FINAL
    initiator_task_tag: int
    cid: int = 0
    cmd_sn: int
    exp_stat_sn: int = 0
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class SNACKRequestPDU(PDU):
    """SNACK Request (RFC 7143 11.16); `flags` hold the type."""

    OPCODE: ClassVar = Opcode.SNACK_REQUEST
    LAYOUT: ClassVar = struct.Struct(">BB2xI8sII4xI8xII")
    immediate: bool = False
    flags: int = FINAL
    lun: bytes = NO_LUN
    initiator_task_tag: int
    target_transfer_tag: int = RESERVED_TAG
    exp_stat_sn: int = 0
    beg_run: int = 0
    run_length: int = 0
    data: bytes = b""


# What the target sends.


@dataclass(frozen=True, slots=True, kw_only=True)
class NOPInPDU(PDU):
    """NOP-In (RFC 7143 11.19)."""

    OPCODE: ClassVar = Opcode.NOP_IN
    LAYOUT: ClassVar = struct.Struct(">BB2xI8sIIIII12x")
    flags: int = FINAL
    lun: bytes = NO_LUN
    initiator_task_tag: int = RESERVED_TAG
    target_transfer_tag: int = RESERVED_TAG
    stat_sn: int
    exp_cmd_sn: int
    max_cmd_sn: int
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class SCSIResponsePDU(PDU):
    """SCSI Response (RFC 7143 11.4); `data` is SenseLength (2 bytes) and the sense."""

    OPCODE: ClassVar = Opcode.SCSI_RESPONSE
    LAYOUT: ClassVar = struct.Struct(">BBBBI8xIIIIIIII")
    flags: int = FINAL
    response: int = 0
    status: int
    initiator_task_tag: int
    snack_tag: int = 0
    stat_sn: int
    exp_cmd_sn: int
    max_cmd_sn: int
    exp_data_sn: int = 0
    bidirectional_residual_count: int = 0
    residual_count: int = 0
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskManagementResponsePDU(PDU):
    """Task Management Function Response (RFC 7143 11.6)."""

    OPCODE: ClassVar = Opcode.TASK_MANAGEMENT_RESPONSE
    LAYOUT: ClassVar = struct.Struct(">BBBxI8xI4xIII12x")
    flags: int = FINAL
    response: int
    initiator_task_tag: int
    stat_sn: int
    exp_cmd_sn: int
    max_cmd_sn: int
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginResponsePDU(PDU):
    """Login Response (RFC 7143 11.13)."""

    OPCODE: ClassVar = Opcode.LOGIN_RESPONSE
    LAYOUT: ClassVar = struct.Struct(">BBBBI6sHI4xIIIBB10x")
    flags: int
    version_max: int = 0
    version_active: int = 0
    isid: bytes
    tsih: int = 0
    initiator_task_tag: int
    stat_sn: int
    exp_cmd_sn: int
    max_cmd_sn: int
    status_class: int = 0
    status_detail: int = 0
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextResponsePDU(PDU):
    """Text Response (RFC 7143 11.11)."""

    OPCODE: ClassVar = Opcode.TEXT_RESPONSE
    LAYOUT: ClassVar = struct.Struct(">BB2xI8sIIIII12x")
    flags: int = FINAL
    lun: bytes = NO_LUN
    initiator_task_tag: int
    target_transfer_tag: int = RESERVED_TAG
    stat_sn: int
    exp_cmd_sn: int
    max_cmd_sn: int
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class SCSIDataInPDU(PDU):
    """SCSI Data-In (RFC 7143 11.7); `status` and `residual_count` count only with the S bit."""

    OPCODE: ClassVar = Opcode.SCSI_DATA_IN
    LAYOUT: ClassVar = struct.Struct(">BBxBI8sIIIIIIII")
    flags: int
    status: int = 0
    lun: bytes = NO_LUN
    initiator_task_tag: int
    target_transfer_tag: int = RESERVED_TAG
    stat_sn: int = 0
    exp_cmd_sn: int
    max_cmd_sn: int
    data_sn: int = 0
    buffer_offset: int = 0
    residual_count: int = 0
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogoutResponsePDU(PDU):
    """Logout Response (RFC 7143 11.15); Time2Wait and Time2Retain are in seconds."""

    OPCODE: ClassVar = Opcode.LOGOUT_RESPONSE
    LAYOUT: ClassVar = struct.Struct(">BBBxI8xI4xIII4xHH4x")
    flags: int = FINAL
    response: int
    initiator_task_tag: int
    stat_sn: int
    exp_cmd_sn: int
    max_cmd_sn: int
    time2wait_s: int = 0
    time2retain_s: int = 0
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class R2TPDU(PDU):
    """Ready To Transfer (RFC 7143 11.8); `desired_data_transfer_length` is in bytes."""

    OPCODE: ClassVar = Opcode.R2T
    LAYOUT: ClassVar = struct.Struct(">BB2xI8sIIIIIIII")
    flags: int = FINAL
    lun: bytes = NO_LUN
    initiator_task_tag: int
    target_transfer_tag: int
    stat_sn: int
    exp_cmd_sn: int
    max_cmd_sn: int
    r2t_sn: int
    buffer_offset: int
    desired_data_transfer_length: int
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncMessagePDU(PDU):
    """Asynchronous Message (RFC 7143 11.9)."""

    OPCODE: ClassVar = Opcode.ASYNC_MESSAGE
    LAYOUT: ClassVar = struct.Struct(">BB2xI8sI4xIIIBBHHH4x")
    flags: int = FINAL
    lun: bytes = NO_LUN
    initiator_task_tag: int = RESERVED_TAG
    stat_sn: int
    exp_cmd_sn: int
    max_cmd_sn: int
    async_event: int
    async_vcode: int = 0
    parameter1: int = 0
    parameter2: int = 0
    parameter3: int = 0
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectPDU(PDU):
    """Reject (RFC 7143 11.17); `data` is the header of the PDU refused."""

    OPCODE: ClassVar = Opcode.REJECT
    LAYOUT: ClassVar = struct.Struct(">BBBxI8xI4xIIII8x")
    flags: int = FINAL
    reason: int
    initiator_task_tag: int = RESERVED_TAG
    stat_sn: int
    exp_cmd_sn: int
    max_cmd_sn: int
    data_sn: int = 0
    data: bytes = b""


PDU_CLASSES: Final[dict[int, type[PDU]]] = {
    cls.OPCODE: cls
    for cls in (
        NOPOutPDU,
        SCSICommandPDU,
        TaskManagementRequestPDU,
        LoginRequestPDU,
        TextRequestPDU,
        SCSIDataOutPDU,
        LogoutRequestPDU,
        SNACKRequestPDU,
        NOPInPDU,
        SCSIResponsePDU,
        TaskManagementResponsePDU,
        LoginResponsePDU,
        TextResponsePDU,
        SCSIDataInPDU,
        LogoutResponsePDU,
        R2TPDU,
        AsyncMessagePDU,
        RejectPDU,
    )
}


def decode_pdu(bhs: bytes | bytearray | memoryview, data: bytes = b"") -> PDU:
    """Decode any PDU from its 48-byte header and data segment (without padding and digests).

    Raises PDUFormatError.
    """
    pdu_class = PDU_CLASSES.get(bhs[0] & OPCODE_MASK) if len(bhs) == BHS_BYTES else None
    if pdu_class is None:
        raise PDUFormatError(f"no such PDU: {bytes(bhs[:4]).hex()}")
    return pdu_class.from_bhs(bhs, data)
