"""A tape goes the whole way: written, uploaded, ejected, archived, retrieved, read back.

Against a directory, SeaweedFS (an S3 server that ignores storage classes) and moto (which refuses
to read what is in Glacier and has not been restored).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.support.gateway import Gateway
from tests.support.s3_servers import ACCESS_KEY, SECRET_KEY, S3Server, moto_server, weed_server
from tests.support.tape_client import DATA_PROTECT, SenseError
from tests.support.tapebench import Tapebench

GIB = 1 << 30
BUCKET = "tapes"
WRITTEN = ("-E", "raw", "-b", "256k", "-t", "1g", "--seed", "11")
# A whole run of the engine over 1 GiB on a busy machine.
WAIT_S = 300
SETTINGS = {
    "hold_s": "0",
    "retrieval_poll_s": "0.2",
    "directory_retrieval_delay_s": "1",
    # Two segments in each archived object: for any range of one, moto reads the whole object.
    "archive_object_bytes": "160MiB",
}


def on_directory(gateway: Gateway) -> None:
    gateway.activate()


def on_s3(gateway: Gateway, server: S3Server) -> None:
    gateway.credentials = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    server.store(BUCKET)  # makes the bucket
    gateway.activate(
        "--endpoint-url",
        server.endpoint_url,
        "--region",
        "us-east-1",
        store=f"s3://{BUCKET}/library",
    )


def forget_local_copies(gateway: Gateway, barcode: str) -> None:
    """Lose both disks' files of a tape, as new disks after a fire would."""
    for disk in (gateway.cache, gateway.buffer):
        for folder in disk.rglob(barcode):
            shutil.rmtree(folder)


def export_by_the_changer(gateway: Gateway, barcode: str) -> None:
    """What backup software does: MOVE MEDIUM from the drive into an import/export element."""
    gateway.changer().export(barcode)
    gateway.wait_status(barcode, "ARCHIVED", WAIT_S)


def eject_by_command(gateway: Gateway, barcode: str) -> None:
    gateway.changer().unload(0)
    gateway.cli("tape", "eject", barcode, "--wait", timeout_s=WAIT_S)
    assert gateway.tape_status(barcode) == "ARCHIVED"


def through_the_whole_life(
    gateway: Gateway,
    tapebench: Tapebench,
    *,
    pool: str,
    eject: Callable[[Gateway, str], None] = eject_by_command,
) -> str:
    """Take one tape of 1 GiB from creation to RETRIEVED and read it; return its barcode."""
    (barcode,) = gateway.create_tapes("--count", "1", "--pool", pool)
    gateway.serve()
    gateway.load(barcode)
    tapebench.run("-o", "write", *WRITTEN, urls=gateway.urls([1])).assert_clean()
    eject(gateway, barcode)
    gateway.stop()
    forget_local_copies(gateway, barcode)
    gateway.serve()
    gateway.cli("tape", "retrieve", barcode, "--tier", "Bulk", "--wait", timeout_s=WAIT_S)
    assert gateway.tape_status(barcode) == "RETRIEVED"
    gateway.load(barcode)
    tapebench.run("-o", "verify", *WRITTEN, urls=gateway.urls([1])).assert_clean()
    refuses_writing(gateway)
    return barcode


def refuses_writing(gateway: Gateway) -> None:
    drive = gateway.drive(1)
    drive.rewind()
    for write in (lambda: drive.write_block(b"x" * 512), lambda: drive.write_filemarks(1)):
        with pytest.raises(SenseError) as refused:
            write()
        assert refused.value.key == DATA_PROTECT
    assert len(drive.read_block(1 << 20)) == 256 << 10


def statuses(gateway: Gateway, barcode: str) -> list[str]:
    """Return the statuses that the tape went through, as `tapectl events` tells them."""
    rows = gateway.json("events")
    return [row["To"] for row in rows if row["TapeBarcode"] == barcode and row.get("To")]


@contextmanager
def server(kind: str) -> Iterator[S3Server]:
    with weed_server() if kind == "seaweedfs" else moto_server() as running:
        yield running


@pytest.mark.timeout(900)
def test_on_a_directory(make_gateway: Callable[..., Gateway], tapebench: Tapebench) -> None:
    gateway = make_gateway(**SETTINGS)
    on_directory(gateway)
    barcode = through_the_whole_life(
        gateway, tapebench, pool="GLACIER", eject=export_by_the_changer
    )
    assert statuses(gateway, barcode) == [
        "CREATING",
        "AVAILABLE",
        "IN TRANSIT TO VTS",
        "ARCHIVING",
        "ARCHIVED",
        "RETRIEVING",
        "RETRIEVED",
    ]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["seaweedfs", "moto"])
def test_on_s3(kind: str, make_gateway: Callable[..., Gateway], tapebench: Tapebench) -> None:
    gateway = make_gateway(**SETTINGS)
    with server(kind) as s3:
        on_s3(gateway, s3)
        barcode = through_the_whole_life(gateway, tapebench, pool="DEEP_ARCHIVE")
        classes = storage_classes(s3, barcode)
        gateway.stop()
    if s3.archives:
        assert "DEEP_ARCHIVE" in classes


def storage_classes(s3: S3Server, barcode: str) -> set[str]:
    """Return the storage classes of a tape's objects."""
    listed = s3.client().list_objects_v2(Bucket=BUCKET)["Contents"]
    return {entry["StorageClass"] for entry in listed if f"/{barcode}/" in entry["Key"]}
