"""Tapes that are encrypted before they leave the gateway: written by an initiator, archived, read
on another machine with the key and without it; on a directory and on an S3 server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
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
def machine(make_gateway: Callable[..., Gateway]) -> Gateway:
    return make_gateway("first", **SETTINGS)


@pytest.fixture
def heir(make_gateway: Callable[..., Gateway]) -> Gateway:
    """A machine without a gateway."""
    return make_gateway("second", **SETTINGS)


def contents(machine: Gateway, server: S3Server | None) -> bytes:
    """Everything that the store has, names too."""
    if server is None:
        files = [path for path in machine.store.rglob("*") if path.is_file()]
        return b"".join(str(path).encode() + path.read_bytes() for path in files)
    store = server.store("sealed")
    return b"".join(info.key.encode() + store.get(info.key) for info in store.list(""))


def written(machine: Gateway, *options: str, store: str) -> str:
    """Serve a gateway and write an encrypted tape; return the id of its key."""
    machine.activate("--drives", "1", *options, store=store)
    key: str = machine.json("key", "create")["KeyId"]
    machine.create_tapes("--barcode", BARCODE, "--encryption", "CSE")
    machine.serve()
    machine.load(BARCODE)
    drive = machine.drive()
    for block in BLOCKS:
        drive.write_block(block)
    drive.write_filemarks(1)
    drive.session.logout()
    wait_until(lambda: machine.json("status")["WaitingBytes"] == 0, "an upload", WAIT_S)
    return key


def read(drive: TapeDrive) -> list[bytes]:
    drive.wait_ready()
    drive.rewind()
    return [drive.read_block(1 << 20) for _ in BLOCKS]


def alerts(machine: Gateway) -> list[str]:
    return [one["Alert"] for one in machine.json("status")["Alerts"]]


def test_a_tape_goes_out_sealed_and_comes_back_from_the_shelf(
    machine: Gateway, server: S3Server | None
) -> None:
    store, options = str(machine.store), ()
    if server is not None:
        machine.credentials = {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        }
        store = "s3://sealed/t"
        options = ("--endpoint-url", server.endpoint_url, "--region", "us-east-1")
    written(machine, *options, store=store)
    found = contents(machine, server)
    assert not [secret for secret in SECRETS if secret in found]
    keyring = json.loads(Path(f"{machine.state}.keyring").read_text())
    assert keyring["keys"][0]["key"].encode() not in found
    machine.cli("tape", "unload", BARCODE)
    machine.cli("tape", "eject", BARCODE, "--wait")
    machine.cli("tape", "retrieve", BARCODE, "--wait")
    machine.load(BARCODE)
    assert read(machine.drive()) == BLOCKS


def test_another_machine_lists_all_and_reads_nothing_without_the_key(
    machine: Gateway, heir: Gateway
) -> None:
    key = written(machine, store=str(machine.store))
    keys = machine.root / "tapes.keys"
    machine.cli("key", "export", str(keys))
    foreseen = heir.json("gateway", "adopt", str(machine.store), "--dry-run")
    assert foreseen["DryRun"] is True
    assert machine.json("gateway", "show")["Epoch"] == foreseen["Epoch"] - 1
    machine.cli("tape", "unload", BARCODE)  # the gateway goes on
    machine.stop()
    adopted = heir.json("gateway", "adopt", str(machine.store), "--yes")
    assert adopted["MissingKeys"] == foreseen["MissingKeys"] == [key]
    assert (adopted["Tapes"], adopted["Epoch"]) == (foreseen["Tapes"], foreseen["Epoch"])
    heir.cli("disk", "add-cache", str(heir.cache))
    heir.cli("disk", "add-buffer", str(heir.buffer))
    heir.serve()
    if heir.json("tape", "show", BARCODE)["VTLDevice"]:  # where it was when its machine ended
        heir.cli("tape", "unload", BARCODE)
    refused = heir.run("tape", "cat", BARCODE)
    assert refused.returncode == ExitCode.TAPE_KEY
    assert "hint: bring it with `tapectl key import FILE`" in refused.stderr
    findings = json.loads(heir.run("check", "--output", "json").stdout)["Findings"]
    assert [one["Code"] for one in findings if one["Severity"] == "error"] == ["tape_key_missing"]
    heir.load(BARCODE)
    drive = heir.drive()
    drive.wait_ready()
    with pytest.raises(SenseError) as failed:
        drive.read_block(1 << 20)
    sense = failed.value.sense
    assert sense is not None
    assert (sense.key, sense.asc, sense.ascq) == UNABLE_TO_DECRYPT
    wait_until(lambda: alerts(heir) == ["TapeKeyMissing"], "an alert", WAIT_S)

    # With the key it reads on, in the same session.
    heir.cli("key", "import", str(keys))
    assert read(drive) == BLOCKS
    wait_until(lambda: not alerts(heir), "no alert", WAIT_S)
