"""`tapectl.json`: says what the bucket is, and in which version of the format."""

from __future__ import annotations

import json

from tapectl.gateway.transfer.bucket_layout import FORMAT_VERSION, MARKER
from tapectl.store.interface import (
    ObjectNotFoundError,
    ObjectStore,
    PreconditionFailedError,
    StoreRefusedError,
)


def mark_bucket(store: ObjectStore) -> None:
    """Say what the bucket is, unless somebody has; the first thing that is written into it.

    Raises StoreRefusedError if it is something this program must not touch, StoreError.
    """
    content = {"format": FORMAT_VERSION, "created_by": "tapectl"}
    try:
        store.put_if_absent(MARKER, json.dumps(content).encode() + b"\n")
    except PreconditionFailedError:
        require_known(store)


def require_known(store: ObjectStore) -> None:
    """Raise StoreRefusedError if the marker is that of a format this program does not know,
    StoreError. There is none before a gateway that was activated is served for the first time."""
    try:
        marker = store.get(MARKER)
    except ObjectNotFoundError:
        return
    try:
        found = json.loads(marker).get("format")
    except (ValueError, AttributeError):
        found = "unknown"
    if found != FORMAT_VERSION:
        raise StoreRefusedError(
            f"the store has format {found}, this program knows {FORMAT_VERSION}",
            hint="use the tapectl that wrote it, or another prefix",
        )
