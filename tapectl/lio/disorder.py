"""What of a ring is not as its entries say, where commands were answered ahead of others; as bytes.

The kernel takes an answer from the entry at the tail, for whichever command its cmd_id names
(mailbox flag OOOC). So the request that stands in that entry is displaced: from then on it is here,
until it is answered itself. And the entry of the one that was answered is spent: it stands in the
ring until the tail has passed it, and is nobody's request any more.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

CDB_BYTES = 16
_COUNTS = struct.Struct("<II")  # displaced requests, spent entries
_DISPLACED = struct.Struct(f"<H2xI{CDB_BYTES}s")  # cmd_id, pieces, CDB
_PIECE = struct.Struct("<QQ")
_SPENT = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class DisplacedRequest:
    """A request that is in the ring no more. `pieces` are offset and length of its data, which is
    where it was."""

    command_id: int
    cdb: bytes
    pieces: Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Disorder:
    """Requests that are displaced, in the order in which they came, and the places in the ring of
    entries that are spent."""

    displaced: Sequence[DisplacedRequest]
    spent: Sequence[int]


def encode_disorder(disorder: Disorder) -> bytes:
    """Return it as bytes, for `decode_disorder`."""
    parts = [_COUNTS.pack(len(disorder.displaced), len(disorder.spent))]
    for one in disorder.displaced:
        parts.append(_DISPLACED.pack(one.command_id, len(one.pieces), one.cdb))
        parts += (_PIECE.pack(*piece) for piece in one.pieces)
    parts += map(_SPENT.pack, disorder.spent)
    return b"".join(parts)


def decode_disorder(encoded: bytes) -> Disorder:
    """Return what `encode_disorder` was given."""
    displaced, spent = _COUNTS.unpack_from(encoded)
    at = _COUNTS.size
    requests = []
    for _ in range(displaced):
        command_id, count, cdb = _DISPLACED.unpack_from(encoded, at)
        at += _DISPLACED.size
        end = at + count * _PIECE.size
        pieces = list(_PIECE.iter_unpack(encoded[at:end]))
        requests.append(DisplacedRequest(command_id, cdb, pieces))
        at = end
    places = _SPENT.iter_unpack(encoded[at : at + spent * _SPENT.size])
    return Disorder(requests, [place for (place,) in places])
