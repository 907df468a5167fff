"""Versions and locks of S3 objects: what Object Lock needs beyond putting and getting.

In a bucket with versioning a plain DELETE only hides an object: its bytes stay, and cost, until
their versions are deleted one by one. Retention is of a version too.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from tapectl.store.interface import (
    Retention,
    RetentionMode,
    StoreRefusedError,
)
from tapectl.store.retention_rules import locked_error
from tapectl.store.s3_errors import error_code, status_code, store_errors

_LOCK_HINT = "use a bucket that was made with Object Lock, which also turns versioning on"
_BYPASS = {"BypassGovernanceRetention": True}
# Answers of servers that know nothing of versions or locks, or do not let us look.
_UNKNOWN = frozenset({400, 403, 404, 405, 409, 501})
# Answers to a retention that is to be none.
_NO_EMPTY = frozenset({"InvalidRequest", "MalformedXML"})
# A date that has passed is refused, and clocks differ.
_ENDS_IN = timedelta(seconds=2)


class VersionedBucket(NamedTuple):
    """A bucket and the client to reach it; names are whole, with the store's prefix."""

    client: Any
    name: str

    def keeps_versions(self) -> bool:
        """Return whether deleted and overwritten objects stay as older versions."""
        with store_errors(f"s3://{self.name}"):
            try:
                answer = self.client.get_bucket_versioning(Bucket=self.name)
            except ClientError as error:
                if status_code(error) in _UNKNOWN and error_code(error) != "NoSuchBucket":
                    return False
                raise
        # A bucket whose versioning is suspended has the versions of before.
        return answer.get("Status") in ("Enabled", "Suspended")

    def check_locks(self) -> None:
        """Raise StoreRefusedError unless the bucket has Object Lock."""
        with store_errors(f"s3://{self.name}"):
            try:
                answer = self.client.get_object_lock_configuration(Bucket=self.name)
            except ClientError as error:
                if status_code(error) not in _UNKNOWN or error_code(error) == "NoSuchBucket":
                    raise
                if error_code(error) == "AccessDenied":
                    raise
                answer = {}
        if answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") != "Enabled":
            raise StoreRefusedError(
                f"bucket cannot lock objects: s3://{self.name}", hint=_LOCK_HINT
            )

    def lock(self, key: str, retention: Retention | None, *, bypass_governance: bool) -> None:
        """Put the current version under a retention."""
        if retention is None:
            wanted: dict[str, Any] = {}
        else:
            # S3 counts whole seconds; a lock may not end too early.
            until = datetime.fromtimestamp(-(-retention.until_ms // 1000), UTC)
            wanted = {"Mode": retention.mode.value, "RetainUntilDate": until}
        bypass = _BYPASS if bypass_governance else {}
        with store_errors(f"s3://{self.name}/{key}"):
            try:
                try:
                    self._put_retention(key, wanted, bypass)
                except ClientError as error:
                    if retention is not None or error_code(error) not in _NO_EMPTY:
                        raise
                    # SeaweedFS takes none away, but lets one end early.
                    until = datetime.now(UTC) + _ENDS_IN
                    short = {"Mode": RetentionMode.GOVERNANCE.value, "RetainUntilDate": until}
                    self._put_retention(key, short, bypass)
            except ClientError as error:
                if status_code(error) == 403:
                    self._raise_if_locked(key, None, bypass_governance)
                if error_code(error) in ("InvalidRequest", "InvalidBucketState"):
                    raise StoreRefusedError(
                        f"bucket cannot lock objects: s3://{self.name}", hint=_LOCK_HINT
                    ) from error
                raise

    def _put_retention(self, key: str, wanted: dict[str, Any], bypass: dict[str, bool]) -> None:
        self.client.put_object_retention(Bucket=self.name, Key=key, Retention=wanted, **bypass)

    def delete_versions(
        self, key: str, *, bypass_governance: bool, keep: str | None = None
    ) -> None:
        """Delete every version of an object but `keep`, and the markers that hide it.

        The oldest first, so that one that is locked leaves what readers see as it is. Raises
        ObjectLockedError.
        """
        for version in reversed([one for one in self._versions(key) if one != keep]):
            try:
                self.client.delete_object(
                    Bucket=self.name,
                    Key=key,
                    VersionId=version,
                    **(_BYPASS if bypass_governance else {}),
                )
            except ClientError as error:
                if status_code(error) in (400, 403, 409):
                    self._raise_if_locked(key, version, bypass_governance)
                raise

    def _versions(self, key: str) -> Iterator[str]:
        """Yield the ids of all versions and markers of one object, the newest first."""
        pages = self.client.get_paginator("list_object_versions").paginate(
            Bucket=self.name, Prefix=key
        )
        found: list[tuple[datetime, bool, str]] = []
        for page in pages:
            entries = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
            for entry in entries:
                if entry["Key"] == key:
                    latest = bool(entry.get("IsLatest"))
                    found.append((entry["LastModified"], latest, entry["VersionId"]))
            if entries and min(entry["Key"] for entry in entries) > key:
                break
        # Stable: versions of the same second stay in the order of the listing.
        found.sort(key=lambda one: one[:2], reverse=True)
        return (version for _, _, version in found)

    def _raise_if_locked(self, key: str, version: str | None, bypass_governance: bool) -> None:
        """Raise ObjectLockedError if that is why the server refused."""
        options = {} if version is None else {"VersionId": version}
        try:
            answer = self.client.head_object(Bucket=self.name, Key=key, **options)
        except ClientError:
            return
        where = f"s3://{self.name}/{key}"
        if answer.get("ObjectLockLegalHoldStatus") == "ON":
            raise locked_error(where, None)
        held = retention_of(answer)
        if held is None or held.until_ms <= datetime.now(UTC).timestamp() * 1000:
            return
        error = locked_error(where, held)
        if bypass_governance and held.mode is RetentionMode.GOVERNANCE:
            error.hint = "the credentials lack the permission s3:BypassGovernanceRetention"
        raise error


def retention_of(answer: dict[str, Any]) -> Retention | None:
    """Return the retention that an answer to HEAD tells of."""
    mode, until = answer.get("ObjectLockMode"), answer.get("ObjectLockRetainUntilDate")
    if mode not in (RetentionMode.GOVERNANCE.value, RetentionMode.COMPLIANCE.value) or not until:
        return None
    return Retention(RetentionMode(mode), round(until.timestamp() * 1000))
