"""Tags of the gateway, its tapes and its pools: add, remove, list."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tapectl.errors import UsageError
from tapectl.gateway.activation import describe_gateway
from tapectl.gateway.clock import now_ms
from tapectl.gateway.pool_document import read_pool
from tapectl.gateway.pools import PoolNotFoundError, find_pool
from tapectl.gateway.tag_rules import check_tags
from tapectl.gateway.transfer.bucket_layout import pool_key
from tapectl.state import events, gateways, pools, tags, tapes
from tapectl.state.database import State
from tapectl.state.errors import TapeNotFoundError
from tapectl.state.tape_status import TapeStatus
from tapectl.store.interface import ObjectStore

GATEWAY, TAPE, POOL = "gateway", "tape", "tapepool"
"""Kinds of resources, as AWS's ARNs name them."""

_GONE = frozenset({TapeStatus.DELETING, TapeStatus.DELETED})


@dataclass(frozen=True, slots=True)
class TaggedResource:
    """What has tags: `kind` is GATEWAY, TAPE or POOL, `id` a barcode or an id."""

    kind: str
    id: str
    tags: Mapping[str, str]


def list_tags(state: State, resource: str) -> TaggedResource:
    """Return the tags of what is named; raise TapeNotFoundError.

    A name is `gateway`, a barcode, the id or the name of a pool; or, where it could be two of
    them, `tape/...` or `tapepool/...`.
    """
    describe_gateway(state)
    with state.read() as db:
        return _find(db, resource)


def add_tags(
    state: State,
    resource: str,
    added: Mapping[str, str],
    *,
    open_store: Callable[[], ObjectStore],
    actor: str = "cli",
) -> TaggedResource:
    """Add tags, in the place of those of the same key. Waits for the store if it is a pool's.

    Raises TapeNotFoundError, UsageError (too many, not tags, a built-in pool), StoreError.
    """
    return _change(state, resource, lambda before: {**before, **added}, open_store, actor)


def remove_tags(
    state: State,
    resource: str,
    keys: Sequence[str],
    *,
    open_store: Callable[[], ObjectStore],
    actor: str = "cli",
) -> TaggedResource:
    """Remove tags by key; those that are not there are no error. Raises as `add_tags` does."""

    def without(before: Mapping[str, str]) -> dict[str, str]:
        return {key: value for key, value in before.items() if key not in keys}

    return _change(state, resource, without, open_store, actor)


def set_tags(
    state: State,
    resource: str,
    wanted: Mapping[str, str],
    *,
    open_store: Callable[[], ObjectStore],
    actor: str = "cli",
) -> TaggedResource:
    """Make these all the tags there are. Raises as `add_tags` does."""
    return _change(state, resource, lambda _before: dict(wanted), open_store, actor)


def _change(
    state: State,
    resource: str,
    change: Callable[[Mapping[str, str]], dict[str, str]],
    open_store: Callable[[], ObjectStore],
    actor: str,
) -> TaggedResource:
    described = list_tags(state, resource)
    if described.kind == POOL:
        if described.id in pools.BUILT_IN:
            raise UsageError(f"pool {described.id} is built in and has no tags")
        after = change(described.tags)
        check_tags(after)
        store = open_store()
        document = read_pool(store, described.id)
        if document is not None:
            store.put(pool_key(described.id), replace(document, tags=after).encode())
    with state.write() as db:
        found = _find(db, resource)
        after = change(found.tags)
        check_tags(after)
        if after != found.tags:
            _set(db, found, tags.encode(after))
            events.append(db, _event(db, found, after, actor))
    return replace(found, tags=after)


def _event(
    db: sqlite3.Connection, found: TaggedResource, after: Mapping[str, str], actor: str
) -> events.NewEvent:
    is_tape = found.kind == TAPE
    pool = {"PoolId": found.id} if found.kind == POOL else {}
    return events.NewEvent(
        at_ms=now_ms(),
        actor=actor,
        subject_kind="tape" if is_tape else "gateway",
        subject_id=found.id if is_tape else gateways.read_gateway(db).id,
        type="TagsChanged",
        detail={**pool, "Tags": dict(after)},
    )


def _set(db: sqlite3.Connection, found: TaggedResource, text: str) -> None:
    if found.kind == GATEWAY:
        gateways.set_tags(db, text)
    elif found.kind == POOL:
        pools.set_tags(db, found.id, text)
    else:
        tapes.update(db, found.id, tags=text, manifest_stale=1)


def _find(db: sqlite3.Connection, resource: str) -> TaggedResource:
    kind, slash, name = resource.partition("/")
    if not slash:
        kind, name = "", resource
    gateway = gateways.read_gateway(db)
    if kind in ("", GATEWAY) and name in (GATEWAY, gateway.id):
        return TaggedResource(GATEWAY, gateway.id, tags.decode(gateway.tags))
    if kind in ("", TAPE):
        tape = tapes.find(db, name)
        if tape is not None and tape.status not in _GONE:
            return TaggedResource(TAPE, tape.barcode, tags.decode(tape.tags))
    if kind == TAPE:
        raise TapeNotFoundError(name)
    if kind in ("", POOL):
        try:
            pool = find_pool(db, name)
        except PoolNotFoundError:
            if kind == POOL:
                raise
        else:
            return TaggedResource(POOL, pool.id, tags.decode(pool.tags))
    raise UsageError(
        f"nothing that has tags is named {resource}",
        hint="a barcode, the id or name of a pool, or `gateway`",
    )
