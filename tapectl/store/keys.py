"""Keys of objects: which ones every store accepts."""

from __future__ import annotations

import re

from tapectl.store.interface import StoreRefusedError

# S3 allows 1,024 bytes; a bucket prefix takes some of them, and a directory store 255 a part.
MAX_KEY_CHARACTERS = 900
_KEY = re.compile(r"[!-\-0-~][!-.0-~]{0,254}(?:/[!-\-0-~][!-.0-~]{0,254})*")


def check_key(key: str) -> str:
    """Return `key`; raise StoreRefusedError if a store could not hold it faithfully."""
    if len(key) > MAX_KEY_CHARACTERS or _KEY.fullmatch(key) is None:
        raise StoreRefusedError(f"not a key of an object: {key!r}")
    return key
