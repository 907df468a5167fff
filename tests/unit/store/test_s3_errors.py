"""What botocore raises becomes an error a user can act on, with its exit code."""

from __future__ import annotations

from typing import Any

import pytest
from botocore import exceptions as botocore_errors
from botocore.exceptions import ClientError
from botocore.hooks import HierarchicalEmitter

from tapectl.errors import ExitCode
from tapectl.store.interface import (
    BucketNotFoundError,
    ObjectArchivedError,
    ObjectNotFoundError,
    PreconditionFailedError,
    PutOptions,
    RestoreState,
    RetrievalTier,
    StorageClass,
    StoreAddressError,
    StoreCredentialsError,
    StoreDeniedError,
    StoreError,
    StoreRefusedError,
    StoreRegionError,
)
from tapectl.store.s3 import S3Store
from tapectl.store.s3_client import S3Clients
from tapectl.store.s3_errors import store_errors


def answer(code: str, status: int) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": "what the\nserver said"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "AnyOperation")


@pytest.mark.parametrize(
    ("error", "expected", "retryable"),
    [
        (answer("NoSuchKey", 404), ObjectNotFoundError, False),
        (answer("404", 404), ObjectNotFoundError, False),
        (answer("NoSuchBucket", 404), BucketNotFoundError, False),
        (answer("AccessDenied", 403), StoreDeniedError, False),
        (answer("403", 403), StoreDeniedError, False),
        (answer("InvalidAccessKeyId", 403), StoreCredentialsError, False),
        (answer("SignatureDoesNotMatch", 403), StoreCredentialsError, False),
        (answer("ExpiredToken", 400), StoreCredentialsError, False),
        (answer("RequestTimeTooSkewed", 403), StoreCredentialsError, False),
        (answer("PermanentRedirect", 301), StoreRegionError, False),
        (answer("AuthorizationHeaderMalformed", 400), StoreRegionError, False),
        (answer("PreconditionFailed", 412), PreconditionFailedError, False),
        (answer("ConditionalRequestConflict", 409), StoreError, True),
        (answer("InvalidObjectState", 403), ObjectArchivedError, False),
        (answer("SlowDown", 503), StoreError, True),
        (answer("InternalError", 500), StoreError, True),
        (answer("RequestTimeout", 400), StoreError, True),
        (answer("BadDigest", 400), StoreError, True),
        (answer("InvalidArgument", 400), StoreRefusedError, False),
        (answer("MethodNotAllowed", 405), StoreRefusedError, False),
        (answer("NotImplemented", 501), StoreRefusedError, False),
        (botocore_errors.NoCredentialsError(), StoreCredentialsError, False),
        (botocore_errors.NoRegionError(), StoreRegionError, False),
        (botocore_errors.EndpointConnectionError(endpoint_url="u"), StoreError, True),
        (botocore_errors.ConnectTimeoutError(endpoint_url="u"), StoreError, True),
        (botocore_errors.ReadTimeoutError(endpoint_url="u"), StoreError, True),
        (botocore_errors.ConnectionClosedError(endpoint_url="u"), StoreError, True),
        (botocore_errors.IncompleteReadError(actual_bytes=1, expected_bytes=2), StoreError, True),
        (botocore_errors.ParamValidationError(report="r"), StoreRefusedError, False),
        (botocore_errors.EndpointProviderError(msg="m"), StoreAddressError, False),
    ],
    ids=str,
)
def test_every_cause_has_its_error(
    error: Exception, expected: type[StoreError], retryable: bool
) -> None:
    with pytest.raises(StoreError) as caught, store_errors("s3://bucket/key"):
        raise error
    assert type(caught.value) is expected
    assert caught.value.retryable is retryable
    assert caught.value.message.endswith("s3://bucket/key")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("error", "expected", "message"),
    [
        (
            botocore_errors.ProfileNotFound(profile="p"),
            StoreCredentialsError,
            "no such profile: p",
        ),
        (
            botocore_errors.InvalidRegionError(region_name="here and there"),
            StoreRegionError,
            "no such region: here and there",
        ),
        (
            botocore_errors.ConfigParseError(path="/home/me/.aws/config"),
            StoreCredentialsError,
            "no configuration file of AWS: /home/me/.aws/config",
        ),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(error: Exception, expected: type[StoreError], message: str) -> None:
    with pytest.raises(StoreError) as caught, store_errors("s3://bucket/key"):
        raise error
    assert type(caught.value) is expected
    assert caught.value.message == message


def test_a_server_that_is_not_there_is_named_without_a_password() -> None:
    url = "http://me:secret@127.0.0.1:9000/bucket?list-type=2"
    with pytest.raises(StoreError) as caught, store_errors("s3://bucket/key"):
        raise botocore_errors.EndpointConnectionError(endpoint_url=url)
    assert caught.value.hint == "check the endpoint and the network: http://127.0.0.1:9000"


def test_an_endpoint_that_is_no_url_is_said_to_be_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "127.0.0.1:9000")
    for clients in (S3Clients(endpoint_url="127.0.0.1:9000"), S3Clients(region="eu-central-1")):
        with pytest.raises(StoreAddressError, match=r"127\.0\.0\.1:9000") as caught:
            clients()
        assert caught.value.exit_code is ExitCode.USAGE
        assert caught.value.hint


