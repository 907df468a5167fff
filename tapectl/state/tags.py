"""Tags as the columns of that name hold them: one JSON object, key to value."""

from __future__ import annotations

import json
from collections.abc import Mapping


def encode(tags: Mapping[str, str]) -> str:
    """Return what a column holds; equal tags are equal text."""
    return json.dumps(dict(tags), sort_keys=True, ensure_ascii=False)


def decode(text: str) -> dict[str, str]:
    """Return the tags of a column, by key."""
    tags: dict[str, str] = json.loads(text)
    return tags
