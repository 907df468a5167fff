"""Tapes that are encrypted before they leave the gateway: written by an initiator, archived, read
on another machine with the key and without it; on a directory and on an S3 server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tapectl.errors import ExitCode
from tests.support.gateway import Gateway, wait_until
from tests.support.s3_servers import ACCESS_KEY, SECRET_KEY, S3Server, moto_server
from tests.support.tape_client import DATA_PROTECT, SenseError, TapeDrive

BARCODE = "SEALD1L5"
# Found in the bucket if anything is left as it was, compressed or not.
SECRETS = (b"the pay of everybody in the house", bytes(range(256)))
BLOCKS = [SECRETS[0] * 900, SECRETS[1] * 200]
SETTINGS = {
    "hold_s": "0",
    "seal_idle_s": "0.2",
    "retrieval_poll_s": "0.2",
    "directory_retrieval_delay_s": "0.1",
}
UNABLE_TO_DECRYPT = (DATA_PROTECT, 0x74, 0x01)
DIAGNOSTICS_REQUIRED = 39
WAIT_S = 60.0


@pytest.fixture(params=["directory", "moto"])
def server(request: pytest.FixtureRequest) -> Iterator[S3Server | None]:
    if request.param == "directory":
        yield None
        return
    with moto_server() as running:
        running.store("sealed")  # makes the bucket
        yield running


@pytest.fixture
def machines(tmp_path: Path, server: S3Server | None) -> Iterator[tuple[Gateway, Gateway]]:
    """Two machines, the second one empty."""
    made = Gateway(tmp_path / "first", **SETTINGS), Gateway(tmp_path / "second", **SETTINGS)
    if server is not None:
        for machine in made:
            machine.credentials = {
                "AWS_ACCESS_KEY_ID": ACCESS_KEY,
                "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            }
    yield made
    for machine in made:
        machine.close()


def address(first: Gateway, server: S3Server | None) -> list[str]:
    if server is None:
        return [str(first.store)]
    return ["s3://sealed/t", "--endpoint-url", server.endpoint_url, "--region", "us-east-1"]


def contents(first: Gateway, server: S3Server | None) -> bytes:
    """Everything that the store has, names too."""
    if server is None:
        files = [path for path in first.store.rglob("*") if path.is_file()]
        return b"".join(str(path).encode() + path.read_bytes() for path in files)
    store = server.store("sealed")
    keys = [info.key for info in store.list("")]
    return b"".join(
        key.encode() + (store.get(key) if "/archive/" not in key else b"") for key in keys
    )


def read(drive: TapeDrive) -> list[bytes]:
    drive.wait_ready()
    drive.rewind()
    return [drive.read_block(1 << 20) for _ in BLOCKS]


def test_a_tape_goes_out_sealed_and_comes_back(
    machines: tuple[Gateway, Gateway], server: S3Server | None
) -> None:
    first, second = machines
    store, *options = address(first, server)
    first.activate("--drives", "1", *options, store=store)
    key = first.json("key", "create")["KeyId"]
    keys = first.root / "tapes.keys"
    first.cli("key", "export", str(keys))
    first.create_tapes("--barcode", BARCODE, "--encryption", "CSE")
    first.serve()
    first.load(BARCODE)
    drive = first.drive()
    for block in BLOCKS:
        drive.write_block(block)
    drive.write_filemarks(1)
    wait_until(lambda: first.json("status")["WaitingBytes"] == 0, "an upload", WAIT_S)
    found = contents(first, server)
    assert not [secret for secret in SECRETS if secret in found]
    assert json.loads(keys.read_text())["keys"][0]["key"].encode() not in found

    drive.session.logout()
    first.cli("tape", "unload", BARCODE)
    first.cli("tape", "eject", BARCODE, "--wait")
    first.cli("tape", "retrieve", BARCODE, "--wait")
    first.load(BARCODE)
    drive = first.drive()
    assert read(drive) == BLOCKS
    drive.session.logout()
    first.stop()

    # An empty machine has all but the key: it lists everything and reads nothing.
    adopted = second.json("gateway", "adopt", store, *options, "--yes")
    assert adopted["MissingKeys"] == [key]
    second.cli("disk", "add-cache", str(second.cache))
    second.cli("disk", "add-buffer", str(second.buffer))
    assert second.json("tape", "show", BARCODE)["EncryptionKeyId"] == key
    second.serve()
    if second.tape_status(BARCODE) == "ARCHIVED":  # as its last recovery point says
        second.cli("tape", "retrieve", BARCODE, "--wait")
    for verb in ("cat", "warm"):
        refused = second.run("tape", verb, BARCODE)
        assert refused.returncode == ExitCode.TAPE_KEY
        assert "hint: bring it with `tapectl key import FILE`" in refused.stderr
    (code,) = {one["Code"] for one in findings(second) if one["Severity"] == "error"}
    assert code == "tape_key_missing"
    second.load(BARCODE)
    drive = second.drive()
    drive.wait_ready()
    with pytest.raises(SenseError) as failed:
        drive.read_block(1 << 20)
    sense = failed.value.sense
    assert sense is not None
    assert (sense.key, sense.asc, sense.ascq) == UNABLE_TO_DECRYPT
    wait_until(lambda: bool(second.json("status")["Alerts"]), "an alert", WAIT_S)
    assert [one["Alert"] for one in second.json("status")["Alerts"]] == ["TapeKeyMissing"]

    # With the key it reads on, in the same session.
    second.cli("key", "import", str(keys))
    assert read(drive) == BLOCKS
    wait_until(lambda: not second.json("status")["Alerts"], "no alert", WAIT_S)


def findings(gateway: Gateway) -> list[dict[str, str]]:
    done = gateway.run("check", "--output", "json")
    found: list[dict[str, str]] = json.loads(done.stdout)["Findings"]
    return found
