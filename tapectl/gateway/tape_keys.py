"""The data key of a tape: random, wrapped by a key of the keyring, kept with all that is said of
the tape. Its chunks in the store are encrypted with it."""

from __future__ import annotations

import base64
import secrets
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tapectl.gateway.keyring import IMPORT_HINT, Keyring, TapeKeyError, WrappingKey
from tapectl.medium.sealing import DATA_KEY_BYTES, TapeSeal
from tapectl.state import tapes
from tapectl.state.database import State

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12
_SEPARATOR = ":"


class Sealed(Protocol):
    """What says with which key the data of a tape is encrypted: a tape's row, a manifest.

    `data_key` is the id of the wrapping key and the wrapped key, None: it is not encrypted.
    """

    @property
    def barcode(self) -> str: ...
    @property
    def tape_uuid(self) -> str: ...
    @property
    def data_key(self) -> str | None: ...


def new_data_key(wrapping: WrappingKey, tape_uuid: str) -> str:
    """Return a data key for a new tape, wrapped for it alone."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    data_key = secrets.token_bytes(DATA_KEY_BYTES)
    wrapped = nonce + _cipher(wrapping).encrypt(nonce, data_key, _place(tape_uuid))
    return f"{wrapping.id}{_SEPARATOR}{base64.b64encode(wrapped).decode()}"


def key_id(data_key: str) -> str:
    """Return the id of the key that a data key is wrapped with."""
    return data_key.partition(_SEPARATOR)[0]


def seal_of(state_path: Path, tape: Sealed, epoch: int) -> TapeSeal | None:
    """Return what encrypts and decrypts the segments of a tape that are put in an epoch of its
    ownership; None: nothing does.

    Raises TapeKeyError if the key is not in the keyring or does not open it.
    """
    data_key = unwrap_data_key(state_path, tape)
    return None if data_key is None else TapeSeal(data_key, uuid.UUID(tape.tape_uuid), epoch)


def unwrap_data_key(keys: Path | Keyring, tape: Sealed, *, hint: str = IMPORT_HINT) -> bytes | None:
    """Return the key that the data of a tape is encrypted with, None: it is not. `keys` is a
    keyring, or the path of the state whose keyring is looked at if there is need for one; `hint`
    says what to do where it lacks the key.

    Raises TapeKeyError if the key is not in the keyring or does not open it.
    """
    if tape.data_key is None:
        return None
    keyring = keys if isinstance(keys, Keyring) else Keyring.load(keys)
    return _unwrap(keyring, tape, tape.data_key, hint)


def require_key(state_path: Path, tape: Sealed) -> None:
    """Raise TapeKeyError if the data of a tape is encrypted and cannot be decrypted here."""
    unwrap_data_key(state_path, tape)


def missing_keys(state: State) -> Mapping[str, int]:
    """Return the ids of keys that tapes need and the keyring has not, and of how many tapes each;
    raise TapeKeyError if the keyring cannot be used."""
    with state.read() as db:
        needed = tapes.count_by_wrapping_key(db)
    if not needed:
        return {}
    keyring = Keyring.load(state.path)
    return {one: count for one, count in needed.items() if keyring.find(one) is None}


def _unwrap(keyring: Keyring, tape: Sealed, data_key: str, hint: str) -> bytes:
    from cryptography.exceptions import InvalidTag

    wrapping = keyring.find(key_id(data_key))
    if wrapping is None:
        raise TapeKeyError(
            f"tape {tape.barcode} is encrypted, and its key is not here: {key_id(data_key)}",
            hint=hint,
        )
    try:
        wrapped = base64.b64decode(data_key.partition(_SEPARATOR)[2], validate=True)
        return _cipher(wrapping).decrypt(
            wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], _place(tape.tape_uuid)
        )
    except (InvalidTag, ValueError) as exc:
        raise TapeKeyError(
            f"the data key of tape {tape.barcode} is damaged: key {wrapping.id} does not open it",
            hint="`tapectl recovery restore` brings back an earlier recovery point",
        ) from exc


def _cipher(wrapping: WrappingKey) -> AESGCM:
    # Imported late: only who has an encrypted tape waits for it.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(wrapping.key)


def _place(tape_uuid: str) -> bytes:
    return b"tapeDKEY" + tape_uuid.encode()
