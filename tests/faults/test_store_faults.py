"""The store goes wrong while a drive is written to and read: the initiator notices nothing.

A served gateway stands on SeaweedFS behind a proxy that does to it what networks, servers and
admins do. Its buffer takes a few segments, its cache keeps none that is uploaded: what is read back
comes from the store.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.support.faulty_s3 import FaultyS3
from tests.support.gateway import Gateway, wait_until
from tests.support.s3_faults import Cut, Fault, answers, requests_of, slow
from tests.support.s3_servers import (
    ACCESS_KEY,
    NEW_ACCESS_KEY,
    NEW_SECRET_KEY,
    SECRET_KEY,
    weed_server,
)
from tests.support.tape_client import BUSY, GOOD

BUCKET = "tapes"
BLOCK_BYTES = 256 * 1024
# Of one backup: more than one segment, and one that is not full.
BLOCKS = 5
SETTINGS = {
    "segment_bytes": "1MiB",
    "seal_idle_s": "0.2",
    "busy_timeout_s": "1",
    "alert_after_s": "0.5",
    "cache_high_watermark_percent": "1",
}
BUFFER_BYTES = 8 << 20
WAIT_S = 120.0
DIAGNOSTICS = 39
PUT_SEGMENT, GET_SEGMENT = requests_of("PUT", "/segments/"), requests_of("GET", "/segments/")


class FaultyGateway:
    """A gateway with one tape in its drive, and the proxy before its store.

    `blocks` is what has been written to the tape, from its beginning.
    """

    def __init__(self, gateway: Gateway, proxy: FaultyS3) -> None:
        self.gateway = gateway
        self.proxy = proxy
        self.keys = gateway.root / "credentials"
        self.blocks: list[bytes] = []
        gateway.credentials = {
            "AWS_SHARED_CREDENTIALS_FILE": str(self.keys),
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self.set_keys(ACCESS_KEY, SECRET_KEY)
        url = ("--endpoint-url", proxy.url)
        gateway.cli("activate", "--store", f"s3://{BUCKET}/library", *url, "--drives", "1")
        small = ("--allow-small", "--size")
        gateway.cli("disk", "add-cache", str(gateway.cache), *small, "16MiB")
        gateway.cli("disk", "add-buffer", str(gateway.buffer), *small, str(BUFFER_BYTES))
        (self.barcode,) = gateway.create_tapes("--count", "1")
        gateway.serve()
        self.connect()
        self.changer.load(self.barcode, 0)

    def connect(self) -> None:
        """Log in to the changer and the drive."""
        self.changer = self.gateway.changer()
        self.drive = self.gateway.drive()

    def set_keys(self, access_key: str, secret_key: str) -> None:
        """Write the file of credentials that the gateway was started with."""
        lines = f"aws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n"
        self.keys.write_text(f"[default]\n{lines}")

    def back_up(self, blocks: int = BLOCKS) -> None:
        """Append blocks and synchronise; each command must end with GOOD, at once or after BUSY."""
        self.drive.space_end_of_data()
        assert self.drive.read_position() == len(self.blocks)
        for _ in range(blocks):
            self.write(os.urandom(BLOCK_BYTES))
        self.drive.write_filemarks(0)

    def write(self, block: bytes) -> None:
        self.drive.write_block(block)
        self.blocks.append(block)

    def read_back(self, first: int) -> None:
        """Read blocks from `first` on to the end, from the store, and go on at the end of data."""
        self.reload()
        self.drive.locate(first)
        for number in range(first, len(self.blocks)):
            assert self.drive.read_block(BLOCK_BYTES) == self.blocks[number], f"block {number}"
        self.drive.space_end_of_data()
        assert self.drive.read_position() == len(self.blocks)

    def reload(self) -> None:
        """Let the drive forget the files it has open, which may be gone from the cache."""
        self.changer.unload(0)
        self.changer.load(self.barcode, 0)
        self.drive.wait_ready()
        self.drive.space_end_of_data()

    def wait_uploaded(self) -> None:
        """Wait until the store has everything, and the cache has let go of it."""
        wait_until(lambda: self.files(".open") == [], "all is sealed", WAIT_S)
        wait_until(lambda: self.transfer("waiting_segments") == 0, "all is uploaded", WAIT_S)
        wait_until(lambda: self.files(".seg") == [], "an empty cache", WAIT_S)

    def files(self, suffix: str) -> list[Path]:
        """Return what the disks have of the tape's segments."""
        disks = (self.gateway.cache, self.gateway.buffer)
        return [path for disk in disks for path in disk.rglob(f"*{suffix}")]

    def transfer(self, name: str) -> object:
        """Return what the transfer process says, by the supervisor."""
        return self.gateway.control("status").get("transfer", {}).get(name)

    def alerts(self) -> list[str]:
        return [alert["message"] for alert in self.gateway.control("status")["alerts"]]

    def tape_alerts(self) -> list[int]:
        """Return the TapeAlert flags of the drive."""
        flags: list[int] = self.gateway.control("status")["drives"][0]["tape_alerts"]
        return flags

    def events(self) -> list[dict[str, Any]]:
        """Return the events of alerts, the latest last."""
        rows = self.gateway.json("events")
        return [row for row in rows if row["Type"].startswith("Alert")]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyGateway]:
    root: Path = tmp_path_factory.mktemp("store-faults")
    gateway = Gateway(root, **SETTINGS)
    with weed_server() as server, FaultyS3(server.endpoint_url) as proxy:
        server.client().create_bucket(Bucket=BUCKET)
        try:
            yield FaultyGateway(gateway, proxy)
        finally:
            proxy.set()
            gateway.close()


