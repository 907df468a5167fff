"""Sense data: why a command did not simply succeed (SPC-5 4.4)."""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

FIXED_BYTES = 18
_FIXED = struct.Struct(">BBBIBIBBB3s")
_DESCRIPTOR_HEADER = struct.Struct(">BBBB3xB")
_INFORMATION_DESCRIPTOR = struct.Struct(">BBBxQ")


class SenseKey(enum.IntEnum):
    """SPC-5 table 28."""

    NO_SENSE = 0x0
    RECOVERED_ERROR = 0x1
    NOT_READY = 0x2
    MEDIUM_ERROR = 0x3
    HARDWARE_ERROR = 0x4
    ILLEGAL_REQUEST = 0x5
    UNIT_ATTENTION = 0x6
    DATA_PROTECT = 0x7
    BLANK_CHECK = 0x8
    ABORTED_COMMAND = 0xB
    VOLUME_OVERFLOW = 0xD
    MISCOMPARE = 0xE


class ASC(enum.Enum):
    """Additional sense code and its qualifier, by T10's print names."""

    NO_ADDITIONAL_SENSE_INFORMATION = (0x00, 0x00)
    FILEMARK_DETECTED = (0x00, 0x01)
    END_OF_PARTITION_MEDIUM_DETECTED = (0x00, 0x02)
    BEGINNING_OF_PARTITION_MEDIUM_DETECTED = (0x00, 0x04)
    END_OF_DATA_DETECTED = (0x00, 0x05)
    PROGRAMMABLE_EARLY_WARNING_DETECTED = (0x00, 0x07)
    LOGICAL_UNIT_COMMUNICATION_FAILURE = (0x08, 0x00)
    WRITE_ERROR = (0x0C, 0x00)
    AUXILIARY_MEMORY_WRITE_ERROR = (0x0C, 0x0B)
    LOGICAL_BLOCK_GUARD_CHECK_FAILED = (0x10, 0x01)
    UNRECOVERED_READ_ERROR = (0x11, 0x00)
    PARAMETER_LIST_LENGTH_ERROR = (0x1A, 0x00)
    MISCOMPARE_DURING_VERIFY_OPERATION = (0x1D, 0x00)
    INVALID_COMMAND_OPERATION_CODE = (0x20, 0x00)
    INVALID_ELEMENT_ADDRESS = (0x21, 0x01)
    INVALID_FIELD_IN_CDB = (0x24, 0x00)
    LOGICAL_UNIT_NOT_SUPPORTED = (0x25, 0x00)
    INVALID_FIELD_IN_PARAMETER_LIST = (0x26, 0x00)
    PARAMETER_VALUE_INVALID = (0x26, 0x02)
    INVALID_RELEASE_OF_PERSISTENT_RESERVATION = (0x26, 0x04)
    WRITE_PROTECTED = (0x27, 0x00)
    NOT_READY_TO_READY_CHANGE = (0x28, 0x00)
    IMPORT_OR_EXPORT_ELEMENT_ACCESSED = (0x28, 0x01)
    POWER_ON_OCCURRED = (0x29, 0x00)
    BUS_DEVICE_RESET_OCCURRED = (0x29, 0x03)
    I_T_NEXUS_LOSS_OCCURRED = (0x29, 0x07)
    MODE_PARAMETERS_CHANGED = (0x2A, 0x01)
    LOG_PARAMETERS_CHANGED = (0x2A, 0x02)
    RESERVATIONS_PREEMPTED = (0x2A, 0x03)
    RESERVATIONS_RELEASED = (0x2A, 0x04)
    REGISTRATIONS_PREEMPTED = (0x2A, 0x05)
    TIMESTAMP_CHANGED = (0x2A, 0x10)
    DATA_ENCRYPTION_PARAMETERS_CHANGED_BY_ANOTHER_I_T_NEXUS = (0x2A, 0x11)
    DATA_ENCRYPTION_PARAMETERS_CHANGED_BY_VENDOR_SPECIFIC_EVENT = (0x2A, 0x12)
    DATA_ENCRYPTION_KEY_INSTANCE_COUNTER_HAS_CHANGED = (0x2A, 0x13)
    COMMAND_SEQUENCE_ERROR = (0x2C, 0x00)
    COMMANDS_CLEARED_BY_ANOTHER_INITIATOR = (0x2F, 0x00)
    CANNOT_READ_MEDIUM_UNKNOWN_FORMAT = (0x30, 0x01)
    CANNOT_READ_MEDIUM_INCOMPATIBLE_FORMAT = (0x30, 0x02)
    CLEANING_CARTRIDGE_INSTALLED = (0x30, 0x03)
    CANNOT_WRITE_MEDIUM_INCOMPATIBLE_FORMAT = (0x30, 0x05)
    CLEANING_FAILURE = (0x30, 0x07)
    WORM_MEDIUM_OVERWRITE_ATTEMPTED = (0x30, 0x0C)
    FORMAT_COMMAND_FAILED = (0x31, 0x01)
    SAVING_PARAMETERS_NOT_SUPPORTED = (0x39, 0x00)
    MEDIUM_NOT_PRESENT = (0x3A, 0x00)
    MEDIUM_NOT_PRESENT_MEDIUM_AUXILIARY_MEMORY_ACCESSIBLE = (0x3A, 0x04)
    SEQUENTIAL_POSITIONING_ERROR = (0x3B, 0x00)
    POSITION_PAST_BEGINNING_OF_MEDIUM = (0x3B, 0x0C)
    MEDIUM_DESTINATION_ELEMENT_FULL = (0x3B, 0x0D)
    MEDIUM_SOURCE_ELEMENT_EMPTY = (0x3B, 0x0E)
    MEDIUM_MAGAZINE_NOT_ACCESSIBLE = (0x3B, 0x11)
    DEVICE_IDENTIFIER_CHANGED = (0x3F, 0x05)
    REPORTED_LUNS_DATA_HAS_CHANGED = (0x3F, 0x0E)
    INTERNAL_TARGET_FAILURE = (0x44, 0x00)
    MEDIA_LOAD_OR_EJECT_FAILED = (0x53, 0x00)
    MEDIUM_REMOVAL_PREVENTED = (0x53, 0x02)
    INSUFFICIENT_REGISTRATION_RESOURCES = (0x55, 0x04)
    AUXILIARY_MEMORY_OUT_OF_SPACE = (0x55, 0x06)
    FAILURE_PREDICTION_THRESHOLD_EXCEEDED = (0x5D, 0x00)
    FAILURE_PREDICTION_THRESHOLD_EXCEEDED_FALSE = (0x5D, 0xFF)
    UNABLE_TO_DECRYPT_DATA = (0x74, 0x01)
    UNENCRYPTED_DATA_ENCOUNTERED_WHILE_DECRYPTING = (0x74, 0x02)
    INCORRECT_DATA_ENCRYPTION_KEY = (0x74, 0x03)
    CRYPTOGRAPHIC_INTEGRITY_VALIDATION_FAILED = (0x74, 0x04)
    ENCRYPTION_MODE_MISMATCH_ON_READ = (0x74, 0x09)
    ENCRYPTED_BLOCK_NOT_RAW_READ_ENABLED = (0x74, 0x0A)
    INCORRECT_ENCRYPTION_PARAMETERS = (0x74, 0x0B)


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldPointer:
    """Which field of the CDB or of the parameter list was wrong (SPC-5 4.4.2.4.2)."""

    byte: int
    bit: int | None = None
    in_cdb: bool = True

    def encode(self) -> bytes:
        """Return the three sense-key specific bytes, SKSV set."""
        flags = 0x80 | (0x40 if self.in_cdb else 0)
        if self.bit is not None:
            flags |= 0x08 | self.bit
        return bytes((flags,)) + self.byte.to_bytes(2, "big")


