"""The ownership object of a tape: which gateway may write it. This is the fence of a tape.

It is claimed by a conditional put that only the first can win, and changed by one that needs
the object it replaces. A gateway looks at it before it writes anything of the tape.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

from tapectl.gateway.transfer.bucket_layout import (
    FORMAT_VERSION,
    ownership_key,
    tombstone_key,
)
from tapectl.gateway.transfer.object_options import record_options
from tapectl.store.interface import (
    ObjectNotFoundError,
    ObjectStore,
    PreconditionFailedError,
    PutOptions,
    StoreDataError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """`owners/<BARCODE>.json`: the owner and what never changes of a tape.

    `epoch` grows with each owner; `gateway_epoch` says which machine it is, of those that were
    this gateway one after the other. `deleted_ms`: the owner is deleting the tape, and nobody can
    own it any more. `on_shelf`: it is archived, its owner does nothing with it, and any gateway may
    become the owner; whoever begins something replaces the object first.
    """

    gateway_id: str
    gateway_epoch: int
    tape_uuid: str
    epoch: int
    barcode: str
    size_bytes: int
    pool: str
    worm: bool
    created_ms: int
    generation: int = 5
    cleaning: bool = False
    deleted_ms: int | None = None
    encryption: str | None = None
    kms_key: str | None = None
    data_key: str | None = None
    on_shelf: bool = False

    @property
    def options(self) -> PutOptions:
        """How this object, like every one of the tape, is put."""
        return record_options(self)

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
            return cls(**{name: document[name] for name in cls.__slots__ if name in document})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreDataError(f"not an ownership object: {error}") from error


class OwnershipObject(NamedTuple):
    """An ownership object as the store has it."""

    ownership: Ownership
    etag: str


class BarcodeTakenError(Exception):
    """Another gateway, or an earlier tape, has the barcode in this store, for good."""


class FencedError(Exception):
    """The tape belongs to another gateway now; nothing of it may be written any more."""


def read_ownership(store: ObjectStore, barcode: str) -> OwnershipObject:
    """Return the ownership object of a tape; raise ObjectNotFoundError, StoreDataError."""
    key = ownership_key(barcode)
    while True:
        etag = store.head(key).etag
        ownership = Ownership.decode(store.get(key))
        # Not replaced in between: it is small, and nobody replaces it often.
        if store.head(key).etag == etag:
            return OwnershipObject(ownership, etag)


def claim(store: ObjectStore, wanted: Ownership) -> OwnershipObject:
    """Make a new tape ours.

    Idempotent: a claim made before a crash counts, and so does one of the machine that was this
    gateway before; that machine is fenced by it. Raises BarcodeTakenError, FencedError.
    """
    key = ownership_key(wanted.barcode)
    try:
        info = store.put_if_absent(key, wanted.encode(), options=wanted.options)
        return OwnershipObject(wanted, info.etag)
    except PreconditionFailedError:
        found = read_ownership(store, wanted.barcode)
    ownership = found.ownership
    if (ownership.gateway_id, ownership.tape_uuid) != (wanted.gateway_id, wanted.tape_uuid):
        raise BarcodeTakenError(
            f"barcode {wanted.barcode} belongs to gateway {ownership.gateway_id}"
        )
    if ownership.gateway_epoch > wanted.gateway_epoch:
        raise FencedError(f"tape {wanted.barcode} belongs to another machine of this gateway")
    if ownership.gateway_epoch == wanted.gateway_epoch:
        return found
    return replace_owner(
        store, found, replace(wanted, epoch=max(wanted.epoch, ownership.epoch + 1))
    )


def replace_owner(store: ObjectStore, found: OwnershipObject, new: Ownership) -> OwnershipObject:
    """Put another ownership object in the place of the one that was found.

    Raises FencedError if it is not there any more: somebody else was faster.
    """
    try:
        info = store.put_if_match(
            ownership_key(new.barcode), new.encode(), etag=found.etag, options=new.options
        )
    except PreconditionFailedError as error:
        raise FencedError(f"tape {new.barcode} has another owner in the store") from error
    return OwnershipObject(new, info.etag)


def require_ownership(store: ObjectStore, barcode: str, etag: str | None) -> None:
    """Raise FencedError unless the ownership object is still the one with this etag.

    Raises ObjectNotFoundError if it is not shown: that a tape is gone only its tombstone says.
    """
    try:
        found = store.head(ownership_key(barcode)).etag
    except ObjectNotFoundError as error:
        try:
            store.head(tombstone_key(barcode))
        except ObjectNotFoundError:
            raise error from None
        raise FencedError(f"tape {barcode} was deleted from the store") from None
    if found != etag:
        raise FencedError(f"tape {barcode} has another owner in the store")
