"""An object store in a bucket of Amazon S3 or of a server that speaks its protocol.

With its neighbours `s3_*` the only module that imports boto3. Payloads are not signed
(it costs as much CPU as all the rest together); a CRC32C in the request is what the
server checks the body by.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO
from urllib.parse import urlencode

from botocore.exceptions import ClientError

from tapectl.store.compose_plan import PART_BYTES_MAX
from tapectl.store.interface import (
    PLAIN,
    Encryption,
    ObjectInfo,
    PreconditionFailedError,
    PutOptions,
    RestoreState,
    Retention,
    RetrievalTier,
    Source,
    SSEAlgorithm,
    StorageClass,
    StoreDataError,
    StoreError,
    StoreRegionError,
)
from tapectl.store.keys import check_key
from tapectl.store.s3_body import body_of
from tapectl.store.s3_checksums import crc32c_text, require_same
from tapectl.store.s3_compose import Composer
from tapectl.store.s3_errors import error_code, status_code, store_errors
from tapectl.store.s3_parts import LARGE_PART_BYTES, SMALL_PART_BYTES, MultipartUploads
from tapectl.store.s3_reading import ByteRange, read_range, read_whole
from tapectl.store.s3_versions import VersionedBucket, retention_of
from tapectl.store.traffic import Traffic
from tapectl.units import MIB

# The largest body of one request, unless that was broken off: then it goes in parts.
MULTIPART_BYTES = 128 * MIB
# What S3 copies in one request, as much as in one part.
COPY_BYTES_MAX = PART_BYTES_MAX
_EXPIRY = re.compile(r'expiry-date="([^"]*)"')
_NO_RESTORE = frozenset({405, 501})


class S3Store:
    """See store.interface.ObjectStore; keys stand below `prefix` in `bucket`.

    `clients` returns the boto3 client to use (see `s3_client`).
    """

    def __init__(
        self,
        bucket: str,
        prefix: str,
        clients: Callable[[], Any],
        *,
        traffic: Traffic | None = None,
    ) -> None:
        self._bucket = bucket
        self._traffic = traffic or Traffic()
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._clients = clients
        self._uploads = MultipartUploads(clients, bucket, self._prefix)
        # Learnt from its first answer: some servers keep the archive classes readable.
        self._knows_restore = True
        # Whether the bucket keeps versions; None until somebody deletes.
        self._keeps_versions: bool | None = None

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
            return self._put(key, bytes(body) if isinstance(body, memoryview) else body, options)
        start = body.tell()
        size_bytes = body.seek(0, 2) - start
        body.seek(start)
        if size_bytes <= MULTIPART_BYTES:
            return self._put(key, body.read(), options)
        pieces = iter(lambda: body.read(LARGE_PART_BYTES), b"")
        return self._put_parts(key, pieces, size_bytes, options)

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
            client, name, down = self._client, self._name(key), self._traffic.down
            if not offset and size_bytes is None:
                return read_whole(client, self._bucket, name, down)
            part = ByteRange(offset, size_bytes)
            return read_range(client, self._bucket, name, part, down)

    def head(self, key: str) -> ObjectInfo:
        with store_errors(self._where(key)):
            answer = self._head(self._name(key))
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
        # Before and not after: some servers do not show for a while what is new.
        info = self.head(source)
        if info.size_bytes > COPY_BYTES_MAX:
            made, version = self._compose([Source(source, info.size_bytes)], destination, options)
        else:
            made, version = self._copy(info, destination, options)
        if source == destination and version:
            # It has replaced itself; what it was would stay as an older version.
            with store_errors(self._where(source)):
                self._versions.delete_versions(
                    self._name(source), bypass_governance=False, keep=version
                )
        return made

    def _copy(
        self, source: ObjectInfo, destination: str, options: PutOptions
    ) -> tuple[ObjectInfo, str | None]:
        """Copy in one request; return the copy, and its version if the bucket has versions."""
        request = {"StorageClass": options.storage_class.value, **_put_request(options)}
        if options.tags:
            request["TaggingDirective"] = "REPLACE"
        if source.key == destination:
            # Servers refuse a copy onto itself that they think changes nothing; we put no metadata.
            request["MetadataDirective"] = "REPLACE"
        with store_errors(self._where(source.key)):
            answer = self._client.copy_object(
                Bucket=self._bucket,
                Key=self._name(destination),
                CopySource={"Bucket": self._bucket, "Key": self._name(source.key)},
                **request,
            )
        copied = replace(
            source,
            key=destination,
            etag=answer["CopyObjectResult"]["ETag"].strip('"'),
            storage_class=options.storage_class,
            restore_state=self._restore_state(options.storage_class, None)[0],
            restored_until_ms=None,
            encryption=_encryption(answer),
            retention=None,
        )
        return copied, answer.get("VersionId")

    def unfinished_puts(self, prefix: str) -> Iterator[str]:
        for name in self._uploads.unfinished(self._prefix + prefix):
            yield name[len(self._prefix) :]

    def abandon_put(self, key: str) -> None:
        self._uploads.abort(self._name(key))

    def compose(
        self, sources: Sequence[Source], destination: str, *, options: PutOptions = PLAIN
    ) -> ObjectInfo:
        made, _ = self._compose(sources, destination, options)
        return made

    def _compose(
        self, sources: Sequence[Source], destination: str, options: PutOptions
    ) -> tuple[ObjectInfo, str | None]:
        """As `_copy`, of one object or more, in parts."""
        name = self._name(destination)
        named = [Source(self._name(source.key), source.size_bytes) for source in sources]
        # What one that was cut off has left costs, and no listing of objects shows it.
        self._uploads.abort(name)
        version = Composer(self._client, self._bucket).compose(named, name, _put_request(options))
        info = self.head(destination)
        if info.size_bytes != sum(source.size_bytes for source in sources):
            raise StoreDataError(
                f"store has other bytes than were copied: {self._where(destination)}"
            )
        return info, version

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
        with store_errors(self._where("")):
            return self._clients()

    @property
    def _versions(self) -> VersionedBucket:
        return VersionedBucket(self._client, self._bucket)

    def _name(self, key: str) -> str:
        return self._prefix + check_key(key)

    def _where(self, key: str) -> str:
        return f"s3://{self._bucket}/{self._prefix}{key}"

    def _head(self, name: str) -> dict[str, Any]:
        client = self._client
        try:
            answer: dict[str, Any] = client.head_object(Bucket=self._bucket, Key=name)
        except ClientError as error:
            if status_code(error) in (400, 403):
                # There is no body that says why: no permission, keys that are expired, clocks that
                # differ. A listing that is refused says it.
                client.list_objects_v2(Bucket=self._bucket, Prefix=name, MaxKeys=1)
            raise
        return answer

    def _put(self, key: str, body: bytes | bytearray, options: PutOptions) -> ObjectInfo:
        name, size_bytes = self._name(key), len(body)
        small = size_bytes <= MULTIPART_BYTES
        part_bytes = SMALL_PART_BYTES if small else LARGE_PART_BYTES
        splits = size_bytes > part_bytes
        if splits and (not small or self._uploads.wanted(name)):
            view = memoryview(body)
            starts = range(0, size_bytes, part_bytes)
            pieces = (bytes(view[start : start + part_bytes]) for start in starts)
            return self._put_parts(key, pieces, size_bytes, options)
        try:
            return self._put_bytes(key, body, options)
        except StoreError as error:
            if splits and error.retryable:
                self._uploads.expect(name)
            raise

    def _put_bytes(
        self, key: str, body: bytes | bytearray, options: PutOptions, **conditions: str
    ) -> ObjectInfo:
        crc32c = crc32c_text(body)
        with store_errors(self._where(key)):
            # The value itself, not only the algorithm: boto3 would else send it as a trailer over
            # TLS, which several servers refuse or store as part of the object.
            answer = self._client.put_object(
                Bucket=self._bucket,
                Key=self._name(key),
                Body=body_of(body),
                ChecksumCRC32C=crc32c,
                **conditions,
                **_put_request(options),
            )
        require_same(answer, body, crc32c, self._where(key))
        return self._info_of_put(key, answer, len(body), options)

    def _put_parts(
        self, key: str, pieces: Iterable[bytes], size_bytes: int, options: PutOptions
    ) -> ObjectInfo:
        with store_errors(self._where(key)):
            answer = self._uploads.put(self._name(key), pieces, _put_request(options))
        return self._info_of_put(key, answer, size_bytes, options)

    def _info_of_put(
        self, key: str, answer: dict[str, Any], size_bytes: int, options: PutOptions
    ) -> ObjectInfo:
        return ObjectInfo(
            key=key,
            size_bytes=size_bytes,
            etag=answer["ETag"].strip('"'),
            storage_class=options.storage_class,
            restore_state=self._restore_state(options.storage_class, None)[0],
            encryption=_encryption(answer),
        )

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
