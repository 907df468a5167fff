"""Which tapes a gateway has, as the store knows it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor

from tapectl.gateway.transfer.bucket_layout import OWNERS_PREFIX
from tapectl.gateway.transfer.ownership import OwnershipObject, read_ownership
from tapectl.store.interface import ObjectNotFoundError, ObjectStore


def read_owned(
    store: ObjectStore, gateway_id: str | None, pool: Executor
) -> Sequence[OwnershipObject]:
    """Return the ownership of every tape of a gateway, None: of all of them, by barcode; raise
    StoreError."""
    keys = [info.key for info in store.list(OWNERS_PREFIX)]
    barcodes = sorted(key.removeprefix(OWNERS_PREFIX).removesuffix(".json") for key in keys)

    def read(barcode: str) -> OwnershipObject | None:
        try:
            return read_ownership(store, barcode)
        except ObjectNotFoundError:
            return None  # deleted since

    return [
        one
        for one in pool.map(read, barcodes)
        if one is not None and gateway_id in (None, one.ownership.gateway_id)
    ]
