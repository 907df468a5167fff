"""Objects of S3 that are made of others: a multipart upload whose parts the server copies itself.

Nothing but what is smaller than a part may be goes through this machine.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from tapectl.store.compose_plan import Part, SourceRange, plan_parts
from tapectl.store.interface import Source, StoreError, wrong_size
from tapectl.store.s3_errors import store_errors

# The server does the work; these only wait for it.
_PART_THREADS = 8


class Composer(NamedTuple):
    """A bucket and the client to reach it; keys are whole, with the store's prefix."""

    client: Any
    bucket: str

    def compose(self, sources: Sequence[Source], key: str, request: dict[str, Any]) -> str | None:
        """Make one object of the sources, and return its version if the bucket has versions.

        `request` is what CreateMultipartUpload takes besides. Raises StoreError.
        """
        self._check(sources)
        parts = plan_parts(sources)
        if not parts:
            with store_errors(self._where(key)):
                answer = self.client.put_object(Bucket=self.bucket, Key=key, Body=b"", **request)
            return _version(answer)
        with store_errors(self._where(key)):
            answer = self.client.create_multipart_upload(Bucket=self.bucket, Key=key, **request)
        upload = {"Bucket": self.bucket, "Key": key, "UploadId": answer["UploadId"]}
        try:
            done = self._copy_parts(upload, parts)
            with store_errors(self._where(key)):
                answer = self.client.complete_multipart_upload(
                    **upload, MultipartUpload={"Parts": done}
                )
        except StoreError:
            self._abort(upload)
            raise
        return _version(answer)

    def _check(self, sources: Sequence[Source]) -> None:
        """Raise the error of a source that is not there, or not as long as it should be: a range
        that ends too early would be copied without a word."""
        with ThreadPoolExecutor(_PART_THREADS) as pool:
            for source, found_bytes in zip(sources, pool.map(self._size, sources), strict=True):
                if found_bytes != source.size_bytes:
                    raise wrong_size(source, found_bytes)

    def _size(self, source: Source) -> int:
        with store_errors(self._where(source.key)):
            answer = self.client.head_object(Bucket=self.bucket, Key=source.key)
        return int(answer["ContentLength"])

    def _copy_parts(
        self, upload: dict[str, Any], parts: Sequence[Part]
    ) -> Sequence[dict[str, object]]:
        """Return what CompleteMultipartUpload wants to know of each part."""

        def make(number: int, part: Part) -> str:
            place = {**upload, "PartNumber": number}
            if len(part) > 1:
                body = b"".join(self._read(one) for one in part)
                with store_errors(self._where(upload["Key"])):
                    # The server checks it; a CRC would have to be announced for all parts.
                    md5 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest())
                    answer = self.client.upload_part(**place, Body=body, ContentMD5=md5.decode())
                return str(answer["ETag"])
            (only,) = part
            with store_errors(self._where(only.key)):
                answer = self.client.upload_part_copy(
                    **place,
                    CopySource={"Bucket": self.bucket, "Key": only.key},
                    CopySourceRange=_range(only),
                )
            return str(answer["CopyPartResult"]["ETag"])

        with ThreadPoolExecutor(_PART_THREADS) as pool:
            futures = [pool.submit(make, number, part) for number, part in enumerate(parts, 1)]
            try:
                etags = [future.result() for future in futures]
            finally:
                for future in futures:
                    future.cancel()
        return [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]

    def _read(self, part: SourceRange) -> bytes:
        where = self._where(part.key)
        with store_errors(where):
            answer = self.client.get_object(Bucket=self.bucket, Key=part.key, Range=_range(part))
            with answer["Body"] as stream:
                content: bytes = stream.read()
        if len(content) != part.size_bytes:
            raise StoreError(f"connection closed in the middle: {where}")
        return content

    def _abort(self, upload: dict[str, Any]) -> None:
        try:
            self.client.abort_multipart_upload(**upload)
        except (ClientError, BotoCoreError):
            # What it leaves, the next try removes, or the bucket's lifecycle rule.
            return

    def _where(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"


def _version(answer: dict[str, Any]) -> str | None:
    return answer.get("VersionId")


def _range(part: SourceRange) -> str:
    return f"bytes={part.offset}-{part.offset + part.size_bytes - 1}"
