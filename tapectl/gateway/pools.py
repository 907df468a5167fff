"""Pools: which storage class archived tapes go to, and for how long nobody can delete them.

A pool never changes: it is made, tapes come and go, and it can be deleted when none is in it.
"""

from __future__ import annotations

import re
import secrets
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tapectl.errors import ExitCode, TapectlError, UsageError
from tapectl.gateway import gateway_document
from tapectl.gateway.activation import PRINTABLE_NAME, describe_gateway
from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.gateway.pool_document import PoolDocument, read_pool
from tapectl.gateway.tag_rules import check_tags
from tapectl.gateway.transfer.bucket_layout import pool_key
from tapectl.state import automatic_creation, events, gateways, pools, tags, tapes
from tapectl.state.database import State
from tapectl.state.pools import NO_LOCK, PoolRecord
from tapectl.state.tapes import Stamp
from tapectl.store.interface import ObjectStore, RetentionMode

MAX_NAME_CHARACTERS = 100
MAX_RETENTION_DAYS = 36_500
LOCK_TYPES = (NO_LOCK, *RetentionMode)

_ID = re.compile(r"pool-[0-9A-F]{8}")


class PoolNotFoundError(TapectlError):
    """No pool has this id or name."""

    exit_code = ExitCode.POOL
    code = "pool_not_found"
    aws_code = "InvalidParameters"


class PoolExistsError(TapectlError):
    """There is another pool of this name."""

    exit_code = ExitCode.POOL
    code = "pool_exists"
    aws_code = "InvalidParameters"


class PoolInUseError(TapectlError):
    """The pool cannot be deleted: it is built in, or tapes are in it."""

    exit_code = ExitCode.POOL
    code = "pool_in_use"
    aws_code = "InvalidParameters"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolCreation:
    """A pool to make. `retention_lock_days` goes with a lock type other than NONE."""

    name: str
    storage_class: str
    retention_lock_type: str = NO_LOCK
    retention_lock_days: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    if_not_exists: bool = False


@dataclass(frozen=True, slots=True)
class PoolInfo:
    """A pool as users see it, and how many tapes are in it."""

    record: PoolRecord
    tapes: int


def create_pool(
    state: State,
    store: ObjectStore,
    request: PoolCreation,
    *,
    actor: str = "cli",
    now_ms: Callable[[], int] = clock_now_ms,
    draw: Callable[[int], int] = secrets.randbelow,
) -> PoolInfo:
    """Make a pool, in the store and in the state. Waits for the store.

    One that locks is refused where the store cannot lock: nothing would hold its tapes. Raises
    UsageError, PoolExistsError, GatewayStateError, StoreError.
    """
    _check(request)
    gateway = describe_gateway(state)
    with state.read() as db:
        existing = _existing(db, request)
        epoch = gateways.read_standing(db).store_epoch
    if existing is not None:
        return existing
    gateway_document.require_active(store, gateway.id, epoch)
    if request.retention_lock_type != NO_LOCK:
        store.check_locks()
    by = Stamp(actor, now_ms())
    record = PoolRecord(
        id=f"pool-{draw(16**8):08X}",
        name=request.name,
        storage_class=request.storage_class,
        created_at_ms=by.at_ms,
        retention_lock_type=request.retention_lock_type,
        retention_lock_days=request.retention_lock_days,
        tags=tags.encode(request.tags),
    )
    store.put_if_absent(pool_key(record.id), PoolDocument.of(record, gateway.id).encode())
    try:
        with state.write() as db:
            existing = _existing(db, request)
            if existing is None:
                pools.insert(db, record)
                events.append(db, _event(gateway.id, "PoolCreated", record, by))
    except BaseException:
        store.delete(pool_key(record.id))
        raise
    if existing is not None:  # somebody else has made it meanwhile
        store.delete(pool_key(record.id))
        return existing
    return PoolInfo(record, 0)


def list_pools(state: State) -> Sequence[PoolInfo]:
    """Return all pools, the built-in ones first."""
    describe_gateway(state)
    with state.read() as db:
        return [_info(db, record) for record in pools.all_pools(db)]


def describe_pool(state: State, id_or_name: str) -> PoolInfo:
    """Return one pool; raise PoolNotFoundError."""
    describe_gateway(state)
    with state.read() as db:
        return _info(db, find_pool(db, id_or_name))


