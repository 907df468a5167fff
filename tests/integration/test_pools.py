"""Locks that servers enforce: pools through the command line, on SeaweedFS and moto.

What is locked is tried to be deleted behind the gateway's back, with the credentials that it has
itself; SeaweedFS is a real server, moto also refuses to read what is in Glacier.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tapectl.errors import ExitCode
from tests.support.gateway import Gateway
from tests.support.s3_servers import ACCESS_KEY, SECRET_KEY, S3Server, moto_server, weed_server
from tests.support.tape_client import DATA_PROTECT, SenseError

LOCKED, PLAIN = "locked", "plain"
BLOCK = bytes(range(256)) * 40
SETTINGS = {"hold_s": "0", "retrieval_poll_s": "0.2", "directory_retrieval_delay_s": "1"}
BYPASS = "--bypass-governance-retention"
WAIT_S = 120.0
GatewayMaker = Callable[..., Gateway]


@pytest.fixture(scope="module", params=["moto", "weed"])
def server(request: pytest.FixtureRequest) -> Iterator[S3Server]:
    with (moto_server if request.param == "moto" else weed_server)() as running:
        running.create_lock_bucket(LOCKED)
        running.store(PLAIN)
        yield running


def on_s3(
    gateway: Gateway, server: S3Server, bucket: str = LOCKED, prefix: str = "library"
) -> Gateway:
    gateway.credentials = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    gateway.activate(
        "--endpoint-url",
        server.endpoint_url,
        "--region",
        "us-east-1",
        store=f"s3://{bucket}/{prefix}",
    )
    return gateway


def refused(gateway: Gateway, *words: str) -> dict[str, Any]:
    """Run a command that must fail; return its error."""
    done = gateway.run(*words, "--output", "json")
    assert done.returncode, f"tapectl {' '.join(words)} succeeded"
    error: dict[str, Any] = json.loads(done.stderr.splitlines()[-1])["error"]
    assert error["exit_code"] == done.returncode
    return error


def write_tapes(gateway: Gateway, *barcodes: str) -> None:
    """Write on tapes of the library, and read back what they have."""
    gateway.serve()
    for barcode in barcodes:
        gateway.load(barcode)
        drive = gateway.drive(1)
        drive.write_block(BLOCK)
        drive.write_filemarks(1)
        gateway.changer().unload(0)
    gateway.stop()


def archive(gateway: Gateway, barcode: str) -> dict[str, Any]:
    shown: dict[str, Any] = gateway.json("tape", "eject", barcode, "--wait")
    assert shown["TapeStatus"] == "ARCHIVED"
    return shown


class Objects:
    """The objects of a tape as whoever has the credentials sees them."""

    def __init__(self, server: S3Server, barcode: str, prefix: str = "library") -> None:
        self._client = server.client()
        self._prefix = f"{prefix}/tapes/{barcode}/"

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


def test_a_compliance_lock_holds_against_everybody(
    make_gateway: GatewayMaker, server: S3Server
) -> None:
    gateway = on_s3(make_gateway(**SETTINGS), server, prefix="compliance")
    pool = gateway.json(
        *("pool", "create", "ledger", "--storage-class", "GLACIER"),
        *("--retention-lock-type", "COMPLIANCE", "--retention-days", "3650"),
    )
    (barcode,) = gateway.create_tapes(
        "--pool", "ledger", "--tag", "owner=audit", "--encryption", "SSE-S3"
    )
    write_tapes(gateway, barcode)
    shown = archive(gateway, barcode)
    assert (shown["PoolId"], shown["PoolName"]) == (pool["PoolId"], "ledger")
    assert shown["RetentionLockType"] == "COMPLIANCE"
    assert shown["RetainUntilDate"][:4] == str(int(shown["RetentionStartDate"][:4]) + 10)
    assert (shown["Encryption"], shown["KMSEncrypted"]) == ("SSE-S3", False)
    assert shown["Tags"] == [{"Key": "owner", "Value": "audit"}]

    objects = Objects(server, barcode, "compliance")
    assert {head["ObjectLockMode"] for head in objects.heads()} == {"COMPLIANCE"}
    assert {head["ServerSideEncryption"] for head in objects.heads()} == {"AES256"}
    if not server.archives:  # moto tells no tags of what is in Glacier
        assert objects.tags(objects.versions()[0]) == {"owner": "audit"}
    for options in ({}, {"BypassGovernanceRetention": True}):
        with pytest.raises(ClientError) as denied:
            objects.delete(objects.versions()[0], **options)
        assert denied.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert objects.versions("segments/") == []

    for more in ((), (BYPASS,)):
        error = refused(gateway, "archive", "delete", barcode, "--yes", *more)
        assert error["exit_code"] == ExitCode.TAPE_LOCKED
        error = refused(gateway, "tape", "assign-pool", barcode, "DEEP_ARCHIVE", *more)
        assert error["code"] == "tape_locked"
    error = refused(gateway, "pool", "delete", "ledger", "--yes")
    assert (error["exit_code"], error["code"]) == (ExitCode.POOL, "pool_in_use")

    # It can be read, and goes back with the same date.
    gateway.cli("tape", "retrieve", barcode, "--wait", timeout_s=WAIT_S)
    gateway.serve()
    gateway.load(barcode)
    drive = gateway.drive(1)
    assert drive.read_block(len(BLOCK)) == BLOCK
    with pytest.raises(SenseError) as protected:
        drive.write_block(BLOCK)
    assert protected.value.key == DATA_PROTECT
    gateway.changer().unload(0)
    gateway.stop()
    assert archive(gateway, barcode)["RetainUntilDate"] == shown["RetainUntilDate"]

    # Another machine knows the pool and the date from the bucket.
    two = make_gateway("two", **SETTINGS)
    two.credentials = gateway.credentials
    two.cli(
        *("gateway", "adopt", "s3://locked/compliance", "--yes", "--region", "us-east-1"),
        *("--endpoint-url", server.endpoint_url),
    )
    assert two.json("archive", "show", barcode)["RetainUntilDate"] == shown["RetainUntilDate"]
    assert two.json("pool", "show", "ledger")["RetentionLockTimeInDays"] == 3650
    error = refused(two, "archive", "delete", barcode, "--yes", BYPASS)
    assert error["exit_code"] == ExitCode.TAPE_LOCKED


def test_a_governance_lock_can_be_bypassed(make_gateway: GatewayMaker, server: S3Server) -> None:
    gateway = on_s3(make_gateway(**SETTINGS), server, prefix="governance")
    gateway.cli(
        *("pool", "create", "drill", "--storage-class", "GLACIER"),
        *("--retention-lock-type", "GOVERNANCE", "--retention-days", "30"),
    )
    first, second = gateway.create_tapes("--count", "2")
    write_tapes(gateway, first, second)
    gateway.cli("tape", "assign-pool", first, "drill")
    for barcode in (first, second):
        archive(gateway, barcode)
    # Archived already, it is locked at once.
    gateway.cli("tape", "assign-pool", second, "drill", "--wait", timeout_s=WAIT_S)
    for barcode in (first, second):
        objects = Objects(server, barcode, "governance")
        assert {head["ObjectLockMode"] for head in objects.heads()} == {"GOVERNANCE"}
        with pytest.raises(ClientError):
            objects.delete(objects.versions()[0])
        error = refused(gateway, "archive", "delete", barcode, "--yes")
        assert (error["exit_code"], error["code"]) == (ExitCode.TAPE_LOCKED, "tape_locked")
        assert BYPASS in error["hint"]
    gateway.cli("archive", "delete", first, "--yes", BYPASS, "--wait", timeout_s=WAIT_S)
    assert Objects(server, first, "governance").versions("") == []
    gateway.cli("archive", "delete", second, "--yes", BYPASS, "--wait", timeout_s=WAIT_S)
    gateway.cli("pool", "delete", "drill", "--yes")
    assert [pool["PoolId"] for pool in gateway.json("pool", "list")] == ["DEEP_ARCHIVE", "GLACIER"]


def test_an_archived_tape_moves_to_deep_archive_and_not_back(
    make_gateway: GatewayMaker, server: S3Server
) -> None:
    gateway = on_s3(make_gateway(**SETTINGS), server, bucket=PLAIN, prefix="moves")
    error = refused(
        gateway,
        *("pool", "create", "ledger", "--storage-class", "GLACIER"),
        *("--retention-lock-type", "GOVERNANCE", "--retention-days", "1"),
    )
    assert (error["exit_code"], "Object Lock" in error["hint"]) == (ExitCode.STORE_DENIED, True)
    (barcode,) = gateway.create_tapes()
    write_tapes(gateway, barcode)
    archive(gateway, barcode)
    moved = gateway.json("tape", "assign-pool", barcode, "DEEP_ARCHIVE", "--wait")
    assert (moved["PoolId"], moved["PoolChangePending"]) == ("DEEP_ARCHIVE", False)
    listed = server.client().list_objects_v2(Bucket=PLAIN, Prefix=f"moves/tapes/{barcode}/archive/")
    assert {one["StorageClass"] for one in listed["Contents"]} == {"DEEP_ARCHIVE"}
    error = refused(gateway, "tape", "assign-pool", barcode, "GLACIER")
    assert (error["exit_code"], error["code"]) == (ExitCode.POOL, "pool_one_way")
    gateway.cli("tape", "retrieve", barcode, "--wait", timeout_s=WAIT_S)
    gateway.serve()
    gateway.load(barcode)
    assert gateway.drive(1).read_block(len(BLOCK)) == BLOCK