# Faults of a part of the requests, or of the first ones, while uploads and while reads go on.
PASSING = {
    "a storm of 500 and 503": (
        [answers(500, "InternalError", share=0.2), answers(503, "SlowDown", share=0.25)],
        answers(503, "SlowDown", when=GET_SEGMENT, times=3),
    ),
    "reset in the body": (
        [Fault(Cut.RESET_UPLOAD, after_bytes=300_000, when=PUT_SEGMENT, times=3)],
        Fault(Cut.RESET_DOWNLOAD, after_bytes=100_000, when=GET_SEGMENT),
    ),
    "answers lost or cut short": (
        [Fault(Cut.LOSE_ANSWER, share=0.3)],
        Fault(Cut.TRUNCATE, after_bytes=100_000, when=GET_SEGMENT),
    ),
    "damaged on the way": (
        [Fault(Cut.CORRUPT_UPLOAD, after_bytes=1000, when=PUT_SEGMENT, times=3)],
        Fault(Cut.CORRUPT_DOWNLOAD, after_bytes=1000, when=GET_SEGMENT, times=3),
    ),
    "not there yet": (
        [answers(404, "NoSuchKey", when=requests_of("HEAD", "/segments/"))],
        answers(404, "NoSuchKey", when=GET_SEGMENT, times=3),
    ),
}


@pytest.mark.parametrize(("of_uploads", "of_reads"), PASSING.values(), ids=PASSING)
def test_what_passes_by_itself_is_noticed_by_nobody(
    served: FaultyGateway, of_uploads: list[Fault], of_reads: Fault
) -> None:
    first = len(served.blocks)
    with served.proxy.fault(*of_uploads):
        served.back_up()
        served.wait_uploaded()
    with served.proxy.fault(of_reads):
        served.read_back(first)
    assert of_reads.met


@pytest.mark.parametrize(
    ("outage", "told"),
    [
        (FaultyS3.gone, "store cannot be reached"),
        (
            lambda proxy: proxy.fault(answers(403, "RequestTimeTooSkewed")),
            "(set this machine's clock)",
        ),
    ],
    ids=["gone", "clock"],
)
def test_an_outage_is_told_to_all_but_the_writer(
    served: FaultyGateway, outage: Callable[[FaultyS3], AbstractContextManager[None]], told: str
) -> None:
    first = len(served.blocks)
    served.back_up()
    served.wait_uploaded()
    served.reload()
    with outage(served.proxy):
        served.back_up()
        wait_until(lambda: any(told in one for one in served.alerts()), f"{told} told", WAIT_S)
        wait_until(lambda: DIAGNOSTICS in served.tape_alerts(), "a flag of the drive", WAIT_S)
        # What only the store has is waited for.
        served.drive.locate(first)
        read = bytes((0x08, 0x02)) + BLOCK_BYTES.to_bytes(3, "big") + b"\0"
        status = served.drive.session.execute(read, data_in_bytes=BLOCK_BYTES).status
        assert status == BUSY
    wait_until(lambda: served.alerts() == [], "no alert any more", WAIT_S)
    assert DIAGNOSTICS not in served.tape_alerts()
    raised, cleared = served.events()[-2:]
    assert (raised["Type"], cleared["Type"]) == ("AlertRaised", "AlertCleared")
    assert told in raised["Detail"]["message"]
    served.wait_uploaded()
    served.read_back(first)


