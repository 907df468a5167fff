"""What botocore raises, as the errors that every store promises: a table, one line each.

Only the modules `s3*` know botocore.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from boto3.exceptions import Boto3Error
from botocore import exceptions as botocore_errors

from tapectl.store.interface import (
    BucketNotFoundError,
    ObjectArchivedError,
    ObjectNotFoundError,
    PreconditionFailedError,
    StoreAddressError,
    StoreCredentialsError,
    StoreDeniedError,
    StoreError,
    StoreRefusedError,
    StoreRegionError,
)

_KEYS_HINT = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile of ~/.aws"
_RENEW_HINT = "the keys are unknown to this store, mistyped, or have expired"
_REGION_HINT = "give the region the bucket is in with --region"
_CLOCK_HINT = "set this machine's clock"
_NETWORK_HINT = "check the endpoint and the network"
_ENDPOINT_HINT = "write it as https://s3.example.com:9000"
_CONFIG_HINT = "correct it, or name another one with AWS_CONFIG_FILE"


@dataclass(frozen=True, slots=True)
class _Meaning:
    """One row: the error to raise, what to say, and what to do about it.

    `value` is what botocore calls the value that is wrong, where it has one: the message ends with
    it then.
    """

    error: type[StoreError]
    text: str
    hint: str | None = None
    value: str | None = None


_NO_KEY = _Meaning(ObjectNotFoundError, "no such object")
_DENIED = _Meaning(StoreDeniedError, "access denied", "the keys lack a permission on this bucket")
_REGION = _Meaning(StoreRegionError, "bucket is in another region", _REGION_HINT)
_BAD_KEYS = _Meaning(StoreCredentialsError, "credentials refused", _RENEW_HINT)
_CONFLICT = _Meaning(PreconditionFailedError, "object is not the one expected")
_ARCHIVED = _Meaning(ObjectArchivedError, "object is archived")

# By S3's error code, and by status where an answer without a body (HEAD) has no code.
_CODES = {
    "NoSuchKey": _NO_KEY,
    "NotFound": _NO_KEY,
    "404": _NO_KEY,
    "NoSuchBucket": _Meaning(
        BucketNotFoundError, "no such bucket", "create the bucket, or correct its name"
    ),
    "AccessDenied": _DENIED,
    "AllAccessDisabled": _DENIED,
    "Forbidden": _DENIED,
    "403": _DENIED,
    "InvalidAccessKeyId": _BAD_KEYS,
    "SignatureDoesNotMatch": _BAD_KEYS,
    "ExpiredToken": _BAD_KEYS,
    "InvalidToken": _BAD_KEYS,
    "TokenRefreshRequired": _BAD_KEYS,
    "RequestTimeTooSkewed": _Meaning(StoreCredentialsError, "clocks differ", _CLOCK_HINT),
    "AuthorizationHeaderMalformed": _REGION,
    "PermanentRedirect": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "301": _REGION,
    "PreconditionFailed": _CONFLICT,
    "412": _CONFLICT,
    "InvalidObjectState": _ARCHIVED,
    "ObjectNotInActiveTierError": _ARCHIVED,  # the same, of the source of a copy
}

# By class, the first that fits. Every other error of botocore is one that may pass.
_CLASSES: tuple[tuple[type[Exception], _Meaning], ...] = (
    (
        botocore_errors.NoCredentialsError,
        _Meaning(StoreCredentialsError, "no credentials found", _KEYS_HINT),
    ),
    (
        botocore_errors.PartialCredentialsError,
        _Meaning(StoreCredentialsError, "credentials are incomplete", _KEYS_HINT),
    ),
    (
        botocore_errors.ProfileNotFound,
        _Meaning(StoreCredentialsError, "no such profile", _KEYS_HINT, "profile"),
    ),
    (
        botocore_errors.CredentialRetrievalError,
        _Meaning(StoreCredentialsError, "credentials cannot be fetched", _KEYS_HINT),
    ),
    (
        botocore_errors.NoRegionError,
        _Meaning(StoreRegionError, "no region is set", _REGION_HINT),
    ),
    (
        botocore_errors.InvalidRegionError,
        _Meaning(StoreRegionError, "no such region", _REGION_HINT, "region_name"),
    ),
    (
        botocore_errors.ParamValidationError,
        _Meaning(StoreRefusedError, "not a bucket or key that S3 accepts"),
    ),
    (
        botocore_errors.SSLError,
        _Meaning(StoreError, "TLS failed", "check the certificate and the endpoint's address"),
    ),
    (
        botocore_errors.ConnectionError,
        _Meaning(StoreError, "store cannot be reached", _NETWORK_HINT),
    ),
    (
        botocore_errors.HTTPClientError,
        _Meaning(StoreError, "store does not answer", _NETWORK_HINT),
    ),
    (
        botocore_errors.EndpointProviderError,
        _Meaning(StoreAddressError, "not the address of an S3 server", _ENDPOINT_HINT),
    ),
    (
        botocore_errors.ConfigParseError,
        _Meaning(StoreCredentialsError, "no configuration file of AWS", _CONFIG_HINT, "path"),
    ),
    (
        botocore_errors.ConfigNotFound,
        _Meaning(StoreCredentialsError, "no such configuration file of AWS", _CONFIG_HINT, "path"),
    ),
)


@contextmanager
def store_errors(where: str) -> Iterator[None]:
    """Raise StoreError and its kind instead of what botocore raises; `where` ends the message.

    An OSError or ValueError of the caller's body passes through.
    """
    try:
        yield
    except botocore_errors.ClientError as error:
        raise _of_answer(error, where) from error
    except botocore_errors.BotoCoreError as error:
        raise _of_class(error, where) from error
    except Boto3Error as error:
        raise StoreError(f"{_one_line(error)}: {where}") from error


def status_code(error: botocore_errors.ClientError) -> int:
    """Return the HTTP status of an answer."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def error_code(error: botocore_errors.ClientError) -> str:
    """Return S3's error code of an answer."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _of_answer(error: botocore_errors.ClientError, where: str) -> StoreError:
    code, status = error_code(error), status_code(error)
    meaning = _CODES.get(code) or (_CODES.get(str(status)) if not code.isalpha() else None)
    if meaning is not None:
        return meaning.error(f"{meaning.text}: {where}", hint=meaning.hint)
    message = _one_line(error.response.get("Error", {}).get("Message") or code)
    # An answer to HEAD has no code of its own.
    said = f"{status} {code}" if code != str(status) else f"{status}"
    # 409 is a concurrent conditional write, 408 and 429 are pace; 400 RequestTimeout is a stall.
    # 501 is of a request that the server does not know.
    failed = status >= 500 and status != 501
    passing = failed or status in (408, 409, 429) or code in _PASSING_CODES
    kind = StoreError if passing else StoreRefusedError
    return kind(f"store answered {said} ({message}): {where}")


_PASSING_CODES = frozenset(
    {"RequestTimeout", "SlowDown", "Throttling", "BadDigest", "XAmzContentChecksumMismatch"}
)


def _of_class(error: botocore_errors.BotoCoreError, where: str) -> StoreError:
    for kind, meaning in _CLASSES:
        if isinstance(error, kind):
            subject = _one_line(_value(error, meaning.value) or where)
            return meaning.error(f"{meaning.text}: {subject}", hint=_hint(error, meaning.hint))
    return StoreError(f"{_one_line(error)}: {where}")


def _value(error: botocore_errors.BotoCoreError, name: str | None) -> object:
    return error.kwargs.get(name) if name else None


def _hint(error: botocore_errors.BotoCoreError, hint: str | None) -> str | None:
    """Return the hint, with the server where it is the network's: without a path, and without the
    password that some write into an address."""
    url = _value(error, "endpoint_url")
    if hint != _NETWORK_HINT or not isinstance(url, str):
        return hint
    parts = urlsplit(url)
    return f"{hint}: {parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _one_line(value: object) -> str:
    return " ".join(str(value).split())[:200]