@dataclass(frozen=True, slots=True)
class Sense:
    """One sense, encoded in either format.

    `information` is what the INFORMATION field says, negative for an
    over-length block; None leaves VALID clear.
    """

    key: SenseKey
    code: ASC
    information: int | None = None
    filemark: bool = False
    end_of_medium: bool = False
    incorrect_length: bool = False
    field: FieldPointer | None = None

    @property
    def _flags(self) -> int:
        return self.filemark << 7 | self.end_of_medium << 6 | self.incorrect_length << 5

    def encode_fixed(self) -> bytes:
        """Return the 18 bytes of fixed format, current (SPC-5 4.4.3).

        "The VALID bit set to zero indicates that the INFORMATION field is not
        defined": so where the value does not fit into 32 bits.
        """
        value = self.information
        valid = value is not None and -(1 << 31) <= value < 1 << 32
        information = value & 0xFFFFFFFF if valid and value is not None else 0
        specific = self.field.encode() if self.field else b"\0\0\0"
        asc, ascq = self.code.value
        return _FIXED.pack(
            0x80 | 0x70 if valid else 0x70,
            0,
            self._flags | self.key,
            information,
            FIXED_BYTES - 8,
            0,
            asc,
            ascq,
            0,
            specific,
        )

    def encode_descriptor(self) -> bytes:
        """Return descriptor format, current, with the descriptors that have something to say."""
        descriptors = b""
        if self.information is not None:
            value = self.information & 0xFFFFFFFFFFFFFFFF
            descriptors += _INFORMATION_DESCRIPTOR.pack(0x00, 0x0A, 0x80, value)
        if self.field:
            descriptors += b"\x02\x06\0\0" + self.field.encode() + b"\0"
        if self._flags:
            descriptors += bytes((0x04, 0x02, 0, self._flags))  # stream commands
        asc, ascq = self.code.value
        return _DESCRIPTOR_HEADER.pack(0x72, self.key, asc, ascq, len(descriptors)) + descriptors


NO_SENSE = Sense(SenseKey.NO_SENSE, ASC.NO_ADDITIONAL_SENSE_INFORMATION)


class CheckCondition(Exception):  # noqa: N818 -- SAM's own word for this outcome
    """Ends a command with CHECK CONDITION; raised only within `tapectl.scsi`, caught once."""

    def __init__(self, sense: Sense) -> None:
        super().__init__(f"{sense.key.name}: {sense.code.name}")
        self.sense = sense


def invalid_field_in_cdb(byte: int, bit: int | None = None) -> CheckCondition:
    """Return ILLEGAL REQUEST, INVALID FIELD IN CDB that points at a byte of the CDB."""
    pointer = FieldPointer(byte=byte, bit=bit)
    return CheckCondition(Sense(SenseKey.ILLEGAL_REQUEST, ASC.INVALID_FIELD_IN_CDB, field=pointer))


def invalid_field_in_parameter_list(byte: int, bit: int | None = None) -> CheckCondition:
    """Return ILLEGAL REQUEST, INVALID FIELD IN PARAMETER LIST that points at a byte of the list."""
    pointer = FieldPointer(byte=byte, bit=bit, in_cdb=False)
    return CheckCondition(
        Sense(SenseKey.ILLEGAL_REQUEST, ASC.INVALID_FIELD_IN_PARAMETER_LIST, field=pointer)
    )


def illegal_request(code: ASC) -> CheckCondition:
    """Return ILLEGAL REQUEST with `code`."""
    return CheckCondition(Sense(SenseKey.ILLEGAL_REQUEST, code))
