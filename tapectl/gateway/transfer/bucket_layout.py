"""Where everything is in the bucket; specified in docs/bucket-format.md."""

from __future__ import annotations

MARKER = "tapectl.json"
FORMAT_VERSION = 1


def tape_prefix(barcode: str) -> str:
    return f"tapes/{barcode}/"


def ownership_key(barcode: str) -> str:
    return f"tapes/{barcode}/tape.json"


def segments_prefix(barcode: str) -> str:
    return f"tapes/{barcode}/segments/"


def segment_key(barcode: str, sequence: int) -> str:
    return f"tapes/{barcode}/segments/{sequence:08d}"


def archive_prefix(barcode: str) -> str:
    return f"tapes/{barcode}/archive/"


def archive_key(barcode: str, sequence: int) -> str:
    return f"tapes/{barcode}/archive/{sequence:08d}"


def manifest_key(barcode: str, number: int) -> str:
    return f"tapes/{barcode}/manifests/{number:08d}.json"


def page_key(barcode: str, number: int) -> str:
    return f"tapes/{barcode}/pages/{number:06d}.json"


def tombstone_key(barcode: str) -> str:
    return f"tombstones/{barcode}.json"
