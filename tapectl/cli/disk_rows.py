"""A disk as a row: columns for people, and the keys of JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tapectl.cli.render import Column, Row, show_list, show_size

if TYPE_CHECKING:
    from tapectl.gateway.disk_list import DiskInfo

# fmt: off
LIST_COLUMNS = (
    Column("DiskId", "Disk"),
    Column("DiskAllocationType", "Allocation"),
    Column("DiskStatus", "Status"),
    Column("DrainStatus", "Drain"),
    Column("DiskSizeInBytes", "Size", show_size, right=True),
    Column("UsedInBytes", "Used", show_size, right=True),
    Column("DiskPath", "Path"),
    Column("DiskNode", "Device"),
)
DETAIL_COLUMNS = (
    *LIST_COLUMNS,
    Column("FailureDetail", "Refused last"),
    Column("Warnings", "Warnings", show_list),
)
# fmt: on


def disk_row(disk: DiskInfo) -> Row:
    """Return the JSON object of a disk; docs/json-output.md says what each key means."""
    return {
        "DiskId": disk.disk_id,
        "DiskPath": None if disk.path is None else str(disk.path),
        "DiskNode": disk.device_node,
        "DiskStatus": disk.status,
        "DiskAllocationType": disk.allocation,
        "DiskSizeInBytes": disk.size_bytes,
        "UsedInBytes": disk.used_bytes,
        "DrainStatus": disk.drain,
        "FailureDetail": disk.failure,
        "Warnings": list(disk.warnings),
    }
