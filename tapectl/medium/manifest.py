"""The manifest of a tape: a recovery point, as JSON. Pure bytes.

It names every segment the tape had when it was written, oldest first. The log only grows, so its
full pages of 512 rows never change: they are objects of their own, and a manifest
holds the rest and says how many pages stand before it. Specified in docs/bucket-format.md.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tapectl.medium.checksum import crc32c
from tapectl.medium.errors import MediumFormatError, UnknownFormatError
from tapectl.medium.summary import SegmentSummary, Totals
from tapectl.medium.volume import VolumeRecord

# Format 1 had no volume record, format 2 no composed objects, format 3 no encrypted data, format 4
# all data of its log. A manifest says the lowest format that its reader has to know.
_EXPIRED_FORMAT, _SEALED_FORMAT, _COMPOSED_FORMAT, _PLAIN_FORMAT = 5, 4, 3, 2
_KNOWN_FORMATS = (1, 2, 3, 4, 5)
PAGE_ROWS = 512
# What manifests of before did not say yet.
_MAY_LACK = frozenset(
    {
        "generation",
        "cleaning",
        "tags",
        "pool_entered_ms",
        "retention_start_ms",
        "retention_mode",
        "retained_until_ms",
        "encryption",
        "kms_key",
        "data_key",
        "oldest_point",
    }
)


# Members of format 3 and 5.
_WHERE_NEEDED = frozenset({"archive_objects", "expired", "oldest_point"})


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One segment of the log, the size of its object in the store, and the epoch of the ownership
    in which it was put there."""

    summary: SegmentSummary
    object_bytes: int
    epoch: int


@dataclass(frozen=True, slots=True)
class ArchiveObject:
    """An object below `archive/` that holds the objects of all segments from the first to the last
    one after the other, and the epoch of the ownership in which it was put there."""

    first_sequence: int
    last_sequence: int
    size_bytes: int
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestHead:
    """What a recovery point says of the tape as a whole; times in ms since 1970.

    `archived_through` is the last sequence number whose object is below `archive/`, None if
    there is none. `archive_objects`, by ascending sequence, are the composed ones; what none of
    them holds is an object of its own. `generation` is that of LTO. `retention_mode` and
    `retained_until_ms` are the lock that the archived objects have, `encryption` and `kms_key` how
    the store encrypts every object, `data_key` is with what its data was encrypted before that.
    `expired` are the ranges, each from its first sequence number to its last, of segments whose
    data the store has let go of, and `oldest_point` is the number of the first recovery point that
    needs none of it.
    """

    number: int
    created_ms: int
    gateway_id: str
    epoch: int
    barcode: str
    tape_uuid: str
    size_bytes: int
    used_bytes: int
    status: str
    pool: str
    worm: bool
    archived_through: int | None = None
    volume: VolumeRecord = field(default_factory=VolumeRecord)
    generation: int = 5
    cleaning: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    pool_entered_ms: int | None = None
    retention_start_ms: int | None = None
    retention_mode: str | None = None
    retained_until_ms: int | None = None
    encryption: str | None = None
    kms_key: str | None = None
    data_key: str | None = None
    archive_objects: Sequence[ArchiveObject] = ()
    expired: Sequence[tuple[int, int]] = ()
    oldest_point: int = 0


@dataclass(frozen=True, slots=True)
class Manifest:
    """A decoded manifest object: `rows` are those after the pages.

    `page_epochs` has the epoch in which each page was put, from the first to the last.
    """

    head: ManifestHead
    page_epochs: Sequence[int]
    rows: Sequence[ManifestRow]


def encode_manifest(
    head: ManifestHead, page_epochs: Sequence[int], rows: Sequence[ManifestRow]
) -> bytes:
    """Return a manifest whose log is one page for each of `page_epochs` and then `rows`, less than
    a page."""
    if len(rows) >= PAGE_ROWS:
        raise ValueError(f"{len(rows)} rows are a page of their own")
    composed = [
        [one.epoch, one.first_sequence, one.last_sequence, one.size_bytes]
        for one in head.archive_objects
    ]
    plain = {
        name: getattr(head, name) for name in ManifestHead.__slots__ if name not in _WHERE_NEEDED
    }
    expired = {"expired": list(head.expired), "oldest_point": head.oldest_point}
    document = {
        "format": _format_of(head),
        **plain,
        **({"archive_objects": composed} if composed else {}),
        **(expired if head.expired else {}),
        "volume": head.volume.to_document(),
        "pages": [[epoch, len(list(run))] for epoch, run in itertools.groupby(page_epochs)],
        "page_rows": PAGE_ROWS,
        **_encode_rows(rows),
    }
    return _with_crc(document)


