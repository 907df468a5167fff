"""Tape Capacity: 31h, of LTO drives; what remains and what there is, in mebibytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tapectl.scsi.cartridge import PartitionUse
from tapectl.scsi.log_pages import LogPage, LogParameter, binary
from tapectl.scsi.ssc.log_pages.parameters import MEBIBYTE

if TYPE_CHECKING:
    from tapectl.scsi.ssc.drive import TapeDrive

_NONE = PartitionUse(0, 0)
# By partition: code of what remains, code of the maximum. Two are always told.
_CODES = ((0x0001, 0x0003), (0x0002, 0x0004), (0x0005, 0x0007), (0x0006, 0x0008))
_ALWAYS = 2


def tape_capacity(drive: TapeDrive) -> LogPage:
    partitions = list(drive.medium.partitions) if drive.medium is not None else []
    partitions += [_NONE] * (_ALWAYS - len(partitions))
    parameters: list[LogParameter] = []
    for (remaining, maximum), partition in zip(_CODES, partitions, strict=False):
        left_bytes = max(partition.capacity_bytes - partition.used_bytes, 0)
        parameters.append(_size(remaining, left_bytes))
        parameters.append(_size(maximum, partition.capacity_bytes))
    return LogPage(0x31, sorted(parameters, key=lambda parameter: parameter.code))


def _size(code: int, size_bytes: int) -> LogParameter:
    """No counter: tapeinfo asks for thresholds (PC of 0), and is to be told the sizes."""
    return binary(code, min(size_bytes // MEBIBYTE, 0xFFFFFFFF).to_bytes(4, "big"))
