"""The ownership object of a tape: which gateway may write it. This is the fence of a tape.

It is claimed by a conditional put that only the first can win, and changed by one that needs
the object it replaces. A gateway looks at it before it writes anything of the tape.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from tapectl.gateway.transfer.bucket_layout import FORMAT_VERSION, ownership_key
from tapectl.store.interface import (
    ObjectNotFoundError,
    ObjectStore,
    PreconditionFailedError,
    StoreDataError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """`tape.json`: the owner and what never changes of a tape. `epoch` grows with each owner."""

    gateway_id: str
    tape_uuid: str
    epoch: int
    barcode: str
    size_bytes: int
    pool: str
    worm: bool
    created_ms: int

    def encode(self) -> bytes:
        return json.dumps({"format": FORMAT_VERSION, **asdict(self)}, indent=2).encode() + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> Ownership:
        """Decode an ownership object; raise StoreDataError if it is none."""
        try:
            document = json.loads(data)
            if document.pop("format") != FORMAT_VERSION:
                raise StoreDataError(
                    "ownership object of another version", hint="a newer tapectl wrote this bucket"
                )
            return cls(**document)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreDataError(f"not an ownership object: {error}") from error


class BarcodeTakenError(Exception):
    """Another gateway, or an earlier tape, has the barcode in this store, for good."""


class FencedError(Exception):
    """The tape belongs to another gateway now; nothing of it may be written any more."""


def claim(store: ObjectStore, wanted: Ownership) -> str:
    """Make the tape ours and return the etag of its ownership object.

    Idempotent: a claim made before a crash counts. Raises BarcodeTakenError.
    """
    key = ownership_key(wanted.barcode)
    try:
        return store.put_if_absent(key, wanted.encode()).etag
    except PreconditionFailedError:
        found = Ownership.decode(store.get(key))
        if (found.gateway_id, found.tape_uuid) != (wanted.gateway_id, wanted.tape_uuid):
            raise BarcodeTakenError(
                f"barcode {wanted.barcode} belongs to gateway {found.gateway_id}"
            ) from None
        return store.head(key).etag


def require_ownership(store: ObjectStore, barcode: str, etag: str | None) -> None:
    """Raise FencedError unless the ownership object is still the one with this etag."""
    try:
        found = store.head(ownership_key(barcode)).etag
    except ObjectNotFoundError:
        raise FencedError(f"tape {barcode} is gone from the store") from None
    if found != etag:
        raise FencedError(f"tape {barcode} has another owner in the store")
