"""The numbers of RFC 7143 that stand in headers: opcodes, flags, stages, statuses, reasons."""

from __future__ import annotations

import enum
from typing import Final

BHS_BYTES: Final = 48
DIGEST_BYTES: Final = 4
# "The length of the AHS is counted in four-byte words" in one byte (RFC 7143 11.2.1.5).
AHS_BYTES_MAX: Final = 255 * 4
# No task or no transfer is meant (RFC 7143 11.2.1.8, 11.7.4).
RESERVED_TAG: Final = 0xFFFFFFFF
# The one version of the protocol there is (RFC 7143 11.12.4): RFC 7143 says 0x00.
PROTOCOL_VERSION: Final = 0x00
# "The length of an iSCSI name ... MUST NOT exceed 223 bytes" (RFC 7143 4.2.7.1).
NAME_BYTES_MAX: Final = 223
SERIAL_MASK: Final[int] = 0xFFFFFFFF

IMMEDIATE: Final = 0x40  # byte 0
FINAL: Final = 0x80  # byte 1 of every PDU
CONTINUE: Final = 0x40  # byte 1 of login and text PDUs
TRANSIT: Final = 0x80  # byte 1 of login PDUs
OPCODE_MASK: Final = 0x3F  # byte 0


class Opcode(enum.IntEnum):
    """RFC 7143 11.2.1.2; the initiator's are below 0x20."""

    NOP_OUT = 0x00
    SCSI_COMMAND = 0x01
    TASK_MANAGEMENT_REQUEST = 0x02
    LOGIN_REQUEST = 0x03
    TEXT_REQUEST = 0x04
    SCSI_DATA_OUT = 0x05
    LOGOUT_REQUEST = 0x06
    SNACK_REQUEST = 0x10
    NOP_IN = 0x20
    SCSI_RESPONSE = 0x21
    TASK_MANAGEMENT_RESPONSE = 0x22
    LOGIN_RESPONSE = 0x23
    TEXT_RESPONSE = 0x24
    SCSI_DATA_IN = 0x25
    LOGOUT_RESPONSE = 0x26
    R2T = 0x31
    ASYNC_MESSAGE = 0x32
    REJECT = 0x3F


class CommandFlag(enum.IntFlag):
    """Byte 1 of a SCSI Command (RFC 7143 11.3.1); the low three bits are the task attribute."""

    FINAL = 0x80
    READ = 0x40
    WRITE = 0x20


class TaskAttribute(enum.IntEnum):
    """RFC 7143 11.3.1."""

    UNTAGGED = 0
    SIMPLE = 1
    ORDERED = 2
    HEAD_OF_QUEUE = 3
    ACA = 4


class ResponseFlag(enum.IntFlag):
    """Byte 1 of a SCSI Response and of a Data-In with status (RFC 7143 11.4.1, 11.7.3)."""

    FINAL = 0x80
    OVERFLOW = 0x04
    UNDERFLOW = 0x02
    STATUS = 0x01  # Data-In only


class Stage(enum.IntEnum):
    """Login stages, CSG and NSG (RFC 7143 11.12.3)."""

    SECURITY_NEGOTIATION = 0
    LOGIN_OPERATIONAL_NEGOTIATION = 1
    FULL_FEATURE_PHASE = 3


class LoginStatus(enum.IntEnum):
    """Status-Class and Status-Detail of a Login Response as one number (RFC 7143 11.13.5)."""

    SUCCESS = 0x0000
    INITIATOR_ERROR = 0x0200
    AUTHENTICATION_FAILURE = 0x0201
    AUTHORIZATION_FAILURE = 0x0202
    NOT_FOUND = 0x0203
    TARGET_REMOVED = 0x0204
    UNSUPPORTED_VERSION = 0x0205
    TOO_MANY_CONNECTIONS = 0x0206
    MISSING_PARAMETER = 0x0207
    CANNOT_INCLUDE_IN_SESSION = 0x0208
    SESSION_TYPE_NOT_SUPPORTED = 0x0209
    SESSION_DOES_NOT_EXIST = 0x020A
    INVALID_DURING_LOGIN = 0x020B
    TARGET_ERROR = 0x0300
    SERVICE_UNAVAILABLE = 0x0301
    OUT_OF_RESOURCES = 0x0302


class RejectReason(enum.IntEnum):
    """RFC 7143 11.17.1."""

    DATA_DIGEST_ERROR = 0x02
    SNACK_REJECT = 0x03
    PROTOCOL_ERROR = 0x04
    COMMAND_NOT_SUPPORTED = 0x05
    TOO_MANY_IMMEDIATE_COMMANDS = 0x06
    TASK_IN_PROGRESS = 0x07
    INVALID_DATA_ACK = 0x08
    INVALID_PDU_FIELD = 0x09
    OUT_OF_RESOURCES = 0x0A
    NEGOTIATION_RESET = 0x0B
    WAITING_FOR_LOGOUT = 0x0C


class TaskManagementFunction(enum.IntEnum):
    """RFC 7143 11.5.1."""

    ABORT_TASK = 1
    ABORT_TASK_SET = 2
    CLEAR_ACA = 3
    CLEAR_TASK_SET = 4
    LOGICAL_UNIT_RESET = 5
    TARGET_WARM_RESET = 6
    TARGET_COLD_RESET = 7
    TASK_REASSIGN = 8


class TaskManagementResponse(enum.IntEnum):
    """RFC 7143 11.6.1."""

    FUNCTION_COMPLETE = 0
    TASK_DOES_NOT_EXIST = 1
    LUN_DOES_NOT_EXIST = 2
    TASK_STILL_ALLEGIANT = 3
    REASSIGNMENT_NOT_SUPPORTED = 4
    NOT_SUPPORTED = 5
    AUTHORIZATION_FAILED = 6
    FUNCTION_REJECTED = 255


class LogoutReason(enum.IntEnum):
    """RFC 7143 11.14.1."""

    CLOSE_SESSION = 0
    CLOSE_CONNECTION = 1
    REMOVE_FOR_RECOVERY = 2


class LogoutResponse(enum.IntEnum):
    """RFC 7143 11.15.1."""

    CLOSED = 0
    CID_NOT_FOUND = 1
    RECOVERY_NOT_SUPPORTED = 2
    CLEANUP_FAILED = 3


class AsyncEvent(enum.IntEnum):
    """RFC 7143 11.9.1."""

    SCSI = 0
    LOGOUT_REQUESTED = 1
    CONNECTION_WILL_BE_DROPPED = 2
    SESSION_WILL_BE_DROPPED = 3
    NEGOTIATION_REQUESTED = 4
    VENDOR_SPECIFIC = 255