def delete_pool(
    state: State,
    store: ObjectStore,
    id_or_name: str,
    *,
    actor: str = "cli",
    now_ms: Callable[[], int] = clock_now_ms,
) -> PoolInfo:
    """Delete a pool that no tape is in. Waits for the store.

    Raises PoolNotFoundError, PoolInUseError, GatewayStateError, StoreError.
    """
    gateway = describe_gateway(state)
    with state.read() as db:
        record = find_pool(db, id_or_name)
        _refuse_used(db, record)
        epoch = gateways.read_standing(db).store_epoch
    gateway_document.require_active(store, gateway.id, epoch)
    document = read_pool(store, record.id)
    ours = document is not None and document.gateway_id == gateway.id
    # First there, so that a pool that is gone here does not come back from the store.
    if ours:
        store.delete(pool_key(record.id))
    try:
        with state.write() as db:
            _refuse_used(db, record)
            pools.delete(db, record)
            events.append(db, _event(gateway.id, "PoolDeleted", record, Stamp(actor, now_ms())))
    except BaseException:
        if ours and document is not None:
            store.put(pool_key(record.id), document.encode())
        raise
    return PoolInfo(record, 0)


def find_pool(db: sqlite3.Connection, id_or_name: str) -> PoolRecord:
    """Return the pool of an id or, if there is none, of a name; raise PoolNotFoundError."""
    found = pools.find(db, id_or_name) or pools.find_by_name(db, id_or_name)
    if found is None:
        known = ", ".join(pool.id if pool.built_in else pool.name for pool in pools.all_pools(db))
        raise PoolNotFoundError(f"no such pool: {id_or_name}", hint=f"there are {known}")
    return found


def _check(request: PoolCreation) -> None:
    name = request.name
    if not 1 <= len(name) <= MAX_NAME_CHARACTERS or PRINTABLE_NAME.fullmatch(name) is None:
        raise UsageError(
            f"not a name of a pool: {name}",
            hint=f"1 to {MAX_NAME_CHARACTERS} printable ASCII characters without / and \\",
        )
    if name in pools.BUILT_IN or _ID.fullmatch(name) is not None:
        raise UsageError(f"this would be taken for the id of a pool: {name}")
    if request.storage_class not in pools.BUILT_IN:
        raise UsageError(
            f"not a storage class of archived tapes: {request.storage_class}",
            hint=f"there are {', '.join(pools.BUILT_IN)}",
        )
    if request.retention_lock_type not in LOCK_TYPES:
        raise UsageError(
            f"not a retention lock type: {request.retention_lock_type}",
            hint=f"there are {', '.join(LOCK_TYPES)}",
        )
    days = request.retention_lock_days
    if request.retention_lock_type == NO_LOCK:
        if days:
            raise UsageError(
                "days of retention need a lock", hint="give --retention-lock-type GOVERNANCE, too"
            )
    elif not 1 <= days <= MAX_RETENTION_DAYS:
        raise UsageError(
            f"not a number of days to lock tapes for: {days}",
            hint=f"--retention-days 1 to {MAX_RETENTION_DAYS}",
        )
    check_tags(request.tags)


def _existing(db: sqlite3.Connection, request: PoolCreation) -> PoolInfo | None:
    found = pools.find_by_name(db, request.name)
    if found is None:
        return None
    facts = ("storage_class", "retention_lock_type", "retention_lock_days")
    same = all(getattr(found, name) == getattr(request, name) for name in facts)
    if request.if_not_exists and same:
        return _info(db, found)
    raise PoolExistsError(
        f"there is a pool named {request.name} already",
        hint=f"it is {found.id}: {found.storage_class}, lock {found.retention_lock_type}"
        + (f", {found.retention_lock_days} days" if found.locks else ""),
    )


def _refuse_used(db: sqlite3.Connection, record: PoolRecord) -> None:
    if record.built_in:
        raise PoolInUseError(
            f"pool {record.id} is built in and cannot be deleted",
            hint="`tapectl pool list` shows those that can",
        )
    if count := tapes.count_in_pool(db, record.id):
        raise PoolInUseError(
            f"pool {record.name} cannot be deleted while tapes are in it: {count}",
            hint=f"see `tapectl tape list --pool {record.id}`; assign them to another, or delete"
            " them",
        )
    rules = [one.prefix for one in automatic_creation.all_rules(db) if one.pool_id == record.id]
    if rules:
        raise PoolInUseError(
            f"pool {record.name} cannot be deleted while new tapes go to it: {', '.join(rules)}",
            hint=f"run `tapectl autocreate delete {rules[0]}`",
        )


def _info(db: sqlite3.Connection, record: PoolRecord) -> PoolInfo:
    return PoolInfo(record, tapes.count_in_pool(db, record.id))


def _event(gateway_id: str, kind: str, pool: PoolRecord, by: Stamp) -> events.NewEvent:
    return events.NewEvent(
        at_ms=by.at_ms,
        actor=by.actor,
        subject_kind="gateway",
        subject_id=gateway_id,
        type=kind,
        detail={
            "PoolId": pool.id,
            "PoolName": pool.name,
            "StorageClass": pool.storage_class,
            "RetentionLockType": pool.retention_lock_type,
            "RetentionLockTimeInDays": pool.retention_lock_days,
        },
    )
