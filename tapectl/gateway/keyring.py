"""The keyring of a gateway: the keys that wrap the data keys of its tapes, in a file of its own.

The file is beside the state, 0600, and nothing of it ever goes to the store: who has the bucket
alone can read no tape whose data key is wrapped. New tapes take the key that was made last.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tapectl.errors import ExitCode, TapectlError, UsageError
from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.state.database import fsync_directory, give_to_owner

KEY_BYTES: Final = 32
KEY_ID_CHARACTERS: Final = 16

IMPORT_HINT: Final = "bring it with `tapectl key import FILE`"

_FORMAT = 1
_NAME_A_COPY = "name a file that `tapectl key export` has made"
_MAX_FILE_BYTES = 1 << 20
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class TapeKeyError(TapectlError):
    """A key that a tape needs is not in the keyring, or the keyring cannot be used."""

    exit_code = ExitCode.TAPE_KEY
    code = "tape_key"


class KeyringDamagedError(TapeKeyError):
    """What should hold keys does not, or not whole ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappingKey:
    """A key encryption key. Its `id` is made of the key, so that a damaged one is found."""

    key: bytes
    created_ms: int

    @property
    def id(self) -> str:
        return hashlib.sha256(b"tapeKEYI" + self.key).hexdigest()[:KEY_ID_CHARACTERS]

    def __repr__(self) -> str:
        return f"WrappingKey({self.id})"


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys of a gateway, the oldest first."""

    keys: Sequence[WrappingKey] = ()

    @classmethod
    def load(cls, state_path: Path) -> Keyring:
        """Return the keyring of a state file, an empty one where no key was ever made.

        Raises TapeKeyError if others may read the file, or it is damaged.
        """
        path = keyring_path(state_path)
        try:
            with open(path, "rb") as file:
                if os.fstat(file.fileno()).st_mode & _OTHERS:
                    raise TapeKeyError(
                        f"others may read the keys of tapes: {path}", hint=f"chmod 600 {path}"
                    )
                return cls._decode(file.read(_MAX_FILE_BYTES), path)
        except FileNotFoundError:
            return cls()
        except OSError as exc:
            raise TapeKeyError(f"cannot use the keys of tapes: {path}: {exc}") from exc

    @classmethod
    def load_copy(cls, source: Path) -> Keyring:
        """Return the keys of a file that `export_keys` has made; raise TapeKeyError, UsageError."""
        try:
            with open(source, "rb") as file:
                return cls._decode(file.read(_MAX_FILE_BYTES), source)
        except KeyringDamagedError as exc:
            raise TapeKeyError(
                f"no file of keys, or a damaged one: {source}", hint=_NAME_A_COPY
            ) from exc
        except OSError as exc:
            raise UsageError(
                f"cannot read the keys ({exc.strerror}): {source}", hint=_NAME_A_COPY
            ) from exc

    @property
    def current(self) -> WrappingKey:
        """The key for new tapes; raise TapeKeyError if there is none."""
        self.require_any()
        return self.keys[-1]

    def require_any(self) -> None:
        """Raise TapeKeyError if no key was ever made."""
        if not self.keys:
            raise TapeKeyError(
                "there is no key to encrypt tapes with",
                hint="run `tapectl key create`, and keep a copy that `tapectl key export` makes",
            )

    def find(self, key_id: str) -> WrappingKey | None:
        return next((one for one in self.keys if one.id == key_id), None)

    def encode(self) -> bytes:
        keys = [
            {
                "id": one.id,
                "created_ms": one.created_ms,
                "key": base64.b64encode(one.key).decode(),
            }
            for one in self.keys
        ]
        return json.dumps({"format": _FORMAT, "keys": keys}, indent=2).encode() + b"\n"

    @classmethod
    def _decode(cls, data: bytes, path: Path) -> Keyring:
        try:
            document = json.loads(data)
            if document["format"] != _FORMAT:
                raise TapeKeyError(f"keys of a later tapectl: {path}", hint="use that one")
            keys = []
            for one in document["keys"]:
                key = WrappingKey(
                    key=base64.b64decode(one["key"], validate=True),
                    created_ms=int(one["created_ms"]),
                )
                if len(key.key) != KEY_BYTES or key.id != one["id"]:
                    raise ValueError(one["id"])
                keys.append(key)
        except (ValueError, KeyError, TypeError) as exc:
            raise KeyringDamagedError(
                f"the keys of tapes are damaged: {path}",
                hint="bring them back with a copy that `tapectl key export` has made",
            ) from exc
        return cls(tuple(keys))


def keyring_path(state_path: Path) -> Path:
    """Return where the keyring of a state file is."""
    return state_path.with_name(f"{state_path.name}.keyring")


def create_key(state_path: Path, *, now_ms: Callable[[], int] = clock_now_ms) -> WrappingKey:
    """Make a key, which new tapes take from now on; raise TapeKeyError."""
    key = WrappingKey(key=secrets.token_bytes(KEY_BYTES), created_ms=now_ms())
    with _changing(state_path):
        before = Keyring.load(state_path)
        _save(Keyring((*before.keys, key)), state_path)
    return key


def export_keys(state_path: Path, to: Path) -> Sequence[WrappingKey]:
    """Write all keys to a file that is not there yet, 0600; raise TapeKeyError, UsageError."""
    keyring = Keyring.load(state_path)
    keyring.require_any()
    try:
        descriptor = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            _write(descriptor, keyring)
            fsync_directory(to.absolute().parent)
        except OSError:
            to.unlink()
            raise
    except OSError as exc:
        raise UsageError(
            f"cannot write the keys ({exc.strerror}): {to}",
            hint="name a new file; keys that are there are never written over",
        ) from exc
    return keyring.keys


def import_keys(state_path: Path, source: Path) -> Sequence[WrappingKey]:
    """Take up the keys of a file that `export_keys` has made; return those that were not there.

    The current key stays the current one, where there is one. Raises TapeKeyError, UsageError.
    """
    found = Keyring.load_copy(source)
    with _changing(state_path):
        before = Keyring.load(state_path)
        new = [one for one in found.keys if before.find(one.id) is None]
        if new:
            _save(Keyring((*new, *before.keys)), state_path)
    return new


@contextlib.contextmanager
def _changing(state_path: Path) -> Iterator[None]:
    """One at a time changes the keyring: none may be lost that another has just made."""
    folder = state_path.parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as exc:
        raise TapeKeyError(f"cannot use the folder of the state: {folder}: {exc}") from exc
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _save(keyring: Keyring, state_path: Path) -> None:
    """Put the file in the place of the one before, whole and durably."""
    path = keyring_path(state_path)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        # Imported before the gateway is adopted, there is no state yet.
        with contextlib.suppress(FileNotFoundError):
            give_to_owner(descriptor, state_path)
        _write(descriptor, keyring)
        draft.replace(path)
        fsync_directory(path.parent)
    except OSError as exc:
        draft.unlink(missing_ok=True)
        raise TapeKeyError(f"cannot write the keys of tapes: {path}: {exc}") from exc


def _write(descriptor: int, keyring: Keyring) -> None:
    """Write all keys durably, and close the file."""
    with open(descriptor, "wb") as file:
        file.write(keyring.encode())
        file.flush()
        os.fsync(file.fileno())
