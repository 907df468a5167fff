"""Objects of encrypted tapes: they open with their tape's key at their place, and nothing else."""

from __future__ import annotations

import os
import struct
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapectl.gateway.transfer.segment_files import SegmentBuffers
from tapectl.medium.checksum import crc32c
from tapectl.medium.errors import MediumFormatError
from tapectl.medium.sealing import SEALED_OVERHEAD_BYTES, TapeSeal
from tapectl.medium.segment_object import (
    CHUNK_BYTES,
    OBJECT_FOOTER_BYTES,
    OBJECT_HEADER_BYTES,
    ObjectFooter,
    ObjectHeader,
    StoredChunk,
    decode_table,
)

TAPE, OTHER_TAPE = uuid.UUID(int=1), uuid.UUID(int=2)
KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
SEAL = TapeSeal(KEY, TAPE, 1)
NONCE_BYTES = 12
# Shrinks, does not shrink, one byte, a whole chunk and a rest.
CONTENTS = [b"", b"x", bytes(CHUNK_BYTES), b"a secret of the bank " * 99_000 + os.urandom(1 << 21)]


def encode(
    content: bytes, *, sequence: int = 5, seal: TapeSeal | None = SEAL, compression: bool = True
) -> bytes:
    header = ObjectHeader(TAPE, "TEST01L5", sequence, len(content))
    view = memoryview(content)
    return bytes(SegmentBuffers().encode(view, header, compression=compression, seal=seal))


def table(body: bytes, seal: TapeSeal | None = SEAL) -> list[StoredChunk]:
    footer = ObjectFooter.decode(body[-OBJECT_FOOTER_BYTES:])
    data = body[footer.table_offset :][: footer.table_bytes]
    return list(decode_table(footer, data, seal=seal))


def decode(body: bytes, seal: TapeSeal | None = SEAL) -> bytes:
    ObjectHeader.decode(body[:OBJECT_HEADER_BYTES])
    return b"".join(
        bytes(one.decode(body[one.offset : one.offset + one.stored_bytes]))
        for one in table(body, seal)
    )


def with_table(body: bytes, entries: list[tuple[int, int, int, int]], chunks: bytes) -> bytes:
    """An object of these chunks and entries, all its checksums right: what a forger can make."""
    data = b"".join(struct.pack(">IIII", *entry) for entry in entries)
    footer = bytearray(body[-OBJECT_FOOTER_BYTES:])
    struct.pack_into(">I", footer, 20, crc32c(data))
    struct.pack_into(">Q", footer, 40, OBJECT_HEADER_BYTES + len(chunks))
    struct.pack_into(">I", footer, 60, crc32c(bytes(footer[:60])))
    return body[:OBJECT_HEADER_BYTES] + chunks + data + bytes(footer)


def nonce(body: bytes) -> bytes:
    """That of the first chunk."""
    return body[OBJECT_HEADER_BYTES:][:NONCE_BYTES]


def entries_of(body: bytes) -> list[tuple[int, int, int, int]]:
    return [(one.stored_bytes, one.encoding, one.stored_crc, one.raw_crc) for one in table(body)]


@pytest.mark.parametrize("compression", [True, False], ids=["compressed", "as it is"])
@pytest.mark.parametrize("content", CONTENTS, ids=len)
def test_an_object_yields_its_segment(content: bytes, compression: bool) -> None:
    body = encode(content, compression=compression)
    assert decode(body) == content
    plain = encode(content, seal=None, compression=compression)
    assert len(body) == len(plain) + SEALED_OVERHEAD_BYTES * len(table(body))
    assert b"secret" not in body


def test_the_table_says_nothing_of_the_content() -> None:
    assert {one.raw_crc for one in table(encode(CONTENTS[-1]))} == {0}


def test_the_same_segment_becomes_the_same_object_again_and_no_other_does() -> None:
    content = b"block " * 100
    body = encode(content)
    assert encode(content) == body
    others = [
        encode(content, sequence=6),
        encode(content, seal=TapeSeal(KEY, TAPE, 2)),
        encode(content, seal=TapeSeal(KEY, OTHER_TAPE, 1)),
        encode(content, seal=TapeSeal(OTHER_KEY, TAPE, 1)),
        encode(content[:-1] + b"."),
    ]
    # No nonce is ever used twice for different bytes.
    assert len({nonce(one) for one in (body, *others)}) == 6


def test_a_chunk_that_is_compressed_otherwise_has_another_nonce() -> None:
    content = b"block " * 100
    assert nonce(encode(content)) != nonce(encode(content, compression=False))


def test_equal_chunks_of_a_segment_do_not_look_equal() -> None:
    body = encode(bytes(3 * CHUNK_BYTES), compression=False)
    pieces = [body[one.offset : one.offset + one.stored_bytes] for one in table(body)]
    assert len({piece[:NONCE_BYTES] for piece in pieces}) == len(set(pieces)) == 3


def test_chunks_are_read_one_by_one() -> None:
    body = encode(CONTENTS[-1])
    one = table(body)[2]
    raw = one.decode(body[one.offset : one.offset + one.stored_bytes])
    assert bytes(raw) == CONTENTS[-1][2 * CHUNK_BYTES : 3 * CHUNK_BYTES]


@given(st.data())
def test_any_changed_byte_is_seen(data: st.DataObject) -> None:
    body = bytearray(encode(b"a tape has many blocks, " * 100))
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(MediumFormatError):
        decode(bytes(body))


@pytest.mark.parametrize(
    "seal",
    [TapeSeal(OTHER_KEY, TAPE, 1), TapeSeal(KEY, OTHER_TAPE, 1), TapeSeal(KEY, TAPE, 2), None],
    ids=["key", "tape", "epoch", "no"],
)
def test_nothing_else_opens_it(seal: TapeSeal | None) -> None:
    with pytest.raises(MediumFormatError):
        decode(encode(b"secret"), seal)


def test_a_plain_object_is_none_of_an_encrypted_tape() -> None:
    with pytest.raises(MediumFormatError, match="not encrypted"):
        decode(encode(b"forged", seal=None))


def test_forged_chunks_with_right_checksums_are_refused() -> None:
    body = encode(CONTENTS[-1], compression=False)
    entries = entries_of(body)
    first, second, *rest = (body[one.offset : one.offset + one.stored_bytes] for one in table(body))
    assert decode(with_table(body, entries, b"".join((first, second, *rest)))) == CONTENTS[-1]
    changed = bytes((first[0] ^ 1,)) + first[1:]
    swapped = [entries[1], entries[0], *entries[2:]]
    other_encoding = [(entries[0][0], 1, *entries[0][2:]), *entries[1:]]
    flipped = [(entries[0][0], 0, crc32c(changed), 0), *entries[1:]]
    for forged in (
        with_table(body, swapped, b"".join((second, first, *rest))),
        with_table(body, other_encoding, b"".join((first, second, *rest))),
        with_table(body, flipped, b"".join((changed, second, *rest))),
    ):
        with pytest.raises(MediumFormatError, match="not sealed with this key"):
            decode(forged)
