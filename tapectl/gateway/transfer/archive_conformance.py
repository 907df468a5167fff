"""What is archived of a tape: brought into the class that its pool wants, and locked.

Both can be repeated, and cut off anywhere: each object is looked at, and what is right stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import as_completed

from tapectl.gateway.retention import lock_of
from tapectl.gateway.transfer.bucket_layout import (
    archive_prefix,
    manifest_key,
    pages_prefix,
)
from tapectl.gateway.transfer.context import TransferContext
from tapectl.state import tapes
from tapectl.state.tapes import TapeRecord
from tapectl.store.interface import PutOptions, RestoreState, RetentionMode, RetrievalTier

# Between two looks at whether to stop, and two updates of the progress.
_BATCH = 64
# Nobody waits for them at a drive: the cheapest.
_TIER = RetrievalTier.BULK
_READABLE = (RestoreState.READABLE, RestoreState.RESTORED)


def lock_archived(context: TransferContext, tape: TapeRecord, manifest_number: int) -> None:
    """Lock what is archived of a tape, its log, and the manifest that names both."""
    held = lock_of(tape, context.now_ms())
    if held is None:
        return
    prefixes = (archive_prefix(tape.barcode), pages_prefix(tape.barcode))
    keys = [info.key for prefix in prefixes for info in context.store.list(prefix)]
    if manifest_number:
        keys.append(manifest_key(tape.barcode, manifest_number))

    def lock(key: str) -> bool:
        context.store.lock(key, held, bypass_governance=tape.bypass_governance)
        return True

    _each(context, keys, lock)


def conform(context: TransferContext, tape: TapeRecord, options: PutOptions) -> bool:
    """Bring every archived object of a tape into the class of `options` and under the lock of its
    pool; False while some of them are not restored yet, as they have to be to be copied.

    Raises StoreError, ObjectLockedError (an older lock still holds).
    """
    keys = [info.key for info in context.store.list(archive_prefix(tape.barcode))]
    done = 0

    def one(key: str) -> bool:
        return _conform_object(context, tape, key, options)

    for start in range(0, len(keys), _BATCH):
        done += _each(context, keys[start:][:_BATCH], one)
        with context.state.write() as db:
            tapes.update(db, tape.barcode, progress=100.0 * done / len(keys))
    return done == len(keys)


def _conform_object(
    context: TransferContext, tape: TapeRecord, key: str, options: PutOptions
) -> bool:
    store = context.store
    info = store.head(key)
    wanted = lock_of(tape, context.now_ms())
    held = info.retention
    if held is not None and held.until_ms <= context.now_ms():
        held = None
    moves = info.storage_class is not options.storage_class
    if moves and not _readable(context, key, info.restore_state):
        return False
    lifted = held is not None and held.mode is RetentionMode.GOVERNANCE and held != wanted
    if lifted and tape.bypass_governance and (moves or wanted is None):
        store.lock(key, None, bypass_governance=True)
    if moves:
        store.copy(key, key, options=options)
    if wanted is not None:
        store.lock(key, wanted, bypass_governance=tape.bypass_governance)
    return True


def _readable(context: TransferContext, key: str, state: RestoreState) -> bool:
    """Return whether an object can be copied; ask for it if nobody has."""
    if state is RestoreState.ARCHIVED:
        days = context.settings.retrieval_days
        state = context.store.restore(key, tier=_TIER, days=days)
    return state in _READABLE


def _each(context: TransferContext, keys: Sequence[str], work: Callable[[str], bool]) -> int:
    """Do the work for each key, several at a time, and return how often it was done."""

    def unless_stopped(key: str) -> bool:
        context.check_stop()
        return work(key)

    done = 0
    for start in range(0, len(keys), _BATCH):
        futures = [context.pool.submit(unless_stopped, key) for key in keys[start:][:_BATCH]]
        failures = [error for one in as_completed(futures) if (error := one.exception())]
        if failures:
            raise failures[0]
        done += sum(future.result() for future in futures)
    return done
