"""Objects of segments and manifests: they round-trip, any range is found, any damage is seen."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapectl.medium.checksum import crc32c
from tapectl.medium.errors import MediumFormatError
from tapectl.medium.manifest import (
    PAGE_ROWS,
    ArchiveObject,
    ManifestHead,
    ManifestRow,
    decode_manifest,
    decode_page,
    encode_manifest,
    encode_page,
)
from tapectl.medium.segment_object import (
    CHUNK_BYTES,
    OBJECT_FOOTER_BYTES,
    OBJECT_HEADER_BYTES,
    ObjectFooter,
    ObjectHeader,
    chunk_numbers,
    decode_table,
    encode_object,
)
from tapectl.medium.summary import SegmentSummary, Totals

UUID = uuid.UUID(int=0x1234)
# Shrinks, does not shrink, one byte, a whole chunk and a rest.
CONTENTS = [
    b"",
    b"x",
    bytes(CHUNK_BYTES),
    bytes(range(256)) * 5000 + uuid.UUID(int=99).bytes * 70_000,
]
HEAD = ManifestHead(
    number=7,
    created_ms=1,
    gateway_id="sgw-00000000",
    epoch=1,
    barcode="TEST01L5",
    tape_uuid=UUID.hex,
    size_bytes=1 << 30,
    used_bytes=5,
    status="AVAILABLE",
    pool="GLACIER",
    worm=False,
)


def encode(content: bytes, level: int | None = 1) -> bytes:
    header = ObjectHeader(UUID, "TEST01L5", 5, len(content))
    chunks = [content[at : at + CHUNK_BYTES] for at in range(0, len(content), CHUNK_BYTES)]
    return b"".join(encode_object(header, chunks, level=level))


def decode(body: bytes) -> bytes:
    ObjectHeader.decode(body[:OBJECT_HEADER_BYTES])
    footer = ObjectFooter.decode(body[-OBJECT_FOOTER_BYTES:])
    table = decode_table(footer, body[footer.table_offset :][: footer.table_bytes])
    pieces = (one.decode(body[one.offset : one.offset + one.stored_bytes]) for one in table)
    return b"".join(pieces)


@pytest.mark.parametrize("level", [1, None], ids=["compressed", "raw"])
@pytest.mark.parametrize("content", CONTENTS, ids=len)
def test_an_object_yields_its_segment(content: bytes, level: int | None) -> None:
    body = encode(content, level)
    assert decode(body) == content
    assert len(body) <= len(content) + 256 + 16 * (1 + len(content) // CHUNK_BYTES)
    header = ObjectHeader.decode(body[:OBJECT_HEADER_BYTES])
    assert (header.tape_uuid, header.barcode, header.sequence) == (UUID, "TEST01L5", 5)


def test_zeros_shrink_and_noise_does_not_grow() -> None:
    assert len(encode(bytes(4 * CHUNK_BYTES))) < 1000


@given(st.data())
def test_any_changed_byte_is_seen(data: st.DataObject) -> None:
    body = bytearray(encode(b"a tape has many blocks, " * 100))
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(MediumFormatError):
        decode(bytes(body))


@given(st.binary(max_size=300))
def test_any_other_bytes_are_refused(body: bytes) -> None:
    with pytest.raises(MediumFormatError):
        ObjectFooter.decode(body[-OBJECT_FOOTER_BYTES:])
    with pytest.raises(MediumFormatError):
        ObjectHeader.decode(body[:OBJECT_HEADER_BYTES])


@given(
    st.integers(0, 5 * CHUNK_BYTES),
    st.integers(0, 3 * CHUNK_BYTES),
    st.integers(0, 5 * CHUNK_BYTES),
)
def test_the_chunks_of_a_range_hold_it(offset: int, size_bytes: int, raw_bytes: int) -> None:
    numbers = chunk_numbers(offset, size_bytes, raw_bytes)
    end = min(offset + size_bytes, raw_bytes)
    if offset >= end:
        assert not numbers
        return
    assert numbers.start * CHUNK_BYTES <= offset < (numbers.start + 1) * CHUNK_BYTES
    assert (numbers.stop - 1) * CHUNK_BYTES < end <= numbers.stop * CHUNK_BYTES


def test_a_segment_of_another_length_is_refused() -> None:
    with pytest.raises(MediumFormatError):
        list(encode_object(ObjectHeader(UUID, "TEST01L5", 5, 10), [b"short"], level=1))


def rows(count: int, first: int = 0) -> list[ManifestRow]:
    return [
        ManifestRow(
            SegmentSummary(n, n * 10, 10, 1, 1000 + n, 2000, 0, n % 7 == 0), 500 + n, n // 100
        )
        for n in range(first, first + count)
    ]


def test_a_manifest_round_trips() -> None:
    manifest = decode_manifest(encode_manifest(HEAD, [1, 1, 4], rows(11)))
    assert (manifest.head, manifest.page_epochs, list(manifest.rows)) == (HEAD, [1, 1, 4], rows(11))


def test_a_manifest_says_the_lowest_format_that_its_reader_must_know() -> None:
    composed = (ArchiveObject(1, 128, 32 << 30, 1), ArchiveObject(129, 130, 512 << 20, 2))
    head = replace(HEAD, archived_through=130, archive_objects=composed)
    body = encode_manifest(head, [], rows(2))
    assert decode_manifest(body).head == head
    assert b'"format":3,' in body
    assert b'"format":2,' in encode_manifest(HEAD, [], rows(2))


def test_a_page_round_trips_and_is_full() -> None:
    page = encode_page(3, rows(PAGE_ROWS))
    assert list(decode_page(page, 3)) == rows(PAGE_ROWS)
    with pytest.raises(MediumFormatError):
        decode_page(page, 4)
    with pytest.raises(ValueError, match="has 5 rows"):
        encode_page(0, rows(5))
    with pytest.raises(ValueError, match="a page of their own"):
        encode_manifest(HEAD, [], rows(PAGE_ROWS))


def test_rows_say_what_stands_before_them_where_it_was_known() -> None:
    """Of most it follows from the row before; one may go on anywhere, or in another partition."""
    before = [
        Totals(0, 0),
        Totals(2, 100),
        Totals(1, 60),
        None,
        None,
        Totals(0, 0),
        Totals(1, 1003),
        Totals(9, 9),
    ]
    log = [
        replace(row, summary=replace(row.summary, before=totals, partition=number == 5))
        for number, (row, totals) in enumerate(zip(rows(8), before, strict=True))
    ]
    manifest = decode_manifest(encode_manifest(HEAD, [], log))
    assert [row.summary.before for row in manifest.rows] == before
    assert list(manifest.rows) == log

    in_order, at = [], Totals(0, 0)
    for row in rows(PAGE_ROWS):
        in_order.append(replace(row, summary=replace(row.summary, before=at)))
        at = Totals(at.file_number + 1, at.data_bytes + row.summary.data_bytes)
    page = encode_page(0, in_order)
    found = [row.summary.before for row in decode_page(page, 0)]
    assert found == [row.summary.before for row in in_order]
    assert len(page) < len(encode_page(0, rows(PAGE_ROWS))) + 50


def test_a_log_of_an_earlier_program_is_read() -> None:
    body = encode_manifest(HEAD, [], rows(2)).rpartition(b',"crc32c"')[0]
    text = body.replace(b',"before":[]', b"")
    assert text != body
    manifest = decode_manifest(b'%s,"crc32c":"%08x"}\n' % (text, crc32c(text)))
    assert list(manifest.rows) == rows(2)
    assert [row.summary.before for row in manifest.rows] == [None, None]


@given(st.data())
def test_a_damaged_manifest_is_seen(data: st.DataObject) -> None:
    body = bytearray(encode_manifest(HEAD, [], rows(3)).rstrip())
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(MediumFormatError):
        decode_manifest(bytes(body))


@given(st.binary(max_size=200))
def test_what_is_no_manifest_is_refused(body: bytes) -> None:
    with pytest.raises(MediumFormatError):
        decode_manifest(body)
