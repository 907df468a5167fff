"""Which tapes a gateway has, as the store knows it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor

from tapectl.gateway.transfer.bucket_layout import OWNERS_PREFIX
from tapectl.gateway.transfer.ownership import OwnershipObject, read_ownership
from tapectl.store.interface import ObjectNotFoundError, ObjectStore


def read_owned(store: ObjectStore, gateway_id: str, pool: Executor) -> Sequence[OwnershipObject]:
    """Return the ownership of every tape of a gateway, by barcode; raise StoreError."""
    keys = [info.key for info in store.list(OWNERS_PREFIX)]
    barcodes = sorted(key.removeprefix(OWNERS_PREFIX).removesuffix(".json") for key in keys)

    def read(barcode: str) -> OwnershipObject | None:
        try:
            return read_ownership(store, barcode)
        except ObjectNotFoundError:
            return None  # deleted since

    found = pool.map(read, barcodes)
    return [one for one in found if one is not None and one.ownership.gateway_id == gateway_id]
