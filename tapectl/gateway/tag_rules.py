"""Which tags there can be, as AWS has it (AddTagsToResource). Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping

from tapectl.errors import UsageError

MAX_TAGS = 50
MAX_KEY_CHARACTERS = 128
MAX_VALUE_CHARACTERS = 256

# ^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$
_PUNCTUATION = frozenset("_.:/=+-@")
_CATEGORIES = frozenset("LZN")
_RESERVED_PREFIX = "aws:"


def parse_tags(words: Iterable[str]) -> dict[str, str]:
    """Return the tags of `KEY=VALUE` words; raise UsageError for other words, and for tags that
    there cannot be."""
    tags: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"not a tag: {word}", hint="write KEY=VALUE; the value may be empty")
        if key in tags:
            raise UsageError(f"the tag is given twice: {key}", hint="a tag has one value")
        tags[key] = value
    check_tags(tags)
    return tags


def check_tags(tags: Mapping[str, str]) -> None:
    """Raise UsageError for tags that no resource can have."""
    for key, value in tags.items():
        if not 1 <= len(key) <= MAX_KEY_CHARACTERS or not _allowed(key):
            raise _bad("key", key, MAX_KEY_CHARACTERS)
        if len(value) > MAX_VALUE_CHARACTERS or not _allowed(value):
            raise _bad("value", value, MAX_VALUE_CHARACTERS)
        if key.lower().startswith(_RESERVED_PREFIX):
            raise UsageError(
                f"keys that begin with {_RESERVED_PREFIX} are Amazon's: {key}",
                hint="choose another key",
            )
    if len(tags) > MAX_TAGS:
        raise UsageError(f"{len(tags)} tags are too many", hint=f"at most {MAX_TAGS}")


def _allowed(text: str) -> bool:
    return all(
        character in _PUNCTUATION or unicodedata.category(character)[0] in _CATEGORIES
        for character in text
    )


def _bad(what: str, text: str, limit: int) -> UsageError:
    return UsageError(
        f"not a {what} of a tag: {text}",
        hint=f"up to {limit} letters, digits, blanks and {' '.join(sorted(_PUNCTUATION))}",
    )
