"""A tape is read from its bucket on another machine, while its gateway goes on with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tapectl.errors import ExitCode
from tests.support.gateway import Gateway, wait_until
from tests.support.s3_servers import ACCESS_KEY, SECRET_KEY, S3Server, moto_server
from tests.support.two_gateways import block

SETTINGS = {"hold_s": "0", "seal_idle_s": "0.2", "segment_bytes": "8MiB"}
BUCKET = "audit"
BLOCK_BYTES = 256 << 10
WAIT_S = 60.0


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with moto_server() as running:
        running.store(BUCKET)  # makes the bucket
        yield running


@pytest.fixture
def gateway(make_gateway: Callable[..., Gateway]) -> Gateway:
    return make_gateway("gateway", **SETTINGS)


@pytest.fixture
def auditor(make_gateway: Callable[..., Gateway]) -> Gateway:
    """A machine without a gateway."""
    return make_gateway("auditor")


def everything(server: S3Server) -> dict[str, str]:
    """Return what the bucket has, but for what the gateway says of its own state now and then."""
    return {
        info.key: info.etag
        for info in server.store(BUCKET).list("")
        if "inventories/" not in info.key
    }


def test_a_tape_is_read_while_its_gateway_goes_on_with_it(
    gateway: Gateway, auditor: Gateway, server: S3Server
) -> None:
    for machine in (gateway, auditor):
        machine.credentials = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    options = ["--endpoint-url", server.endpoint_url, "--region", "us-east-1"]
    address = f"s3://{BUCKET}/tapes"
    gateway.activate("--drives", "1", *options, store=address)
    (barcode,) = gateway.create_tapes()
    gateway.serve()
    gateway.load(barcode)
    drive = gateway.drive()
    drive.wait_ready()
    first = [block(seed, BLOCK_BYTES) for seed in range(100)]
    for one in first:
        drive.write_block(one)
    drive.write_filemarks(1)
    drive.write_block(b"second file")
    drive.write_filemarks(1)
    wait_until(lambda: gateway.ask("status")["WaitingBytes"] == 0, "all uploaded", WAIT_S)
    where = ["--store", address, *options]

    before = everything(server)
    image, raw = auditor.root / "image.tap", auditor.root / "first.raw"
    auditor.cli("tape", "export", barcode, str(image), *where)
    auditor.cli("tape", "export", barcode, str(raw), "--file", "0", *where)
    assert raw.read_bytes() == b"".join(first)
    assert auditor.cli("tape", "cat", barcode, "1", *where) == "second file"
    point = auditor.json("recovery", "list", barcode, *where)[0]["RecoveryPointNumber"]
    assert everything(server) == before
    assert list(auditor.state.parent.iterdir()) == []

    # The drive has not noticed, and what it writes now is in later recovery points.
    drive.rewind()
    drive.write_block(b"overwritten")
    drive.write_filemarks(1)
    wait_until(
        lambda: auditor.run("tape", "cat", barcode, *where).stdout == "overwritten",
        "the next recovery point",
        WAIT_S,
    )
    again = auditor.root / "again.tap"
    auditor.cli("tape", "export", barcode, str(again), "--point", str(point), *where)
    assert again.read_bytes() == image.read_bytes()
    drive.session.logout()
    gateway.cli("tape", "unload", barcode)

    # On the shelf, and its gateway gone: S3 itself restores the objects.
    gateway.cli("tape", "eject", barcode, "--wait")
    gateway.stop()
    refused = auditor.run("tape", "cat", barcode, *where)
    assert (refused.returncode, refused.stdout) == (ExitCode.TAPE_STATUS, "")
    assert f"tapes/{barcode}/archive/" in refused.stderr
    client = server.client()
    for key in everything(server):
        if "/archive/" in key:
            request = {"Days": 1, "GlacierJobParameters": {"Tier": "Bulk"}}
            client.restore_object(Bucket=BUCKET, Key=key, RestoreRequest=request)
    assert auditor.cli("tape", "cat", barcode, *where) == "overwritten"
    auditor.cli("tape", "export", barcode, str(again), "--overwrite", "--point", str(point), *where)
    assert again.read_bytes() == image.read_bytes()
