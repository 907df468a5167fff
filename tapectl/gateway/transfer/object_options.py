"""With what the objects of a tape are put: class, encryption, tags. One place for all of them.

Retentions are no part of it: they come afterwards, when a manifest names the objects.
"""

from __future__ import annotations

from typing import Protocol

from tapectl.state import tags
from tapectl.state.pools import PoolRecord
from tapectl.state.tapes import TapeRecord
from tapectl.store.interface import Encryption, PutOptions, SSEAlgorithm, StorageClass

# An object has at most ten tags in S3, a tape has fifty.
OBJECT_TAGS_MAX = 10


class Encrypted(Protocol):
    """What says how the objects of a tape are encrypted: a tape, an ownership, a manifest."""

    @property
    def encryption(self) -> str | None: ...
    @property
    def kms_key(self) -> str | None: ...


def record_options(of: Encrypted) -> PutOptions:
    """Return how the small objects about a tape are put: ownership, manifests, pages."""
    return PutOptions(encryption=_encryption(of))


def segment_options(tape: TapeRecord) -> PutOptions:
    """Return how the data of a tape is put before it is archived."""
    return PutOptions(encryption=_encryption(tape), tags=_object_tags(tape))


def archive_options(tape: TapeRecord, pool: PoolRecord) -> PutOptions:
    """Return how the data of a tape is archived in a pool."""
    return PutOptions(
        storage_class=StorageClass(pool.storage_class),
        encryption=_encryption(tape),
        tags=_object_tags(tape),
    )


def _encryption(of: Encrypted) -> Encryption | None:
    if of.encryption is None:
        return None
    return Encryption(SSEAlgorithm(of.encryption), of.kms_key)


def _object_tags(tape: TapeRecord) -> tuple[tuple[str, str], ...]:
    """Return the first tags of a tape by key, as many as an object takes."""
    return tuple(sorted(tags.decode(tape.tags).items())[:OBJECT_TAGS_MAX])
