"""An object store in a bucket of Amazon S3 or of a server that speaks its protocol.

With `s3_errors` the only module that imports boto3. Payloads are not signed
(it costs as much CPU as all the rest together); a CRC32C in the request is what the
server checks the body by.
"""

from __future__ import annotations

import base64
import io
import re
import threading
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO
from urllib.parse import urlencode

import boto3
from awscrt import checksums
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

from tapectl.store.interface import (
    PLAIN,
    Encryption,
    ObjectInfo,
    PreconditionFailedError,
    PutOptions,
    RestoreState,
    Retention,
    RetrievalTier,
    SSEAlgorithm,
    StorageClass,
    StoreDataError,
    StoreError,
    StoreRegionError,
)
from tapectl.store.keys import check_key
from tapectl.store.s3_errors import error_code, status_code, store_errors
from tapectl.store.s3_versions import VersionedBucket, retention_of
from tapectl.store.traffic import Traffic
from tapectl.units import MIB

# Larger bodies go in parts, so that a broken connection repeats one part and not all of it.
MULTIPART_BYTES = 128 * MIB
_PART_BYTES = 32 * MIB
_PART_THREADS = 4
_CONNECT_TIMEOUT_S = 10
# Of one read of the socket, not of a whole request.
_READ_TIMEOUT_S = 60
# Within one call; whoever waits longer does it in RetryingStore, where it can be stopped.
_ATTEMPTS = 3
_CONNECTIONS = 32
_READ_BYTES = 4 * MIB
_EXPIRY = re.compile(r'expiry-date="([^"]*)"')
_NO_RESTORE = frozenset({405, 501})


