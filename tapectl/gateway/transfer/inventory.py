"""`inventories/<gateway-id>.json`: what the state knows beyond the manifests of the tapes.

Statuses, elements, pools, lists of initiators: what another machine needs to become this gateway,
and what it cannot know, namely which data had not reached the store. Written lazily.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from tapectl.gateway.transfer.bucket_layout import FORMAT_VERSION, inventory_key
from tapectl.gateway.transfer.context import StepReport, TransferContext
from tapectl.state import gateways
from tapectl.state.inventory import Tables, read_tables, waiting_by_tape
from tapectl.store.interface import (
    ObjectNotFoundError,
    ObjectStore,
    PreconditionFailedError,
    StoreDataError,
)

# Between two writes while much happens, and while nothing does.
_BUSY_MS = 60_000
_QUIET_MS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """`waiting` has the segments, and their bytes, that only the disks of the machine had."""

    gateway_id: str
    epoch: int
    written_ms: int
    tables: Tables
    waiting: Mapping[str, tuple[int, int]]

    def encode(self) -> bytes:
        document = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps({"format": FORMAT_VERSION, **document}).encode() + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> Inventory:
        """Decode an inventory; raise StoreDataError if it is none."""
        try:
            document = json.loads(data)
            if document["format"] != FORMAT_VERSION:
                raise StoreDataError(
                    "inventory of another version", hint="a newer tapectl wrote this bucket"
                )
            return cls(**{name: document[name] for name in cls.__slots__})
        except (ValueError, KeyError, TypeError) as error:
            raise StoreDataError(f"not an inventory: {error}") from error


class InventoryObject(NamedTuple):
    """An inventory as the store has it."""

    inventory: Inventory
    etag: str


def read_inventory(store: ObjectStore, gateway_id: str) -> InventoryObject | None:
    """Return the inventory of a gateway, None if it has none; raise StoreError."""
    key = inventory_key(gateway_id)
    while True:
        try:
            etag = store.head(key).etag
            inventory = Inventory.decode(store.get(key))
            if store.head(key).etag == etag:
                return InventoryObject(inventory, etag)
        except ObjectNotFoundError:
            return None


class InventoryKeeper:
    """Writes the inventory when it has changed."""

    def __init__(self, context: TransferContext, *, at_once: bool) -> None:
        """`at_once`: whenever nothing else is to be done, for a process that soon ends."""
        self._context = context
        self._quiet_ms = 0 if at_once else _QUIET_MS
        self._written: bytes | None = None
        self._looked_ms = -_BUSY_MS

    def run(self, *, busy: bool) -> StepReport:
        """Write the inventory if it is time and it has changed. Raises StoreError."""
        interval_ms = _BUSY_MS if busy else self._quiet_ms
        if self._context.now_ms() < self._looked_ms + interval_ms:
            return StepReport()
        return self.finish()

    def finish(self) -> StepReport:
        """Write the inventory if it has changed: nobody may look again soon. Raises StoreError."""
        context = self._context
        now_ms = context.now_ms()
        with context.state.read() as db:
            standing = gateways.read_standing(db)
            tables, waiting = read_tables(db), waiting_by_tape(db)
        self._looked_ms = now_ms
        inventory = Inventory(
            gateway_id=context.gateway.id,
            epoch=standing.store_epoch,
            written_ms=now_ms,
            tables=tables,
            waiting=waiting,
        )
        content = hashlib.blake2b(replace(inventory, written_ms=0).encode()).digest()
        if content == self._written:
            return StepReport()
        etag = self._put(inventory, standing.inventory_etag)
        if etag is None:
            # Somebody else wrote it: whether we still are the gateway is asked at the next pass.
            self._looked_ms = -_BUSY_MS
            return StepReport()
        self._written = content
        with context.state.write() as db:
            current = gateways.read_standing(db)
            gateways.set_standing(
                db,
                store_epoch=current.store_epoch,
                store_etag=current.store_etag,
                inventory_etag=etag,
            )
        return StepReport()

    def _put(self, inventory: Inventory, known_etag: str | None) -> str | None:
        """Put it in the place of the one we left; return its etag, None if another is there."""
        store, key = self._context.store, inventory_key(inventory.gateway_id)
        body = inventory.encode()
        try:
            if known_etag is None:
                return store.put_if_absent(key, body).etag
            return store.put_if_match(key, body, etag=known_etag).etag
        except PreconditionFailedError:
            pass
        try:
            found = read_inventory(store, inventory.gateway_id)
        except StoreDataError:
            return store.put_if_match(key, body, etag=store.head(key).etag).etag
        if found is None:
            return store.put_if_absent(key, body).etag
        if found.inventory.epoch > inventory.epoch:
            return None
        # Ours, put by a process that died before it could note that.
        try:
            return store.put_if_match(key, body, etag=found.etag).etag
        except PreconditionFailedError:
            return None
