"""A change that makes a library more like its file, and what is needed to make it."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tapectl.errors import ExitCode, TapectlError
from tapectl.gateway.encryption import TapeEncryption
from tapectl.gateway.library_change import LibraryChange
from tapectl.store.interface import ObjectStore


class LibraryConflictError(TapectlError):
    """The library has something of the same name that is otherwise, and cannot be changed."""

    exit_code = ExitCode.GATEWAY_STATE
    code = "library_conflict"
    aws_code = "OperationAborted"


class Action(enum.StrEnum):
    """What a change does."""

    CREATE = "create"
    CHANGE = "change"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Change:
    """One change: what, of which thing, to what; `make` makes it."""

    action: Action
    subject: str
    detail: str
    make: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Hands:
    """How what is beyond the state is done: by whom, how new tapes are encrypted, where tags and
    pools are kept, the shape of a library that may be served, and the sessions that a change of
    access concerns (device, initiator)."""

    actor: str
    tape_encryption: TapeEncryption
    open_store: Callable[[], ObjectStore]
    change_library: Callable[[LibraryChange], object]
    access_changed: Callable[[str, str], object]


def in_words(fields: Mapping[str, object]) -> str:
    """Return names and values on one line."""
    return ", ".join(f"{name} {value}" for name, value in fields.items())