class S3Store:
    """See store.interface.ObjectStore; keys stand below `prefix` in `bucket`.

    `client_factory` makes the boto3 client at first use; threads share it.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str,
        client_factory: Callable[[], Any],
        *,
        traffic: Traffic | None = None,
    ) -> None:
        self._bucket = bucket
        self._traffic = traffic or Traffic()
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._client_factory = client_factory
        self._made_client: Any = None
        self._lock = threading.Lock()
        # Learnt from its first answer: some servers keep the archive classes readable.
        self._knows_restore = True
        # Whether the bucket keeps versions; None until somebody deletes.
        self._keeps_versions: bool | None = None

    @classmethod
    def connect(
        cls,
        bucket: str,
        prefix: str = "",
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        profile: str | None = None,
        traffic: Traffic | None = None,
    ) -> S3Store:
        """Return a store with credentials from boto3's usual places; reaches nothing yet."""

        def make_client() -> Any:
            session = boto3.Session(profile_name=profile)
            config = Config(
                connect_timeout=_CONNECT_TIMEOUT_S,
                read_timeout=_READ_TIMEOUT_S,
                max_pool_connections=_CONNECTIONS,
                retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                # Bucket names in the path need no DNS of the server's own.
                s3={
                    "payload_signing_enabled": False,
                    "addressing_style": "path" if endpoint_url else "auto",
                },
            )
            return session.client(
                "s3",
                # An endpoint of one's own has no regions, but signatures name one.
                region_name=region
                or session.region_name
                or ("us-east-1" if endpoint_url else None),
                endpoint_url=endpoint_url,
                config=config,
            )

        return cls(bucket, prefix, make_client, traffic=traffic)

    def check(self) -> None:
        where = f"s3://{self._bucket}/{self._prefix}"
        with store_errors(where):
            # A listing first: an answer to HEAD has no body that tells one 403 from another.
            self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)
            # HEAD names the bucket's region on every server that has regions.
            answer = self._client.head_bucket(Bucket=self._bucket)
            region = answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region")
            ours = self._client.meta.region_name
        if region and ours and region != ours:
            raise StoreRegionError(
                f"bucket is in {region}, not in {ours}: {where}",
                hint=f"give the region with --region {region}",
            )

    def put(
        self,
        key: str,
        body: bytes | bytearray | memoryview | BinaryIO,
        *,
        options: PutOptions = PLAIN,
    ) -> ObjectInfo:
        if isinstance(body, bytes | bytearray | memoryview):
            if len(body) <= MULTIPART_BYTES:
                whole = bytes(body) if isinstance(body, memoryview) else body
                return self._put_bytes(key, whole, options)
            body = io.BytesIO(body)
        start = body.tell()
        size_bytes = body.seek(0, 2) - start
        body.seek(start)
        if size_bytes <= MULTIPART_BYTES:
            return self._put_bytes(key, body.read(), options)
        return self._put_parts(key, body, size_bytes, options)

    def put_if_absent(self, key: str, body: bytes, *, options: PutOptions = PLAIN) -> ObjectInfo:
        return self._put_bytes(key, body, options, IfNoneMatch="*")

    def put_if_match(
        self, key: str, body: bytes, *, etag: str, options: PutOptions = PLAIN
    ) -> ObjectInfo:
        try:
            return self._put_bytes(key, body, options, IfMatch=f'"{etag}"')
        except StoreError as error:
            # Amazon answers 404 where there is no object to match.
            if error.code == "object_not_found":
                raise PreconditionFailedError(error.message) from error
            raise

    def get(self, key: str, *, offset: int = 0, size_bytes: int | None = None) -> bytes:
        if size_bytes == 0:
            self.head(key)
            return b""
        options = {}
        if offset or size_bytes is not None:
            end = "" if size_bytes is None else str(offset + size_bytes - 1)
            options["Range"] = f"bytes={offset}-{end}"
        with store_errors(self._where(key)):
            try:
                answer = self._client.get_object(
                    Bucket=self._bucket, Key=self._name(key), **options
                )
            except ClientError as error:
                if status_code(error) == 416:  # nothing at or after the offset
                    return b""
                raise
            expected = int(answer["ContentLength"])
            content = bytearray()
            with answer["Body"] as stream:
                down = self._traffic.down
                while piece := stream.read(down.piece_bytes(_READ_BYTES)):
                    content += piece
                    down.take(len(piece))
        if len(content) != expected:
            raise StoreError(f"connection closed in the middle: {self._where(key)}")
        # A server that does not know ranges sends it all.
        if options and answer["ResponseMetadata"]["HTTPStatusCode"] == 200:
            end_bytes = None if size_bytes is None else offset + size_bytes
            return bytes(content[offset:end_bytes])
        return bytes(content)

    def head(self, key: str) -> ObjectInfo:
        with store_errors(self._where(key)):
            answer = self._client.head_object(Bucket=self._bucket, Key=self._name(key))
        storage_class = _storage_class(answer.get("StorageClass"))
        state, until_ms = self._restore_state(storage_class, answer.get("Restore"))
        return ObjectInfo(
            key=key,
            size_bytes=int(answer["ContentLength"]),
            etag=answer["ETag"].strip('"'),
            storage_class=storage_class,
            restore_state=state,
            restored_until_ms=until_ms,
            encryption=_encryption(answer),
            retention=retention_of(answer),
        )

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        with store_errors(self._where(prefix)):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            for page in pages:
                for entry in page.get("Contents", ()):
                    storage_class = _storage_class(entry.get("StorageClass"))
                    yield ObjectInfo(
                        key=entry["Key"][len(self._prefix) :],
                        size_bytes=int(entry["Size"]),
                        etag=entry["ETag"].strip('"'),
                        storage_class=storage_class,
                        restore_state=self._restore_state(storage_class, None)[0],
                    )

    def delete(self, key: str, *, bypass_governance: bool = False) -> None:
        name, versions = self._name(key), self._versions
        if self._keeps_versions is None:
            self._keeps_versions = versions.keeps_versions()
        with store_errors(self._where(key)):
            if not self._keeps_versions:
                answer = self._client.delete_object(Bucket=self._bucket, Key=name)
                # Versioning may have been turned on since, or be hidden from us.
                self._keeps_versions = bool(answer.get("DeleteMarker"))
            if self._keeps_versions:
                versions.delete_versions(name, bypass_governance=bypass_governance)

    def copy(self, source: str, destination: str, *, options: PutOptions = PLAIN) -> ObjectInfo:
        request = {"StorageClass": options.storage_class.value, **_put_request(options)}
        if options.tags:
            request["TaggingDirective"] = "REPLACE"
        with store_errors(self._where(source)):
            answer = self._client.copy_object(
                Bucket=self._bucket,
                Key=self._name(destination),
                CopySource={"Bucket": self._bucket, "Key": self._name(source)},
                **request,
            )
            if source == destination and (version := answer.get("VersionId")):
                # It has replaced itself; what it was would stay as an older version.
                self._versions.delete_versions(
                    self._name(source), bypass_governance=False, keep=version
                )
        return self.head(destination)

    def check_locks(self) -> None:
        self._versions.check_locks()

    def lock(
        self, key: str, retention: Retention | None, *, bypass_governance: bool = False
    ) -> None:
        self._versions.lock(self._name(key), retention, bypass_governance=bypass_governance)

    def restore(self, key: str, *, tier: RetrievalTier, days: int) -> RestoreState:
        before = self.head(key)
        if before.restore_state in (RestoreState.READABLE, RestoreState.IN_PROGRESS):
            return before.restore_state
        request: dict[str, Any] = {"Days": days}
        # Only Days may be given to prolong a restore.
        if before.restore_state is RestoreState.ARCHIVED:
            request["GlacierJobParameters"] = {"Tier": tier.value}
        with store_errors(self._where(key)):
            try:
                self._client.restore_object(
                    Bucket=self._bucket, Key=self._name(key), RestoreRequest=request
                )
            except ClientError as error:
                if status_code(error) in _NO_RESTORE or error_code(error) == "MethodNotAllowed":
                    self._knows_restore = False
                    return RestoreState.READABLE
                if error_code(error) == "RestoreAlreadyInProgress":
                    return RestoreState.IN_PROGRESS
                raise
        return self.head(key).restore_state

    @property
    def _client(self) -> Any:
        with self._lock:
            if self._made_client is None:
                self._made_client = self._client_factory()
                # The last moment before a body goes: hashing and signing have read it, too.
                self._made_client.meta.events.register("before-send.s3", self._pace_upload)
            return self._made_client

    def _pace_upload(self, request: Any, **_: object) -> None:
        if request.body:
            request.body = self._traffic.up.wrap(request.body)

    @property
    def _versions(self) -> VersionedBucket:
        return VersionedBucket(self._client, self._bucket)

    def _name(self, key: str) -> str:
        return self._prefix + check_key(key)

    def _where(self, key: str) -> str:
        return f"s3://{self._bucket}/{self._prefix}{key}"

    def _put_bytes(
        self, key: str, body: bytes | bytearray, options: PutOptions, **conditions: str
    ) -> ObjectInfo:
        checksum = base64.b64encode(checksums.crc32c(body).to_bytes(4, "big")).decode()
        with store_errors(self._where(key)):
            # The value itself, not only the algorithm: boto3 would else send it as a trailer over
            # TLS, which several servers refuse or store as part of the object.
            answer = self._client.put_object(
                Bucket=self._bucket,
                Key=self._name(key),
                Body=body,
                ChecksumCRC32C=checksum,
                **conditions,
                **_put_request(options),
            )
        if answer.get("ChecksumCRC32C", checksum) != checksum:
            raise StoreDataError(f"store has other bytes than were sent: {self._where(key)}")
        return ObjectInfo(
            key=key,
            size_bytes=len(body),
            etag=answer["ETag"].strip('"'),
            storage_class=options.storage_class,
            restore_state=self._restore_state(options.storage_class, None)[0],
            encryption=_encryption(answer),
        )

    def _put_parts(
        self, key: str, body: BinaryIO, size_bytes: int, options: PutOptions
    ) -> ObjectInfo:
        transfer = TransferConfig(
            multipart_threshold=_PART_BYTES,
            multipart_chunksize=_PART_BYTES,
            max_concurrency=_PART_THREADS,
        )
        with store_errors(self._where(key)):
            self._client.upload_fileobj(
                _Unclosed(body),
                self._bucket,
                self._name(key),
                ExtraArgs={"ChecksumAlgorithm": "CRC32C", **_put_request(options)},
                Config=transfer,
            )
        info = self.head(key)
        if info.size_bytes != size_bytes:
            raise StoreDataError(f"store has other bytes than were sent: {self._where(key)}")
        return info

    def _restore_state(
        self, storage_class: StorageClass, header: str | None
    ) -> tuple[RestoreState, int | None]:
        """Read the x-amz-restore header: ongoing-request="false", expiry-date="<HTTP date>"."""
        if storage_class is StorageClass.STANDARD or not self._knows_restore:
            return RestoreState.READABLE, None
        if header is None:
            return RestoreState.ARCHIVED, None
        if 'ongoing-request="true"' in header:
            return RestoreState.IN_PROGRESS, None
        expiry = _EXPIRY.search(header)
        if expiry is None:
            return RestoreState.RESTORED, None
        return (
            RestoreState.RESTORED,
            round(parsedate_to_datetime(expiry.group(1)).timestamp() * 1000),
        )