def encode_page(number: int, rows: Sequence[ManifestRow]) -> bytes:
    """Return page `number` (from 0) of a log: rows number * 512 to number * 512 + 511."""
    if len(rows) != PAGE_ROWS:
        raise ValueError(f"page {number} has {len(rows)} rows")
    return _with_crc({"format": _PLAIN_FORMAT, "page": number, **_encode_rows(rows)})


def decode_manifest(data: bytes) -> Manifest:
    """Decode a manifest object; raise MediumFormatError if it is none or is damaged,
    UnknownFormatError if a later program has written it."""
    document = _checked(data)
    try:
        if document["page_rows"] != PAGE_ROWS:
            raise MediumFormatError(f"pages of {document['page_rows']} rows")
        volume = document.pop("volume", None)
        document["volume"] = VolumeRecord.from_document(volume) if volume else VolumeRecord()
        document["archive_objects"] = tuple(
            ArchiveObject(first, last, size_bytes, epoch)
            for epoch, first, last, size_bytes in document.get("archive_objects", ())
        )
        document["expired"] = tuple((first, last) for first, last in document.get("expired", ()))
        head = ManifestHead(
            **{
                name: document[name]
                for name in ManifestHead.__slots__
                if name in document or name not in _MAY_LACK
            }
        )
        page_epochs = [int(epoch) for epoch, count in document["pages"] for _ in range(int(count))]
        return Manifest(head, page_epochs, _decode_rows(document))
    except (KeyError, TypeError, ValueError) as error:
        raise MediumFormatError(f"manifest lacks or misspells {error}") from error


def decode_page(data: bytes, number: int) -> Sequence[ManifestRow]:
    """Decode page `number` of a log; raise MediumFormatError if it is another or is damaged."""
    document = _checked(data)
    try:
        rows = _decode_rows(document)
        if document["page"] != number or len(rows) != PAGE_ROWS:
            raise MediumFormatError(f"page {document['page']} of {len(rows)} rows, not {number}")
    except (KeyError, TypeError, ValueError) as error:
        raise MediumFormatError(f"page lacks or misspells {error}") from error
    return rows


def _format_of(head: ManifestHead) -> int:
    if head.expired:
        return _EXPIRED_FORMAT
    if head.data_key is not None:
        return _SEALED_FORMAT
    return _COMPOSED_FORMAT if head.archive_objects else _PLAIN_FORMAT


def _encode_rows(rows: Sequence[ManifestRow]) -> dict[str, Any]:
    """Return the members that hold rows: themselves, and of each of which it does not follow from
    the rows before it what its partition holds before it, that."""
    segments = [
        [
            row.summary.sequence,
            row.summary.partition,
            row.summary.first_object,
            row.summary.object_count,
            row.summary.filemark_count,
            row.summary.data_bytes,
            row.summary.file_bytes,
            int(row.summary.erases),
            row.object_bytes,
            row.epoch,
        ]
        for row in rows
    ]
    before: list[list[int | None]] = []
    after: dict[int, Totals | None] = {}
    for place, row in enumerate(rows):
        summary = row.summary
        if summary.before != after.get(summary.partition):
            before.append([place, *(summary.before or (None, None))])
        after[summary.partition] = summary.after
    return {"segments": segments, "before": before}


def _decode_rows(document: Mapping[str, Any]) -> Sequence[ManifestRow]:
    rows: Sequence[Sequence[int]] = document["segments"]
    given = {
        place: None if filemarks is None else Totals(filemarks, data_bytes)
        for place, filemarks, data_bytes in document.get("before", ())
    }
    after: dict[int, Totals | None] = {}
    decoded = []
    for place, row in enumerate(rows):
        sequence, partition, first, objects, filemarks, data, file, erases, stored, epoch = row
        summary = SegmentSummary(
            sequence=sequence,
            first_object=first,
            object_count=objects,
            filemark_count=filemarks,
            data_bytes=data,
            file_bytes=file,
            partition=partition,
            erases=bool(erases),
            before=given.get(place, after.get(partition)),
        )
        after[partition] = summary.after
        decoded.append(ManifestRow(summary, stored, epoch))
    return decoded


def _with_crc(document: dict[str, Any]) -> bytes:
    """Append "crc32c": of the text up to its comma, so that a reader needs no canonical JSON."""
    text = json.dumps(document, separators=(",", ":")).encode()[:-1]
    return b'%s,"crc32c":"%08x"}\n' % (text, crc32c(text))


def _checked(data: bytes) -> dict[str, Any]:
    text, found, crc = data.rstrip().rpartition(b',"crc32c":"')
    if not found or crc != b'%08x"}' % crc32c(text):
        raise MediumFormatError("checksum of a manifest")
    document: dict[str, Any] = json.loads(data)
    if document.get("format") not in _KNOWN_FORMATS:
        known = ", ".join(map(str, _KNOWN_FORMATS))
        raise UnknownFormatError(
            f"manifest has format {document.get('format')}, this program knows {known}"
        )
    return document
