"""Where everything is in the bucket; specified in docs/bucket-format.md.

What a gateway puts below a tape without a condition has the epoch of its ownership in the key. So a
gateway that lost a tape while it was in the middle of something can only write where nobody looks.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tapectl.medium.manifest import ArchiveObject

MARKER = "tapectl.json"
FORMAT_VERSION = 1
_SEGMENT_KEY = re.compile(r"tapes/([^/]+)/segments/(\d{6})-(\d{8})-\d+")


TAPES_PREFIX = "tapes/"


def tape_prefix(barcode: str) -> str:
    return f"tapes/{barcode}/"


OWNERS_PREFIX = "owners/"


def ownership_key(barcode: str) -> str:
    """Beside the tapes and not below them, so that listing the tapes lists none of their data."""
    return f"{OWNERS_PREFIX}{barcode}.json"


def segments_prefix(barcode: str) -> str:
    return f"tapes/{barcode}/segments/"


def segment_key(barcode: str, epoch: int, sequence: int, object_bytes: int) -> str:
    """The size is in the key because a segment that is put again after a crash may have been
    compressed otherwise, when others already read the object that was put before."""
    return f"tapes/{barcode}/segments/{epoch:06d}-{sequence:08d}-{object_bytes}"


class SegmentPlace(NamedTuple):
    """What the key of a segment that is not archived says."""

    barcode: str
    epoch: int
    sequence: int


def segment_of(key: str) -> SegmentPlace | None:
    """Return what a key says, None if it is not that of a segment that is not archived."""
    found = _SEGMENT_KEY.fullmatch(key)
    return found and SegmentPlace(found[1], int(found[2]), int(found[3]))


def epoch_of(key: str) -> int:
    """Return the epoch in the key of a segment, an archived one or a page."""
    return int(key.rpartition("/")[2].partition("-")[0])


def sequence_of(key: str) -> int:
    """Return the sequence number in the key of a segment, the first one in that of a composed
    object."""
    return int(key.rpartition("/")[2].split("-")[1])


def archived_sequences_of(key: str) -> tuple[int, int]:
    """Return the first and the last sequence number of what an object below `archive/` holds."""
    parts = key.rpartition("/")[2].split("-")
    return int(parts[1]), int(parts[-2])


def archive_prefix(barcode: str) -> str:
    return f"tapes/{barcode}/archive/"


def archive_key(barcode: str, composed: ArchiveObject) -> str:
    """The segments are in the key because the same ones may be composed otherwise after a crash."""
    sequences = f"{composed.first_sequence:08d}-{composed.last_sequence:08d}"
    return f"tapes/{barcode}/archive/{composed.epoch:06d}-{sequences}-{composed.size_bytes}"


def archived_copy_key(barcode: str, epoch: int, sequence: int, object_bytes: int) -> str:
    """Of a segment that was archived when each was an object of its own there too."""
    return f"tapes/{barcode}/archive/{epoch:06d}-{sequence:08d}-{object_bytes}"


def manifests_prefix(barcode: str) -> str:
    return f"tapes/{barcode}/manifests/"


def manifest_key(barcode: str, number: int) -> str:
    return f"tapes/{barcode}/manifests/{number:08d}.json"


def pages_prefix(barcode: str) -> str:
    return f"tapes/{barcode}/pages/"


def page_key(barcode: str, epoch: int, number: int) -> str:
    return f"tapes/{barcode}/pages/{epoch:06d}-{number:06d}.json"


TOMBSTONES_PREFIX = "tombstones/"


def tombstone_key(barcode: str) -> str:
    return f"{TOMBSTONES_PREFIX}{barcode}.json"


POOLS_PREFIX = "pools/"


def pool_key(pool_id: str) -> str:
    return f"{POOLS_PREFIX}{pool_id}.json"


GATEWAYS_PREFIX = "gateways/"


def gateway_key(gateway_id: str) -> str:
    return f"{GATEWAYS_PREFIX}{gateway_id}.json"


def inventory_key(gateway_id: str) -> str:
    return f"inventories/{gateway_id}.json"