class _Unclosed:
    """A file that s3transfer may not close: a retry has to read it again."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size_bytes: int = -1) -> bytes:
        return self._file.read(size_bytes)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _put_request(options: PutOptions) -> dict[str, Any]:
    """Return the options as PutObject, CopyObject and CreateMultipartUpload take them."""
    request: dict[str, Any] = {}
    if options.storage_class is not StorageClass.STANDARD:
        request["StorageClass"] = options.storage_class.value
    if options.encryption is not None:
        request["ServerSideEncryption"] = options.encryption.algorithm.value
        if options.encryption.kms_key is not None:
            request["SSEKMSKeyId"] = options.encryption.kms_key
    if options.tags:
        request["Tagging"] = urlencode(options.tags)
    return request


def _encryption(answer: dict[str, Any]) -> Encryption | None:
    name = answer.get("ServerSideEncryption")
    if name not in (SSEAlgorithm.AES256.value, SSEAlgorithm.AWS_KMS.value):
        return None
    return Encryption(SSEAlgorithm(name), answer.get("SSEKMSKeyId"))


def _storage_class(name: object) -> StorageClass:
    """Return the class; those that read as STANDARD does (INTELLIGENT_TIERING ...) count as it."""
    for archived in (StorageClass.GLACIER, StorageClass.DEEP_ARCHIVE):
        if name == archived.value:
            return archived
    return StorageClass.STANDARD
