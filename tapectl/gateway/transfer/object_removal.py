"""Objects of a tape that nothing needs any more go, several at a time."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import as_completed

from tapectl.gateway.transfer.context import TransferContext

# Deletions between two looks at whether to stop.
_BATCH = 64


def delete_objects(context: TransferContext, keys: Sequence[str]) -> None:
    """Delete objects; one that is gone already is no error. Raises StoreError, StoppedError, with
    some of them left."""
    for start in range(0, len(keys), _BATCH):
        context.check_stop()
        futures = [context.pool.submit(context.store.delete, key) for key in keys[start:][:_BATCH]]
        failures = [error for one in as_completed(futures) if (error := one.exception())]
        if failures:
            raise failures[0]
