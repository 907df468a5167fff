"""How a new tape is to be encrypted in the store: by us, by SSE-S3, by SSE-KMS or as it does."""

from __future__ import annotations

from dataclasses import dataclass

from tapectl.errors import UsageError
from tapectl.store.interface import SSEAlgorithm

AS_THE_STORE_DOES = "NONE"
ALGORITHMS = {
    AS_THE_STORE_DOES: None,
    "SSE-S3": SSEAlgorithm.AES256,
    "SSE-KMS": SSEAlgorithm.AWS_KMS,
}
"""The words that users give and see for what the store does, and what S3 calls them."""

CLIENT_SIDE = "CSE"
"""The word for tapes whose data the gateway encrypts before it leaves it."""

WORDS = (*ALGORITHMS, CLIENT_SIDE)

MAX_KEY_CHARACTERS = 2048


@dataclass(frozen=True, slots=True)
class TapeEncryption:
    """Of every object of a tape, for good; columns as the schema says. `client_side`: its data is
    encrypted by us, with a key that never goes to the store."""

    algorithm: str | None = None
    kms_key: str | None = None
    client_side: bool = False


AS_STORED = TapeEncryption()
"""As the store does it by itself."""


def choose_encryption(
    word: str | None, kms_key: str | None, *, default_word: str, default_key: str
) -> TapeEncryption:
    """Return what is asked for, or the defaults where nothing is; a key alone asks for SSE-KMS.

    Raises UsageError.
    """
    if word is None and kms_key is None:
        word, kms_key = default_word, default_key or None
    elif word is None:
        word = "SSE-KMS"
    word = word.upper()
    if word not in WORDS:
        raise UsageError(f"no such encryption: {word}", hint=f"there are {', '.join(WORDS)}")
    algorithm = ALGORITHMS.get(word)
    if algorithm is not SSEAlgorithm.AWS_KMS:
        if kms_key and default_key != kms_key:
            raise UsageError(
                "a KMS key goes with SSE-KMS alone", hint="leave one of the two options away"
            )
        return TapeEncryption(algorithm, client_side=word == CLIENT_SIDE)
    if kms_key is not None and (
        not 1 <= len(kms_key) <= MAX_KEY_CHARACTERS
        or not kms_key.isascii()
        or not kms_key.isprintable()
        or " " in kms_key
    ):
        raise UsageError(
            f"not a KMS key: {kms_key}", hint="the ARN of a symmetric key, or alias/NAME"
        )
    return TapeEncryption(algorithm, kms_key)


def encryption_word(algorithm: str | None, *, client_side: bool) -> str:
    """Return the word for how a tape is encrypted."""
    if client_side:
        return CLIENT_SIDE
    return next(word for word, known in ALGORITHMS.items() if known == algorithm)