def test_keys_that_expire_are_told_and_new_ones_are_found(served: FaultyGateway) -> None:
    first = len(served.blocks)
    old = f"Credential={ACCESS_KEY}/"
    expired = answers(
        400, "ExpiredToken", when=lambda request: old in request.headers.get("authorization", "")
    )
    with served.proxy.fault(expired):
        served.back_up()
        wait_until(lambda: served.alerts() != [], "an alert", WAIT_S)
        status = served.gateway.json("status")
        assert status["StoreError"].startswith("credentials refused")
        assert "expired" in status["StoreHint"]
        assert "expired" in served.events()[-1]["Detail"]["message"]
        served.set_keys(NEW_ACCESS_KEY, NEW_SECRET_KEY)
        served.back_up()
        served.wait_uploaded()
        wait_until(lambda: served.alerts() == [], "no alert any more", WAIT_S)
        served.read_back(first)


def test_a_store_that_does_not_answer_holds_up_nothing_for_good(served: FaultyGateway) -> None:
    first = len(served.blocks)
    for cut in (Cut.NO_ANSWER, Cut.BLACK_HOLE):
        with served.proxy.fault(silent := Fault(cut)):
            served.back_up(2)
            wait_until(lambda: silent.met > 0, "a request", WAIT_S)
        served.proxy.drop_connections()
    served.wait_uploaded()
    served.read_back(first)


def test_a_line_of_10_kib_a_second_brings_it_all(served: FaultyGateway) -> None:
    first = len(served.blocks)
    with served.proxy.fault(slow(10 * 1024)):
        served.write(os.urandom(32 * 1024).ljust(BLOCK_BYTES, b"\0"))
        served.drive.write_filemarks(0)
        served.wait_uploaded()
        served.read_back(first)


def test_a_full_buffer_slows_the_writer_and_then_says_busy(served: FaultyGateway) -> None:
    first, block = len(served.blocks), os.urandom(BLOCK_BYTES)
    write = bytes((0x0A, 0)) + BLOCK_BYTES.to_bytes(3, "big") + b"\0"
    statuses = []
    served.back_up()
    with served.proxy.fault(answers(503, "SlowDown")):
        while BUSY not in statuses:
            assert len(statuses) < 2 * BUFFER_BYTES // BLOCK_BYTES
            statuses.append(served.drive.session.execute(write, data_out=block).status)
            served.blocks += [block] * (statuses[-1] == GOOD)
        # Whoever asks again gets the same answer, and has lost nothing.
        assert served.drive.session.execute(write, data_out=block).status == BUSY
        assert served.drive.read_position() == len(served.blocks)
        wait_until(
            lambda: any("UploadBuffer" in one or "UPLOAD_BUFFER" in one for one in served.alerts()),
            "an alert of the buffer",
            WAIT_S,
        )
    assert set(statuses) == {GOOD, BUSY}
    served.back_up()
    served.wait_uploaded()
    wait_until(lambda: served.alerts() == [], "no alert any more", WAIT_S)
    served.read_back(first)


def test_it_stops_in_an_outage_and_the_next_one_uploads_the_rest(served: FaultyGateway) -> None:
    gateway = served.gateway
    with served.proxy.fault(silent := Fault(Cut.NO_ANSWER, when=PUT_SEGMENT)):
        served.back_up()
        wait_until(lambda: silent.met > 0, "an upload", WAIT_S)
        gateway.stop()
    assert "did not stop" not in gateway.log()
    gateway.serve()
    served.connect()
    served.drive.wait_ready()
    # From here on the disks have nothing of the tape any more; the store has what all tests wrote.
    served.wait_uploaded()
    served.read_back(0)
    assert gateway.json("check", "--store")["Clean"]
