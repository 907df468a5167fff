"""`pools/<pool-id>.json`: a custom pool, for whoever has only the store."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace

from tapectl.gateway.transfer.bucket_layout import FORMAT_VERSION, POOLS_PREFIX, pool_key
from tapectl.state import pools, tags
from tapectl.state.pools import NO_LOCK, PoolRecord
from tapectl.store.interface import ObjectNotFoundError, ObjectStore, StoreDataError


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolDocument:
    """What a pool is, and the gateway that made it. Only its tags ever change."""

    pool_id: str
    pool_name: str
    storage_class: str
    created_ms: int
    gateway_id: str
    retention_lock_type: str = NO_LOCK
    retention_lock_days: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, record: PoolRecord, gateway_id: str) -> PoolDocument:
        """Return the document of a pool that a gateway makes."""
        return cls(
            pool_id=record.id,
            pool_name=record.name,
            storage_class=record.storage_class,
            created_ms=record.created_at_ms,
            gateway_id=gateway_id,
            retention_lock_type=record.retention_lock_type,
            retention_lock_days=record.retention_lock_days,
            tags=tags.decode(record.tags),
        )

    def record(self) -> PoolRecord:
        """Return its row in a state."""
        return PoolRecord(
            id=self.pool_id,
            name=self.pool_name,
            storage_class=self.storage_class,
            created_at_ms=self.created_ms,
            retention_lock_type=self.retention_lock_type,
            retention_lock_days=self.retention_lock_days,
            tags=tags.encode(self.tags),
        )

    def encode(self) -> bytes:
        return json.dumps({"format": FORMAT_VERSION, **asdict(self)}, indent=2).encode() + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> PoolDocument:
        """Decode a document; raise StoreDataError if it is none."""
        try:
            document = json.loads(data)
            if document["format"] != FORMAT_VERSION:
                raise StoreDataError(
                    "pool document of another version", hint="a newer tapectl wrote this bucket"
                )
            return cls(**{name: document[name] for name in cls.__slots__ if name in document})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreDataError(f"not a pool document: {error}") from error


def read_pool(store: ObjectStore, pool_id: str) -> PoolDocument | None:
    """Return the document of a pool, None if the store has none; raise StoreError."""
    try:
        return PoolDocument.decode(store.get(pool_key(pool_id)))
    except ObjectNotFoundError:
        return None


def enter_pools(
    db: sqlite3.Connection, store: ObjectStore, gateway_id: str, named: Collection[str]
) -> None:
    """Enter the pools that a gateway has made, and those that its tapes are in, into its new state.

    Raises StoreError.
    """
    keys = [info.key for info in store.list(POOLS_PREFIX)]
    for pool_id in (key.removeprefix(POOLS_PREFIX).removesuffix(".json") for key in keys):
        document = read_pool(store, pool_id)
        if document is not None and (document.gateway_id == gateway_id or pool_id in named):
            enter_pool(db, document)


def enter_pool(db: sqlite3.Connection, document: PoolDocument) -> None:
    """Enter a pool that another machine has made, unless it is there."""
    record = document.record()
    if pools.find(db, record.id) is not None:
        return
    if pools.find_by_name(db, record.name) is not None:
        # Names are a gateway's own; what a tape is in is the pool with the id.
        record = replace(record, name=record.id)
    pools.insert(db, record)
