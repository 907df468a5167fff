"""The device's clock, as REPORT and SET TIMESTAMP see it (SPC-5 5.3, 6.38, 6.46)."""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from tapectl.scsi.command_table import GOOD, Task, reply_truncated
from tapectl.scsi.logical_unit import Reply
from tapectl.scsi.sense import ASC, illegal_request

if TYPE_CHECKING:
    from tapectl.scsi.device_server import Device

_SET_BYTES = 12
_48_BITS = (1 << 48) - 1


class TimestampOrigin(enum.IntEnum):
    """Where the clock has its time from (SPC-5 table 52)."""

    SET_TIMESTAMP = 0b010
    OTHER = 0b011


class Timestamp:
    """Milliseconds since 1970: `now_ms`, and what SET TIMESTAMP has moved it by since power on."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._offset_ms = 0
        self.origin = TimestampOrigin.OTHER

    def set(self, time_ms: int) -> None:
        self._offset_ms = time_ms - self._now_ms()
        self.origin = TimestampOrigin.SET_TIMESTAMP

    def now_ms(self) -> int:
        return (self._now_ms() + self._offset_ms) & _48_BITS


def report_timestamp(device: Device, task: Task) -> Reply:
    """REPORT TIMESTAMP."""
    timestamp = device.server.timestamp
    time = timestamp.now_ms().to_bytes(6, "big")
    data = struct.pack(">HBx6s2x", 0x0A, timestamp.origin, time)
    return reply_truncated(data, int.from_bytes(task.cdb[6:10], "big"))


def set_timestamp(device: Device, task: Task) -> Reply:
    """SET TIMESTAMP: whoever sets it last is right (SCSIP); it is forgotten at power off."""
    length = int.from_bytes(task.cdb[6:10], "big")
    if length == 0:
        return GOOD
    if length != _SET_BYTES or len(task.data_out) < length:
        raise illegal_request(ASC.PARAMETER_LIST_LENGTH_ERROR)
    device.server.timestamp.set(int.from_bytes(task.data_out[4:10], "big"))
    device.server.attentions.establish_all(ASC.TIMESTAMP_CHANGED, but=task.nexus)
    return GOOD
