"""Secrets at rest: sealed in the state by a key that is in a file of its own.

A dump, a copy or a backup of the state file alone gives no secret away.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from tapectl.errors import ExitCode, TapectlError
from tapectl.state.database import fsync_directory, give_to_owner

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class SecretKeyError(TapectlError):
    """The file with the key cannot be used."""

    exit_code = ExitCode.STATE_ACCESS
    code = "secret_key"


class UnsealError(Exception):
    """What was sealed cannot be read: the key is another one, or the bytes are."""


def key_path(state_path: Path) -> Path:
    """Return where the key of a state file is."""
    return state_path.with_name(f"{state_path.name}.key")


class SecretBox:
    """Seals with AES-256-GCM. `place` says what a secret is for: sealed for one place, it opens at
    no other."""

    def __init__(self, key: bytes) -> None:
        # Imported late: only who sets or checks a secret waits for it.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher = AESGCM(key)

    @classmethod
    def open(cls, state_path: Path, *, create: bool = False) -> SecretBox | None:
        """Return the box of a state file; without `create` None where no secret was ever sealed.

        Raises SecretKeyError if others may read the key, or it is damaged.
        """
        path = key_path(state_path)
        try:
            if create:
                _create(path, state_path)
            with open(path, "rb") as file:
                if os.fstat(file.fileno()).st_mode & _OTHERS:
                    raise SecretKeyError(
                        f"others may read the key of the secrets: {path}", hint=f"chmod 600 {path}"
                    )
                key = file.read(KEY_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise SecretKeyError(f"cannot use the key of the secrets: {path}: {exc}") from exc
        if len(key) != KEY_BYTES:
            raise SecretKeyError(
                f"the key of the secrets is damaged: {path}",
                hint="restore it from a backup; or delete it and set every CHAP secret again",
            )
        return cls(key)

    def seal(self, secret: bytes, place: str) -> bytes:
        """Return what may be stored."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret, place.encode())

    def unseal(self, sealed: bytes, place: str) -> bytes:
        """Return the secret; raise UnsealError."""
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(
                sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place.encode()
            )
        except (InvalidTag, ValueError) as exc:
            raise UnsealError from exc


def _create(path: Path, state_path: Path) -> None:
    """Make the key if there is none; it appears whole, and one of many who make it wins."""
    if path.exists():
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:
            give_to_owner(descriptor, state_path)
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    fsync_directory(path.parent)
