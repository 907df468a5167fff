"""Keys of encrypted tapes as an admin sees them: which there are, which are missing, copies."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.gateway.keyring import Keyring, WrappingKey, create_key, export_keys, import_keys
from tapectl.state import events, gateways, tapes
from tapectl.state.database import State
from tapectl.state.errors import NotActivatedError

KEY_CREATED = "TapeKeyCreated"
KEYS_EXPORTED = "TapeKeysExported"
KEYS_IMPORTED = "TapeKeysImported"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyInfo:
    """A key as users see it: of so many `tapes`, `current`: for new ones. `created_ms` is None of
    one that tapes need and the keyring has not."""

    id: str
    created_ms: int | None
    current: bool
    tapes: int


def list_keys(state: State) -> Sequence[KeyInfo]:
    """Return the keys of the keyring, the oldest first, and then those that are missing; raise
    TapeKeyError if the keyring cannot be used."""
    keyring = Keyring.load(state.path)
    with state.read() as db:
        needed = dict(tapes.count_by_wrapping_key(db))
    there = [
        KeyInfo(
            id=one.id,
            created_ms=one.created_ms,
            current=one is keyring.keys[-1],
            tapes=needed.pop(one.id, 0),
        )
        for one in keyring.keys
    ]
    missing = [
        KeyInfo(id=one, created_ms=None, current=False, tapes=count)
        for one, count in sorted(needed.items())
    ]
    return [*there, *missing]


def make_key(state: State, *, actor: str, now_ms: Callable[[], int] = clock_now_ms) -> KeyInfo:
    """Make the key for new tapes; raise TapeKeyError."""
    key = create_key(state.path, now_ms=now_ms)
    _record(state, KEY_CREATED, (key,), actor, now_ms())
    return KeyInfo(id=key.id, created_ms=key.created_ms, current=True, tapes=0)


def give_keys(
    state: State, to: Path, *, actor: str, now_ms: Callable[[], int] = clock_now_ms
) -> Sequence[WrappingKey]:
    """Write all keys to a new file; raise TapeKeyError, UsageError."""
    keys = export_keys(state.path, to)
    _record(state, KEYS_EXPORTED, keys, actor, now_ms())
    return keys


def take_keys(
    state_path: Path, source: Path, *, actor: str, now_ms: Callable[[], int] = clock_now_ms
) -> Sequence[WrappingKey]:
    """Take up the keys of a file and return those that were not here. Before a gateway is adopted
    there is no state that could tell of it. Raises TapeKeyError, UsageError."""
    keys = import_keys(state_path, source)
    if not keys:
        return ()
    with contextlib.suppress(NotActivatedError), State.open(state_path) as state:
        _record(state, KEYS_IMPORTED, keys, actor, now_ms())
    return keys


def _record(
    state: State, event_type: str, keys: Sequence[WrappingKey], actor: str, at_ms: int
) -> None:
    with state.write() as db:
        events.append(
            db,
            events.NewEvent(
                at_ms=at_ms,
                actor=actor,
                subject_kind="gateway",
                subject_id=gateways.read_gateway(db).id,
                type=event_type,
                detail={"keys": [one.id for one in keys]},
            ),
        )
