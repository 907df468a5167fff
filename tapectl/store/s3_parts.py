"""Objects that go to S3 in parts: a put that was broken off goes on with the parts that are there.

Also with those that an earlier process has left, as far as the server lists them. A part counts
as there if its checksum says that it holds the bytes that would be sent.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from tapectl.store.interface import (
    ObjectNotFoundError,
    StoreDeniedError,
    StoreError,
    StoreRefusedError,
)
from tapectl.store.s3_body import body_of
from tapectl.store.s3_checksums import crc32c_text, is_same, require_same
from tapectl.store.s3_errors import error_code, status_code, store_errors
from tapectl.units import MIB

# Of bodies that could go in one request too, and of larger ones, of which S3 takes 10,000 parts at
# most. The same for each try of a body, so that parts meet; some servers want them all alike.
SMALL_PART_BYTES = 8 * MIB
LARGE_PART_BYTES = 32 * MIB
_UNKNOWN_REQUEST = 501
# The upload has been aborted or completed, or a part of it is not what it was.
_GONE = frozenset({"NoSuchUpload", "InvalidPart", "InvalidPartOrder"})


@dataclass(frozen=True, slots=True)
class _Upload:
    """An upload that has begun, and the request that began it.

    What another process has asked for nobody can see: only a plain put goes on with its upload.
    """

    id: str
    request: dict[str, Any]


class MultipartUploads:
    """Those below `prefix` in a bucket. Thread-safe, but for two puts of one name at a time.

    What is remembered of a name goes with its put, so it is as much as waits to be put.
    """

    def __init__(self, clients: Callable[[], Any], bucket: str, prefix: str) -> None:
        self._clients = clients
        self._bucket = bucket
        self._prefix = prefix
        self._lock = threading.Lock()
        self._listed = False
        self._begun: dict[str, _Upload] = {}
        self._expected: set[str] = set()

    def expect(self, name: str) -> None:
        """A put in one request was broken off: the next one shall go in parts."""
        with self._lock:
            self._expected.add(name)

    def wanted(self, name: str) -> bool:
        """Whether the next put of this name is to go in parts, or has begun to."""
        self._list_once()
        with self._lock:
            return name in self._expected or name in self._begun

    def put(self, name: str, pieces: Iterable[bytes], request: dict[str, Any]) -> dict[str, Any]:
        """Put an object and return the answer to CompleteMultipartUpload.

        `request` is what CreateMultipartUpload takes. Raises StoreError, ClientError.
        """
        upload, there = self._begin(name, request)
        where = {"Bucket": self._bucket, "Key": name, "UploadId": upload.id}
        client = self._clients()
        parts: list[dict[str, Any]] = []
        try:
            for number, piece in enumerate(pieces, 1):
                crc32c = crc32c_text(piece)
                found = there.get(number)
                if found is None or not _holds(found, piece, crc32c):
                    found = client.upload_part(
                        **where, PartNumber=number, Body=body_of(piece), ChecksumCRC32C=crc32c
                    )
                    require_same(found, piece, crc32c, f"part {number} of {name}")
                part = {"PartNumber": number, "ETag": found["ETag"], "ChecksumCRC32C": crc32c}
                parts.append(part)
            answer: dict[str, Any] = client.complete_multipart_upload(
                **where, MultipartUpload={"Parts": parts}
            )
        except ClientError as error:
            if error_code(error) in _GONE:
                with self._lock:
                    self._begun.pop(name, None)
                raise StoreError(f"upload in parts is gone and begins anew: {name}") from error
            raise
        self._forget(name)
        return answer

    def unfinished(self, prefix: str) -> Iterator[str]:
        """Yield the names of uploads that are not finished, as the server lists them now."""
        for name, _ in self._list(prefix):
            yield name

    def abort(self, name: str) -> None:
        """Abort every upload of a name; no error if there is none."""
        upload_ids = [upload_id for found, upload_id in self._list(name) if found == name]
        for upload_id in upload_ids:
            with store_errors(f"s3://{self._bucket}/{name}"):
                self._abort(name, upload_id)
        self._forget(name)

    def _begin(
        self, name: str, request: dict[str, Any]
    ) -> tuple[_Upload, dict[int, dict[str, Any]]]:
        """Return the upload to go on with, and its parts by number; a new one if there is none."""
        self._list_once()
        with self._lock:
            upload = self._begun.get(name)
        if upload is not None and upload.request == request:
            there = self._parts(name, upload.id)
            if there is not None:
                return upload, there
        answer = self._clients().create_multipart_upload(
            Bucket=self._bucket, Key=name, ChecksumAlgorithm="CRC32C", **request
        )
        upload = _Upload(answer["UploadId"], request)
        with self._lock:
            self._begun[name] = upload
        return upload, {}

    def _abort(self, name: str, upload_id: str) -> None:
        try:
            self._clients().abort_multipart_upload(
                Bucket=self._bucket, Key=name, UploadId=upload_id
            )
        except ClientError as error:
            if error_code(error) != "NoSuchUpload":
                raise

    def _parts(self, name: str, upload_id: str) -> dict[int, dict[str, Any]] | None:
        """Return the parts that are there by number, none of them where the server does not list
        them; None if the upload is gone."""
        pages = self._clients().get_paginator("list_parts")
        try:
            return {
                part["PartNumber"]: part
                for page in pages.paginate(Bucket=self._bucket, Key=name, UploadId=upload_id)
                for part in page.get("Parts", ())
            }
        except ClientError as error:
            if error_code(error) in _GONE:
                return None
            if status_code(error) >= 500 and status_code(error) != _UNKNOWN_REQUEST:
                raise
            return {}

    def _list_once(self) -> None:
        """Learn what earlier processes have left."""
        with self._lock:
            if self._listed:
                return
        found = {name: _Upload(upload_id, {}) for name, upload_id in self._list(self._prefix)}
        with self._lock:
            self._begun = found | self._begun
            self._listed = True

    def _list(self, prefix: str) -> Iterator[tuple[str, str]]:
        """Yield name and id of the uploads that the server lists; none where it lists none."""
        try:
            with store_errors(f"s3://{self._bucket}/{prefix}"):
                pages = self._clients().get_paginator("list_multipart_uploads")
                for page in pages.paginate(Bucket=self._bucket, Prefix=prefix):
                    for entry in page.get("Uploads", ()):
                        yield entry["Key"], entry["UploadId"]
        except (ObjectNotFoundError, StoreDeniedError, StoreRefusedError):
            return

    def _forget(self, name: str) -> None:
        with self._lock:
            self._begun.pop(name, None)
            self._expected.discard(name)


def _holds(part: dict[str, Any], piece: bytes, crc32c: str) -> bool:
    return part["Size"] == len(piece) and is_same(part, piece, crc32c) is True
