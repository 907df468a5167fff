"""Locks that servers enforce: pools through the command line, on SeaweedFS and moto.

What is locked is tried to be deleted behind the gateway's back, with the credentials that it has
itself; SeaweedFS is a real server, moto also refuses to read what is in Glacier.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tapectl.errors import ExitCode
from tests.support.gateway import Gateway
from tests.support.s3_servers import ACCESS_KEY, SECRET_KEY, S3Server, moto_server, weed_server
from tests.support.tape_client import DATA_PROTECT, SenseError

LOCKED, PLAIN = "locked", "plain"
BLOCK = bytes(range(256)) * 40
SETTINGS = {"hold_s": "0", "retrieval_poll_s": "0.2"}
KMS_KEY = "alias/tapes"
BYPASS = "--bypass-governance-retention"
WAIT_S = 120.0


@dataclass(frozen=True)
class Library:
    """A gateway that serves, on a bucket with Object Lock, and its written tapes."""

    gateway: Gateway
    server: S3Server
    barcodes: list[str]

    @property
    def encryption(self) -> str:
        """What S3 says of every object of the tapes."""
        return "aws:kms" if self.server.archives else "AES256"


@pytest.fixture(scope="module", params=["moto", "weed"])
def library(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Library]:
    with (moto_server if request.param == "moto" else weed_server)() as server:
        server.create_lock_bucket(LOCKED)
        server.store(PLAIN)
        gateway = on_s3(Gateway(tmp_path_factory.mktemp("one"), **SETTINGS), server, LOCKED)
        try:
            gateway.serve()
            yield Library(gateway, server, written_tapes(gateway, server))
        finally:
            gateway.close()


def written_tapes(gateway: Gateway, server: S3Server) -> list[str]:
    """Make three tapes, encrypted and with a tag, and write on each."""
    # moto takes any key; SeaweedFS would need a key management service.
    how = ("--kms-key", KMS_KEY) if server.archives else ("--encryption", "SSE-S3")
    barcodes = gateway.create_tapes("--count", "3", "--tag", "owner=audit", *how)
    drive, changer = gateway.drive(1), gateway.changer()
    for barcode in barcodes:
        changer.load(barcode, 0)
        drive.write_block(BLOCK)
        drive.write_filemarks(1)
        changer.unload(0)
    return barcodes


def on_s3(gateway: Gateway, server: S3Server, bucket: str) -> Gateway:
    gateway.credentials = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    gateway.activate(
        "--endpoint-url",
        server.endpoint_url,
        "--region",
        "us-east-1",
        store=f"s3://{bucket}/library",
    )
    return gateway


def refused(gateway: Gateway, *words: str) -> dict[str, Any]:
    """Run a command that must fail; return its error."""
    done = gateway.run(*words, "--output", "json")
    assert done.returncode, f"tapectl {' '.join(words)} succeeded"
    error: dict[str, Any] = json.loads(done.stderr.splitlines()[-1])["error"]
    assert error["exit_code"] == done.returncode
    return error


def archive(gateway: Gateway, barcode: str) -> dict[str, Any]:
    shown: dict[str, Any] = gateway.json("tape", "eject", barcode, "--wait")
    assert shown["TapeStatus"] == "ARCHIVED"
    return shown


class Objects:
    """The objects of a tape as whoever has the credentials sees them."""

    def __init__(self, server: S3Server, barcode: str) -> None:
        self._client = server.client()
        self._prefix = f"library/tapes/{barcode}/"

    def versions(self, part: str = "archive/") -> list[dict[str, Any]]:
        answer = self._client.list_object_versions(Bucket=LOCKED, Prefix=self._prefix + part)
        return list(answer.get("Versions", ()))

    def heads(self, part: str = "archive/") -> list[dict[str, Any]]:
        return [
            self._client.head_object(Bucket=LOCKED, Key=one["Key"], VersionId=one["VersionId"])
            for one in self.versions(part)
        ]

    def delete(self, version: dict[str, Any], **options: Any) -> None:
        self._client.delete_object(
            Bucket=LOCKED, Key=version["Key"], VersionId=version["VersionId"], **options
        )

    def tags(self, version: dict[str, Any]) -> dict[str, str]:
        answer = self._client.get_object_tagging(Bucket=LOCKED, Key=version["Key"])
        return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}


def test_a_compliance_lock_holds_against_everybody(library: Library) -> None:
    gateway, barcode = library.gateway, library.barcodes[0]
    pool = gateway.json(
        *("pool", "create", "ledger", "--storage-class", "GLACIER"),
        *("--retention-lock-type", "COMPLIANCE", "--retention-days", "3650"),
    )
    gateway.cli("tape", "assign-pool", barcode, "ledger")
    shown = archive(gateway, barcode)
    assert (shown["PoolId"], shown["PoolName"]) == (pool["PoolId"], "ledger")
    assert shown["RetentionLockType"] == "COMPLIANCE"
    locked_for = datetime.fromisoformat(shown["RetainUntilDate"]) - datetime.fromisoformat(
        shown["RetentionStartDate"]
    )
    assert locked_for == timedelta(days=3650)
    assert shown["KMSKey"] == (KMS_KEY if library.server.archives else None)
    assert shown["KMSEncrypted"] is library.server.archives
    assert shown["Tags"] == [{"Key": "owner", "Value": "audit"}]

    objects = Objects(library.server, barcode)
    assert {head["ObjectLockMode"] for head in objects.heads()} == {"COMPLIANCE"}
    assert {head["ServerSideEncryption"] for head in objects.heads("")} == {library.encryption}
    if not library.server.archives:  # moto tells no tags of what is in Glacier
        assert objects.tags(objects.versions()[0]) == {"owner": "audit"}
    for options in ({}, {"BypassGovernanceRetention": True}):
        with pytest.raises(ClientError) as denied:
            objects.delete(objects.versions()[0], **options)
        assert denied.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert objects.versions("segments/") == []

    error = refused(gateway, "archive", "delete", barcode, "--yes", BYPASS)
    assert (error["exit_code"], error["code"]) == (ExitCode.TAPE_LOCKED, "tape_locked")
    error = refused(gateway, "tape", "assign-pool", barcode, "DEEP_ARCHIVE", BYPASS)
    assert error["exit_code"] == ExitCode.TAPE_LOCKED, error
    error = refused(gateway, "pool", "delete", "ledger", "--yes")
    assert (error["exit_code"], error["code"]) == (ExitCode.POOL, "pool_in_use")

    # It can be read, and goes back with the same date.
    gateway.cli("tape", "retrieve", barcode, "--wait", timeout_s=WAIT_S)
    gateway.load(barcode)
    drive = gateway.drive(1)
    assert drive.read_block(len(BLOCK)) == BLOCK
    with pytest.raises(SenseError) as protected:
        drive.write_block(BLOCK)
    assert protected.value.key == DATA_PROTECT
    gateway.changer().unload(0)
    assert archive(gateway, barcode)["RetainUntilDate"] == shown["RetainUntilDate"]


def test_a_governance_lock_can_be_bypassed(library: Library) -> None:
    gateway, barcode = library.gateway, library.barcodes[1]
    gateway.cli(
        *("pool", "create", "drill", "--storage-class", "GLACIER"),
        *("--retention-lock-type", "GOVERNANCE", "--retention-days", "30"),
    )
    archive(gateway, barcode)
    # Archived already, it is locked at once.
    gateway.cli("tape", "assign-pool", barcode, "drill", "--wait", timeout_s=WAIT_S)
    objects = Objects(library.server, barcode)
    assert {head["ObjectLockMode"] for head in objects.heads()} == {"GOVERNANCE"}
    with pytest.raises(ClientError):
        objects.delete(objects.versions()[0])
    error = refused(gateway, "archive", "delete", barcode, "--yes")
    assert (error["exit_code"], error["code"]) == (ExitCode.TAPE_LOCKED, "tape_locked")
    assert BYPASS in error["hint"]
    gateway.cli("archive", "delete", barcode, "--yes", BYPASS, "--wait", timeout_s=WAIT_S)
    assert objects.versions("") == []
    gateway.cli("pool", "delete", "drill", "--yes")
    assert "drill" not in [pool["PoolName"] for pool in gateway.json("pool", "list")]


def test_an_archived_tape_moves_to_deep_archive_and_not_back(library: Library) -> None:
    gateway, barcode = library.gateway, library.barcodes[2]
    archive(gateway, barcode)
    moved = gateway.json("tape", "assign-pool", barcode, "DEEP_ARCHIVE", "--wait")
    assert (moved["PoolId"], moved["PoolChangePending"]) == ("DEEP_ARCHIVE", False)
    heads = Objects(library.server, barcode).heads()
    assert {head["StorageClass"] for head in heads} == {"DEEP_ARCHIVE"}
    assert {head["ServerSideEncryption"] for head in heads} == {library.encryption}
    error = refused(gateway, "tape", "assign-pool", barcode, "GLACIER")
    assert (error["exit_code"], error["code"]) == (ExitCode.POOL, "pool_one_way")
    gateway.cli("tape", "retrieve", barcode, "--wait", timeout_s=WAIT_S)
    gateway.load(barcode)
    assert gateway.drive(1).read_block(len(BLOCK)) == BLOCK
    gateway.changer().unload(0)


def test_no_lock_is_promised_in_a_bucket_without_object_lock(
    library: Library, tmp_path: Path
) -> None:
    plain = on_s3(Gateway(tmp_path / "plain"), library.server, PLAIN)
    error = refused(
        plain,
        *("pool", "create", "ledger", "--storage-class", "GLACIER"),
        *("--retention-lock-type", "GOVERNANCE", "--retention-days", "1"),
    )
    assert error["exit_code"] == ExitCode.STORE_DENIED
    assert "Object Lock" in error["hint"]


def test_another_machine_knows_pools_and_dates_from_the_bucket(
    library: Library, tmp_path: Path
) -> None:
    gateway, barcode = library.gateway, library.barcodes[0]
    known = gateway.json("archive", "show", barcode)
    gateway.stop()
    two = Gateway(tmp_path / "two", **SETTINGS)
    two.credentials = gateway.credentials
    two.cli(
        *("gateway", "adopt", f"s3://{LOCKED}/library", "--yes", "--region", "us-east-1"),
        *("--endpoint-url", library.server.endpoint_url),
    )
    found = two.json("archive", "show", barcode)
    for key in ("PoolId", "RetainUntilDate", "RetentionStartDate", "Encryption", "Tags"):
        assert found[key] == known[key], key
    assert two.json("pool", "show", "ledger")["RetentionLockTimeInDays"] == 3650
    error = refused(two, "archive", "delete", barcode, "--yes", BYPASS)
    assert error["exit_code"] == ExitCode.TAPE_LOCKED, error