def test_an_answer_without_a_code_of_its_own_names_its_status_once() -> None:
    with pytest.raises(StoreError) as caught, store_errors("s3://bucket/key"):
        raise answer("503", 503)
    assert caught.value.message == "store answered 503 (what the server said): s3://bucket/key"


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (answer("NoSuchBucket", 404), ExitCode.STORE_NOT_FOUND),
        (answer("AccessDenied", 403), ExitCode.STORE_DENIED),
        (answer("InvalidAccessKeyId", 403), ExitCode.STORE_CREDENTIALS),
        (answer("PermanentRedirect", 301), ExitCode.STORE_REGION),
        (answer("SlowDown", 503), ExitCode.STORE_UNREACHABLE),
    ],
    ids=str,
)
def test_causes_a_script_can_tell_apart(error: Exception, exit_code: ExitCode) -> None:
    with pytest.raises(StoreError) as caught, store_errors("x"):
        raise error
    assert caught.value.exit_code is exit_code


class FakeClient:
    """Answers as a server would; each operation is a value or an exception."""

    class meta:  # noqa: N801  # boto3's own name
        region_name = "eu-west-1"
        events = HierarchicalEmitter()

    def __init__(self, **answers: Any) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self._answers = answers

    def __getattr__(self, operation: str) -> Any:
        def call(**request: Any) -> Any:
            self.requests.append((operation, request))
            found = self._answers[operation]
            if isinstance(found, Exception):
                raise found
            return found

        return call


def store_of(client: FakeClient) -> S3Store:
    return S3Store("bucket", "prefix", lambda: client)


def head(**fields: Any) -> dict[str, Any]:
    return {"ContentLength": 5, "ETag": '"e"', **fields}


def test_a_bucket_of_another_region_is_named() -> None:
    bucket = {"ResponseMetadata": {"HTTPHeaders": {"x-amz-bucket-region": "us-west-2"}}}
    client = FakeClient(list_objects_v2={}, head_bucket=bucket)
    with pytest.raises(StoreRegionError, match="us-west-2") as caught:
        store_of(client).check()
    assert caught.value.hint == "give the region with --region us-west-2"


@pytest.mark.parametrize(
    ("fields", "state", "until_ms"),
    [
        ({}, RestoreState.READABLE, None),
        ({"StorageClass": "INTELLIGENT_TIERING"}, RestoreState.READABLE, None),
        ({"StorageClass": "GLACIER"}, RestoreState.ARCHIVED, None),
        (
            {"StorageClass": "GLACIER", "Restore": 'ongoing-request="true"'},
            RestoreState.IN_PROGRESS,
            None,
        ),
        (
            {
                "StorageClass": "DEEP_ARCHIVE",
                "Restore": 'ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"',
            },
            RestoreState.RESTORED,
            1_356_048_000_000,
        ),
    ],
)
def test_the_restore_header(
    fields: dict[str, str], state: RestoreState, until_ms: int | None
) -> None:
    info = store_of(FakeClient(head_object=head(**fields))).head("key")
    assert (info.restore_state, info.restored_until_ms) == (state, until_ms)


@pytest.mark.parametrize("error", [answer("MethodNotAllowed", 405), answer("NotImplemented", 501)])
def test_a_server_without_restore_keeps_archived_objects_readable(error: ClientError) -> None:
    client = FakeClient(head_object=head(StorageClass="GLACIER"), restore_object=error)
    store = store_of(client)
    assert store.head("key").restore_state is RestoreState.ARCHIVED
    state = store.restore("key", tier=RetrievalTier.BULK, days=1)
    assert state is RestoreState.READABLE
    assert store.head("key").restore_state is RestoreState.READABLE


def test_a_restore_under_way_is_no_error() -> None:
    client = FakeClient(
        head_object=head(StorageClass="GLACIER"),
        restore_object=answer("RestoreAlreadyInProgress", 409),
    )
    state = store_of(client).restore("key", tier=RetrievalTier.BULK, days=1)
    assert state is RestoreState.IN_PROGRESS


def test_a_restored_copy_is_prolonged_by_days_alone() -> None:
    restored = 'ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"'
    client = FakeClient(
        head_object=head(StorageClass="GLACIER", Restore=restored), restore_object={}
    )
    store_of(client).restore("key", tier=RetrievalTier.BULK, days=9)
    request = next(request for name, request in client.requests if name == "restore_object")
    assert request["RestoreRequest"] == {"Days": 9}


def test_a_checksum_that_comes_back_wrong_is_found() -> None:
    client = FakeClient(put_object={"ETag": '"e"', "ChecksumCRC32C": "AAAAAA=="})
    with pytest.raises(StoreError, match="other bytes") as caught:
        store_of(client).put("key", b"other bytes")
    assert caught.value.retryable


def test_a_class_is_asked_for_by_its_name() -> None:
    client = FakeClient(put_object={"ETag": '"e"'})
    info = store_of(client).put(
        "key", b"x", options=PutOptions(storage_class=StorageClass.DEEP_ARCHIVE)
    )
    assert client.requests[0][1]["StorageClass"] == "DEEP_ARCHIVE"
    assert client.requests[0][1]["Key"] == "prefix/key"
    assert info.restore_state is RestoreState.ARCHIVED
