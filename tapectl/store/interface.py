"""The object store as the gateway sees it: what every implementation promises.

The contract in words is held to by tests/contracts/test_object_store.py for
each implementation. Implementations block; callers run them in bounded
threads of the transfer process.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from tapectl.errors import ExitCode, TapectlError
from tapectl.units import GIB

COMPOSED_SOURCES_MAX = 1000
COMPOSED_BYTES_MAX = 1024 * GIB
"""What `compose` takes: no S3 object may have more than 10,000 parts or 5 TiB."""


class StorageClass(enum.StrEnum):
    """Storage classes of S3 that tapes use."""

    STANDARD = "STANDARD"
    GLACIER = "GLACIER"
    DEEP_ARCHIVE = "DEEP_ARCHIVE"


class RetrievalTier(enum.StrEnum):
    """S3 RestoreObject tiers."""

    EXPEDITED = "Expedited"
    STANDARD = "Standard"
    BULK = "Bulk"


class RestoreState(enum.Enum):
    """Whether an archived object can be read."""

    READABLE = "readable"  # not archived at all, or the store keeps archived objects readable
    ARCHIVED = "archived"
    IN_PROGRESS = "in progress"
    RESTORED = "restored"


class RetentionMode(enum.StrEnum):
    """Modes of S3 Object Lock: who may lift a retention before its date."""

    GOVERNANCE = "GOVERNANCE"  # whoever has the permission to bypass it
    COMPLIANCE = "COMPLIANCE"  # nobody


class SSEAlgorithm(enum.StrEnum):
    """Server-side encryption of S3."""

    AES256 = "AES256"  # keys of the store: SSE-S3
    AWS_KMS = "aws:kms"  # keys of a key management service: SSE-KMS


@dataclass(frozen=True, slots=True)
class Retention:
    """An object cannot be deleted until this time, in ms since 1970."""

    mode: RetentionMode
    until_ms: int


@dataclass(frozen=True, slots=True)
class Encryption:
    """How an object is encrypted where it is stored. `kms_key` names the key of SSE-KMS; None: the
    default one of the store."""

    algorithm: SSEAlgorithm
    kms_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PutOptions:
    """What a new object is to be, however it comes about: put, copied or composed.

    `tags` are object tags, at most ten; a store that knows none leaves them out. `encryption` None
    leaves it to the store.
    """

    storage_class: StorageClass = StorageClass.STANDARD
    encryption: Encryption | None = None
    tags: tuple[tuple[str, str], ...] = ()


PLAIN = PutOptions()


@dataclass(frozen=True, slots=True)
class Source:
    """An object that becomes part of a composed one, whole: it has `size_bytes`."""

    key: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store tells of one object. `etag` changes whenever the content does.

    Of `encryption` and `retention` only `head` tells; None: none, or the store does not say.
    """

    key: str
    size_bytes: int
    etag: str
    storage_class: StorageClass = StorageClass.STANDARD
    restore_state: RestoreState = RestoreState.READABLE
    restored_until_ms: int | None = None
    encryption: Encryption | None = None
    retention: Retention | None = None


class StoreError(TapectlError):
    """The store refused or failed. `retryable` errors may pass by themselves."""

    exit_code = ExitCode.STORE_UNREACHABLE
    code = "store_unreachable"
    aws_code = "ServiceUnavailable"
    retryable = True


class ObjectNotFoundError(StoreError):
    """No object has this key."""

    exit_code = ExitCode.STORE_NOT_FOUND
    code = "object_not_found"
    aws_code = "StorageFailure"
    retryable = False


class BucketNotFoundError(StoreError):
    """The bucket or directory does not exist."""

    exit_code = ExitCode.STORE_NOT_FOUND
    code = "bucket_not_found"
    aws_code = "InvalidParameters"
    retryable = False


class StoreDeniedError(StoreError):
    """The credentials do not allow it."""

    exit_code = ExitCode.STORE_DENIED
    code = "store_denied"
    aws_code = "UnauthorizedOperation"
    retryable = False


class StoreCredentialsError(StoreError):
    """No credentials, or the store does not know them."""

    exit_code = ExitCode.STORE_CREDENTIALS
    code = "store_credentials"
    aws_code = "AuthenticationFailure"
    retryable = False


class StoreRegionError(StoreError):
    """The bucket is in another region."""

    exit_code = ExitCode.STORE_REGION
    code = "store_region"
    aws_code = "RegionInvalid"
    retryable = False


class StoreAddressError(StoreError):
    """The address of the store's server is none."""

    exit_code = ExitCode.USAGE
    code = "store_address"
    aws_code = "InvalidParameters"
    retryable = False


class PreconditionFailedError(StoreError):
    """A conditional write found another object than it asked for."""

    exit_code = ExitCode.STORE_CONFLICT
    code = "store_conflict"
    aws_code = "OperationAborted"
    retryable = False


class ObjectArchivedError(StoreError):
    """The object is in an archive class and has not been restored."""

    code = "object_archived"
    aws_code = "OperationAborted"
    retryable = False


class ObjectLockedError(StoreError):
    """The object is under a retention (or a legal hold) that forbids it."""

    exit_code = ExitCode.TAPE_LOCKED
    code = "object_locked"
    aws_code = "OperationAborted"
    retryable = False


