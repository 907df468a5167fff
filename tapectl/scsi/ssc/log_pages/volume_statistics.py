"""Volume Statistics, 17h (SSC-5 8.2.12), and the older Tape Usage, 30h, which has part of it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from tapectl.scsi.log_pages import LogPage, LogParameter, ascii_text, binary, counter
from tapectl.scsi.ssc.log_pages.parameters import MEGABYTE, Row, counters

if TYPE_CHECKING:
    from tapectl.scsi.cartridge import Cartridge
    from tapectl.scsi.ssc.drive import TapeDrive
    from tapectl.scsi.ssc.volume_history import VolumeHistory

_PAGE_VALID = 0x0000
_PARTITION_RECORD = struct.Struct(">BxHI")
_UNKNOWN = 0xFFFFFFFF
# User data in a data set of the media of a generation, as their tapes have them.
_DATA_SET_BYTES = MappingProxyType(
    {
        1: 403_884,
        2: 403_884,
        3: 1_616_940,
        4: 1_616_940,
        5: 2_472_960,
        6: 2_472_960,
        7: 5_031_936,
        8: 5_031_936,
        9: 9_805_824,
        10: 9_805_824,
    }
)


@dataclass(frozen=True, slots=True)
class _Volume:
    """A mounted volume as the tables see it."""

    medium: Cartridge
    history: VolumeHistory
    mounted_ms: int

    def data_sets(self, user_bytes: int) -> int:
        """Return how many data sets bytes fill; the volume itself is not made of any."""
        return -(-user_bytes // _DATA_SET_BYTES[self.medium.generation])

    @property
    def capacity_bytes(self) -> int:
        return sum(partition.capacity_bytes for partition in self.medium.partitions)

    @property
    def used_bytes(self) -> int:
        return sum(partition.used_bytes for partition in self.medium.partitions)


# No write is tried twice or suspended: an error is told at once, or there is none.
_USAGE: tuple[Row[_Volume], ...] = (
    (0x0001, 4, lambda volume: volume.history.loads),
    (0x0002, 8, lambda volume: volume.data_sets(volume.history.moved.written_bytes)),
    (0x0003, 4, lambda _: 0),  # write retries
    (0x0004, 2, lambda volume: volume.history.moved.write_errors),
    (0x0005, 2, lambda _: 0),  # suspended writes
    (0x0006, 2, lambda _: 0),  # fatal suspended writes
    (0x0007, 8, lambda volume: volume.data_sets(volume.history.moved.read_bytes)),
    (0x0008, 4, lambda volume: volume.history.moved.recovered_reads),  # read retries
    (0x0009, 2, lambda volume: volume.history.moved.read_errors),
    (0x000A, 2, lambda _: 0),  # suspended reads
    (0x000B, 2, lambda _: 0),  # fatal suspended reads
)
_STATISTICS: tuple[Row[_Volume], ...] = (
    *_USAGE,
    # Of the last mount, which is this one.
    (0x000C, 2, lambda volume: volume.history.last.write_errors),
    (0x000D, 2, lambda volume: volume.history.last.read_errors),
    (0x000E, 4, lambda volume: volume.history.last.written_bytes // MEGABYTE),
    (0x000F, 4, lambda volume: volume.history.last.read_bytes // MEGABYTE),
    # In its life.
    (0x0010, 8, lambda volume: volume.history.moved.written_bytes // MEGABYTE),
    (0x0011, 8, lambda volume: volume.history.moved.read_bytes // MEGABYTE),
    # Compression ratios in hundredths: blocks are kept as they come.
    (0x0012, 2, lambda volume: 100 if volume.history.last.written_bytes else 0),
    (0x0013, 2, lambda volume: 100 if volume.history.last.read_bytes else 0),
    # Milliseconds since it was mounted and since it was ready, which is the same moment.
    (0x0014, 6, lambda volume: volume.mounted_ms),
    (0x0015, 6, lambda volume: volume.mounted_ms),
    (0x0016, 4, lambda volume: volume.capacity_bytes // MEGABYTE),
    (0x0017, 4, lambda volume: volume.used_bytes // MEGABYTE),
)
# Every load passes the beginning of the medium; nothing ever passes its middle.
_STATE: tuple[Row[_Volume], ...] = (
    (0x0080, 1, lambda volume: int(volume.medium.write_protected)),
    (0x0081, 1, lambda volume: int(volume.medium.worm)),
    (0x0082, 1, lambda _: 0),  # the path was never too hot
    (0x0101, 4, lambda volume: volume.history.loads),
    (0x0102, 4, lambda _: 0),
)


def volume_statistics(drive: TapeDrive) -> LogPage:
    """Of the mounted volume; without one the page is not valid, and says nothing else."""
    volume = _mounted(drive)
    if volume is None:
        return LogPage(0x17, [counter(_PAGE_VALID, 0, 1)])
    barcode, personality = volume.medium.barcode, f"Ultrium-{volume.medium.generation}"
    parameters = [
        counter(_PAGE_VALID, 1, 1),
        *counters(_STATISTICS, volume),
        ascii_text(0x0040, barcode, 32),
        ascii_text(0x0042, barcode, 32),
        ascii_text(0x0043, drive.server.identity.vendor, 8),
        ascii_text(0x0045, personality, len(personality)),
        *counters(_STATE, volume),
        *_partition_records(volume.medium),
    ]
    return LogPage(0x17, parameters)


def tape_usage(drive: TapeDrive) -> LogPage:
    """30h: nothing without a volume."""
    volume = _mounted(drive)
    return LogPage(0x30, counters(_USAGE, volume) if volume is not None else ())


def _mounted(drive: TapeDrive) -> _Volume | None:
    if drive.medium is None:
        return None
    statistics = drive.statistics
    return _Volume(drive.medium, statistics.volume(), statistics.mounted_ms())


def _partition_records(medium: Cartridge) -> list[LogParameter]:
    """Native capacity, used native capacity and what remains, in megabytes, of each partition."""
    parts = medium.partitions
    megabytes = {
        0x0202: [part.capacity_bytes // MEGABYTE for part in parts],
        0x0203: [part.used_bytes // MEGABYTE for part in parts],
        0x0204: [max(part.capacity_bytes - part.used_bytes, 0) // MEGABYTE for part in parts],
    }
    return [
        binary(code, b"".join(_record(number, value) for number, value in enumerate(values)))
        for code, values in megabytes.items()
    ]


def _record(partition: int, value: int) -> bytes:
    """A partition record descriptor; its length does not count itself."""
    return _PARTITION_RECORD.pack(_PARTITION_RECORD.size - 1, partition, min(value, _UNKNOWN - 1))
