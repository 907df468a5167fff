"""One SCSI task: a command with its data, from its header to its reply."""

from __future__ import annotations

from typing import Any, Final

from tapectl.iscsi.constants import IMMEDIATE, CommandFlag, TaskAttribute
from tapectl.iscsi.data_transfer import DataTransfer

_NO_DATA: Final = memoryview(b"")
_READ: Final = int(CommandFlag.READ)
_WRITE: Final = int(CommandFlag.WRITE)
_LUN_ZERO: Final = bytes(8)


class ScsiTask:
    """A SCSI command as the device server needs it.

    `itt` names the task among the living ones of its session. `lun_raw` are the 8 bytes of the
    header, `lun` their meaning. `cdb` is 16 bytes. `data_out` holds all the data of a write and
    belongs to the connection: it is valid until the next `received` after the task's `reply`.
    `expected_data_transfer_length` is in bytes, of the data direction that the command has.
    """

    __slots__ = (
        "buffer",
        "cdb",
        "cmd_sn",
        "data_out",
        "done",
        "expected_data_transfer_length",
        "flags",
        "immediate",
        "itt",
        "lun_raw",
        "r2t_count",
        "ready",
        "refusal",
        "room_bytes",
        "transfer",
    )

    flags: int
    lun_raw: bytes
    itt: int
    expected_data_transfer_length: int
    cmd_sn: int
    cdb: bytes

    def __init__(self, header: tuple[Any, ...]) -> None:
        """Take the items of SCSICommandPDU.LAYOUT."""
        (
            first,
            self.flags,
            _,
            self.lun_raw,
            self.itt,
            self.expected_data_transfer_length,
            self.cmd_sn,
            _,
            self.cdb,
        ) = header
        self.immediate: bool = first & IMMEDIATE != 0
        self.data_out: memoryview = _NO_DATA
        # The rest is the connection's: the pool's buffer and what it may hold of it, the transfer
        # under way, the status and sense with which to end once the data have been swallowed, and
        # the life cycle.
        self.buffer: memoryview | None = None
        self.room_bytes = 0
        self.transfer: DataTransfer | None = None
        self.refusal: tuple[int, bytes] | None = None
        self.r2t_count = 0
        self.ready = False
        self.done = False

    @property
    def is_read(self) -> bool:
        return self.flags & _READ != 0

    @property
    def is_write(self) -> bool:
        return self.flags & _WRITE != 0

    @property
    def attribute(self) -> TaskAttribute:
        """The task attribute; reserved values count as SIMPLE."""
        value = self.flags & 7
        return TaskAttribute(value) if value <= TaskAttribute.ACA else TaskAttribute.SIMPLE

    @property
    def lun(self) -> int:
        return 0 if self.lun_raw == _LUN_ZERO else decode_lun(self.lun_raw)


def decode_lun(raw: bytes) -> int:
    """Return the number of a logical unit from its 8 bytes (SAM-6 4.7).

    Peripheral device and flat space addressing give the small number that is meant. Any other
    method (extended, well-known, several levels) gives all 64 bits, which no small number equals.
    """
    method = raw[0] >> 6
    if method > 1 or any(raw[2:]):
        return int.from_bytes(raw, "big")
    return (raw[0] & 0x3F) << 8 | raw[1]
