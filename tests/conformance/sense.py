"""Sense data as the suite reads it, in both formats, and the names of what it expects."""

from __future__ import annotations

from dataclasses import dataclass

Code = tuple[int, int, int]
"""Sense key, additional sense code, qualifier."""

NO_ADDITIONAL_SENSE: Code = (0x0, 0x00, 0x00)
FILEMARK_DETECTED: Code = (0x0, 0x00, 0x01)
EARLY_WARNING: Code = (0x0, 0x00, 0x02)
BEGINNING_OF_PARTITION: Code = (0x0, 0x00, 0x04)
PROGRAMMABLE_EARLY_WARNING: Code = (0x0, 0x00, 0x07)
MEDIUM_NOT_PRESENT: Code = (0x2, 0x3A, 0x00)
PARAMETER_LIST_LENGTH_ERROR: Code = (0x5, 0x1A, 0x00)
INVALID_OPERATION_CODE: Code = (0x5, 0x20, 0x00)
INVALID_ELEMENT_ADDRESS: Code = (0x5, 0x21, 0x01)
INVALID_FIELD_IN_CDB: Code = (0x5, 0x24, 0x00)
LOGICAL_UNIT_NOT_SUPPORTED: Code = (0x5, 0x25, 0x00)
INVALID_FIELD_IN_PARAMETER_LIST: Code = (0x5, 0x26, 0x00)
INVALID_RELEASE_OF_PERSISTENT_RESERVATION: Code = (0x5, 0x26, 0x04)
SAVING_PARAMETERS_NOT_SUPPORTED: Code = (0x5, 0x39, 0x00)
DESTINATION_ELEMENT_FULL: Code = (0x5, 0x3B, 0x0D)
SOURCE_ELEMENT_EMPTY: Code = (0x5, 0x3B, 0x0E)
POSITION_PAST_BEGINNING_OF_MEDIUM: Code = (0x5, 0x3B, 0x0C)
MEDIUM_REMOVAL_PREVENTED: Code = (0x5, 0x53, 0x02)
NOT_READY_TO_READY: Code = (0x6, 0x28, 0x00)
IMPORT_OR_EXPORT_ELEMENT_ACCESSED: Code = (0x6, 0x28, 0x01)
MODE_PARAMETERS_CHANGED: Code = (0x6, 0x2A, 0x01)
LOG_PARAMETERS_CHANGED: Code = (0x6, 0x2A, 0x02)
RESERVATIONS_PREEMPTED: Code = (0x6, 0x2A, 0x03)
RESERVATIONS_RELEASED: Code = (0x6, 0x2A, 0x04)
REGISTRATIONS_PREEMPTED: Code = (0x6, 0x2A, 0x05)
TIMESTAMP_CHANGED: Code = (0x6, 0x2A, 0x10)
WRITE_PROTECTED: Code = (0x7, 0x27, 0x00)
WORM_OVERWRITE_ATTEMPTED: Code = (0x7, 0x30, 0x0C)
END_OF_DATA: Code = (0x8, 0x00, 0x05)
VOLUME_OVERFLOW: Code = (0xD, 0x00, 0x02)
MISCOMPARE_DURING_VERIFY: Code = (0xE, 0x1D, 0x00)

NO_SENSE, UNIT_ATTENTION, BLANK_CHECK = 0x0, 0x6, 0x8


@dataclass(frozen=True, slots=True)
class FieldPointer:
    """Sense key specific bytes of ILLEGAL REQUEST (SPC-5 4.4.2.4.2); `bit` None without BPV."""

    in_cdb: bool
    byte: int
    bit: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SenseData:
    """What CHECK CONDITION brought: the sense, and the data and residual of the same response.

    `information` is signed, None without VALID. `residual` is the transport's: bytes that were
    not transferred, negative where there were more than the initiator had room for.
    """

    response_code: int
    key: int
    asc: int
    ascq: int
    filemark: bool
    end_of_medium: bool
    incorrect_length: bool
    information: int | None
    field_pointer: FieldPointer | None
    data: bytes = b""
    residual: int = 0

    @property
    def code(self) -> Code:
        return self.key, self.asc, self.ascq

    @classmethod
    def decode(cls, sense: bytes, data: bytes = b"", residual: int = 0) -> SenseData:
        """Decode fixed (70h, 71h) or descriptor (72h, 73h) format; AssertionError for neither."""
        assert len(sense) >= 8, f"sense data are cut short: {sense.hex()}"
        response_code = sense[0] & 0x7F
        if response_code in (0x70, 0x71):
            return _fixed(sense, data, residual)
        assert response_code in (0x72, 0x73), f"no sense data: {sense.hex()}"
        return _descriptors(sense, data, residual)


def _fixed(sense: bytes, data: bytes, residual: int) -> SenseData:
    padded = sense.ljust(18, b"\0")
    information = int.from_bytes(padded[3:7], "big", signed=True) if sense[0] & 0x80 else None
    return SenseData(
        response_code=sense[0] & 0x7F,
        key=padded[2] & 0x0F,
        asc=padded[12],
        ascq=padded[13],
        filemark=bool(padded[2] & 0x80),
        end_of_medium=bool(padded[2] & 0x40),
        incorrect_length=bool(padded[2] & 0x20),
        information=information,
        field_pointer=_field_pointer(padded[15:18]),
        data=data,
        residual=residual,
    )


def _descriptors(sense: bytes, data: bytes, residual: int) -> SenseData:
    stream = 0
    information = pointer = None
    at, end = 8, 8 + sense[7]
    while at + 1 < min(end, len(sense)):
        kind, body = sense[at], sense[at + 2 : at + 2 + sense[at + 1]]
        if kind == 0x00 and body[0] & 0x80:
            information = int.from_bytes(body[2:10], "big", signed=True)
        elif kind == 0x02:
            pointer = _field_pointer(body[2:5])
        elif kind == 0x04:
            stream = body[1]
        at += 2 + sense[at + 1]
    return SenseData(
        response_code=sense[0] & 0x7F,
        key=sense[1] & 0x0F,
        asc=sense[2],
        ascq=sense[3],
        filemark=bool(stream & 0x80),
        end_of_medium=bool(stream & 0x40),
        incorrect_length=bool(stream & 0x20),
        information=information,
        field_pointer=pointer,
        data=data,
        residual=residual,
    )


def _field_pointer(specific: bytes) -> FieldPointer | None:
    if not specific[0] & 0x80:
        return None
    bit = specific[0] & 0x07 if specific[0] & 0x08 else None
    return FieldPointer(bool(specific[0] & 0x40), int.from_bytes(specific[1:3], "big"), bit)