class StoreDataError(StoreError):
    """The store returned other bytes than were put."""

    exit_code = ExitCode.STORE_DATA
    code = "store_data"
    aws_code = "StorageFailure"
    retryable = False


class StoreRefusedError(StoreError):
    """The store does not accept the request, and would not the next time either."""

    exit_code = ExitCode.STORE_DENIED
    code = "store_refused"
    aws_code = "ServiceUnavailable"
    retryable = False


def wrong_size(source: Source, found_bytes: int) -> StoreDataError:
    """Return the error of a source that is not as long as it should be."""
    return StoreDataError(f"object has {found_bytes} bytes, not {source.size_bytes}: {source.key}")


OF_ONE_OBJECT = (
    ObjectArchivedError,
    ObjectLockedError,
    ObjectNotFoundError,
    PreconditionFailedError,
    StoreDataError,
    StoreRefusedError,
)
"""What a store says of one object; any other error would meet the next object as well."""


class ObjectStore(Protocol):
    """Keys are printable ASCII without blanks, `/` between parts, no leading or trailing `/`; no
    part is empty or begins with a dot, and no key is the folder of another (`a` beside `a/b`)."""

    def check(self) -> None:
        """Raise the StoreError that says why the store cannot be used; write nothing."""
        ...

    def put(
        self,
        key: str,
        body: bytes | bytearray | memoryview | BinaryIO,
        *,
        options: PutOptions = PLAIN,
    ) -> ObjectInfo:
        """Store an object, atomically: afterwards `get` yields exactly these bytes; if it raises,
        the key holds its old object or none. The server checks a CRC where it can.

        A store without encryption raises StoreRefusedError when it is asked for. Where the key is
        under a retention, the store keeps the old object as an older version or raises
        ObjectLockedError."""
        ...

    def put_if_absent(self, key: str, body: bytes, *, options: PutOptions = PLAIN) -> ObjectInfo:
        """As `put`, but raise PreconditionFailedError if the key exists; of many, one wins."""
        ...

    def put_if_match(
        self, key: str, body: bytes, *, etag: str, options: PutOptions = PLAIN
    ) -> ObjectInfo:
        """As `put`, but raise PreconditionFailedError unless the key holds the object `etag`. A
        retention does not stand in the way; the old object's lasts."""
        ...

    def get(self, key: str, *, offset: int = 0, size_bytes: int | None = None) -> bytes:
        """Return the object, or the part of it from `offset` on, at most `size_bytes` long.

        Raises ObjectNotFoundError, ObjectArchivedError.
        """
        ...

    def head(self, key: str) -> ObjectInfo:
        """Return facts about one object; raise ObjectNotFoundError."""
        ...

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield every object whose key starts with `prefix`; those of one folder in order of keys.

        Only `head` tells how far the restore of an archived object is.
        """
        ...

    def delete(self, key: str, *, bypass_governance: bool = False) -> None:
        """Delete an object for good, older versions of it too; no error if there is none.

        Raises ObjectLockedError, having changed nothing that `get` shows, if a retention forbids it
        that is not of GOVERNANCE and to be bypassed.
        """
        ...

    def copy(self, source: str, destination: str, *, options: PutOptions = PLAIN) -> ObjectInfo:
        """Copy on the server's side, into another storage class, also an object onto itself.
        Raises ObjectNotFoundError, ObjectArchivedError (the source is archived)."""
        ...

    def unfinished_puts(self, prefix: str) -> Iterator[str]:
        """Yield the keys of puts that were cut off and have left something no listing shows, with
        which the next put of the key goes on; none where puts leave nothing."""
        ...

    def abandon_put(self, key: str) -> None:
        """Let go of what puts of this key have left that were cut off; no error if it is nothing.
        Nobody may be putting it."""
        ...

    def compose(
        self, sources: Sequence[Source], destination: str, *, options: PutOptions = PLAIN
    ) -> ObjectInfo:
        """Make one object of 1 to COMPOSED_SOURCES_MAX others, up to COMPOSED_BYTES_MAX, one after
        the other, on the server's side but for what is very small. Atomic as `put` is; sources
        stay, and none of them may be the destination.

        Raises ObjectNotFoundError, ObjectArchivedError (a source is archived), StoreDataError (a
        source has not the size it should have).
        """
        ...

    def check_locks(self) -> None:
        """Raise StoreRefusedError, saying why, if objects cannot be locked here; write nothing."""
        ...

    def lock(
        self, key: str, retention: Retention | None, *, bypass_governance: bool = False
    ) -> None:
        """Put an object under a retention, or with None under none, from which on it cannot be
        deleted until then.

        Raises ObjectNotFoundError, and ObjectLockedError if the object is under one that would
        become shorter or weaker, unless that is of GOVERNANCE and to be bypassed.
        """
        ...

    def restore(self, key: str, *, tier: RetrievalTier, days: int) -> RestoreState:
        """Ask for a readable copy of an archived object for `days`; extend it if there is one.

        Idempotent: a request in progress is no error. Returns the state afterwards; READABLE where
        the store keeps archived objects readable and knows no restore.
        """
        ...
