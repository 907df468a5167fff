"""A tape's whole life over real servers: SeaweedFS, moto (whose Glacier archives), a directory.

Upload, archive, lose the cache, retrieve, read back: the same bytes; and what a user is told when
the store cannot be used.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from tapectl.errors import ExitCode
from tapectl.gateway.transfer.engine import TransferEngine
from tapectl.scsi.cartridge import CartridgeBusyError, Mark
from tapectl.state.tape_status import TapeStatus
from tapectl.store.directory import DirectoryStore
from tapectl.store.interface import (
    BucketNotFoundError,
    ObjectArchivedError,
    ObjectStore,
    PutOptions,
    StorageClass,
    StoreCredentialsError,
    StoreError,
)
from tapectl.store.s3 import S3Store
from tapectl.store.s3_client import S3Clients
from tests.support.fetched import fetched
from tests.support.s3_servers import S3Server, free_ports, moto_server, weed_server
from tests.support.transfer_gateway import TransferGateway, run_until_idle
from tests.support.two_gateways import read, write

TAPE, DRIVEN, AGAIN = "LIFE01L5", "LIFE02L5", "LIFE03L5"
MIB = 1 << 20
Result = TypeVar("Result")


@pytest.fixture(scope="module")
def moto() -> Iterator[S3Server]:
    with moto_server() as server:
        yield server


@pytest.fixture(scope="module")
def weed() -> Iterator[S3Server]:
    with weed_server() as server:
        yield server


@pytest.fixture(params=["directory", "moto", "weed"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "directory":
        (tmp_path / "store").mkdir()
        return DirectoryStore(tmp_path / "store", now_ms=lambda: time.time_ns() // 1_000_000)
    server: S3Server = request.getfixturevalue(request.param)
    found: S3Store = server.store("lifecycle", "a/prefix")
    return found


@pytest.mark.parametrize("archive", [False, True])
def test_what_was_overwritten_leaves_the_store(
    tmp_path: Path, store: ObjectStore, archive: bool
) -> None:
    gateway = TransferGateway(tmp_path / "gateway", ms=time.time_ns() // 1_000_000)
    engine = gateway.engine(store, keep_overwritten_days=0.01)
    gateway.create_tape(AGAIN)
    run_until_idle(engine)
    before, written = ([os.urandom(MIB) for _ in range(count)] for count in (4, 2))
    for blocks in (before, written):
        write(gateway, AGAIN, blocks, engine=engine)
        run_until_idle(engine)
    if archive:
        gateway.change_status(AGAIN, TapeStatus.IN_TRANSIT_TO_VTS)
        run_until_idle(engine)

    def kept_bytes() -> int:
        return sum(info.size_bytes for info in store.list(f"tapes/{AGAIN}/"))

    assert kept_bytes() > 6 * MIB
    for _ in range(2):
        gateway.ms += 15 * 60_000
        run_until_idle(engine)
    assert 2 * MIB < kept_bytes() < 3 * MIB
    if archive:
        gateway.change_status(AGAIN, TapeStatus.RETRIEVING, retrieval_tier="Bulk")
        for _ in range(5):
            run_until_idle(engine)
            gateway.ms += 10_000
        assert gateway.tape(AGAIN).status is TapeStatus.RETRIEVED
    gateway.drop_cache()
    assert [one for one in read(gateway, AGAIN, engine) if one is not None] == written
    engine.close()


def test_the_whole_life_of_a_tape(tmp_path: Path, store: ObjectStore) -> None:
    gateway = TransferGateway(tmp_path / "gateway", ms=time.time_ns() // 1_000_000)
    engine = gateway.engine(store)
    gateway.create_tape(TAPE)
    contents = [
        gateway.write_segment(TAPE, [os.urandom(3 * MIB), bytes(5 * MIB), os.urandom(70_000)])
        for _ in range(4)
    ]
    run_until_idle(engine)
    assert gateway.tape(TAPE).status is TapeStatus.AVAILABLE
    assert not list(gateway.buffer.glob("tapes/*/*"))

    gateway.change_status(TAPE, TapeStatus.IN_TRANSIT_TO_VTS)
    run_until_idle(engine)
    assert gateway.tape(TAPE).status is TapeStatus.ARCHIVED
    assert gateway.local_files() == []
    for info in store.list(f"tapes/{TAPE}/archive/"):
        assert info.storage_class == "GLACIER"

    gateway.change_status(TAPE, TapeStatus.RETRIEVING, retrieval_tier="Bulk")
    for _ in range(5):
        run_until_idle(engine)
        gateway.ms += 10_000
    tape = gateway.tape(TAPE)
    assert (tape.status, tape.write_protected) == (TapeStatus.RETRIEVED, True)
    for sequence, content in enumerate(contents, 1):
        assert fetched(engine, TAPE, sequence, 0, len(content)) == content

    gateway.change_status(TAPE, TapeStatus.IN_TRANSIT_TO_VTS)
    run_until_idle(engine)
    gateway.change_status(TAPE, TapeStatus.DELETING)
    run_until_idle(engine)
    assert list(store.list(f"tapes/{TAPE}/")) == []
    engine.close()


class EngineFetcher:
    """What a drive worker has between itself and the transfer process, without the socket."""

    def __init__(self, engine: TransferEngine) -> None:
        self._engine = engine

    def ensure(self, barcode: str, sequence: int, offset: int, size_bytes: int) -> Path:
        path, ready = self._engine.fetch_service.ensure(barcode, sequence, offset, size_bytes)
        if not ready:
            raise CartridgeBusyError("on its way")
        return path

    def discard(self, barcode: str, sequence: int) -> None:
        self._engine.fetch_service.discard(barcode, sequence)

    def count_missed(self, size_bytes: int) -> None:
        pass


def patiently(call: Callable[[], Result]) -> Result:
    """Run a command again while it answers busy, as the connection loop does."""
    for _ in range(3000):
        try:
            return call()
        except CartridgeBusyError:
            time.sleep(0.005)
    raise AssertionError("the data never came")


def test_what_a_drive_wrote_it_reads_after_the_shelf(tmp_path: Path, store: ObjectStore) -> None:
    gateway = TransferGateway(tmp_path / "gateway", ms=time.time_ns() // 1_000_000)
    engine = gateway.engine(store)
    gateway.create_tape(DRIVEN)
    run_until_idle(engine)
    blocks = [os.urandom(65536) for _ in range(80)]
    cartridge = gateway.load(DRIVEN)
    for block in blocks:
        cartridge.write_blocks(memoryview(block), len(block))
    cartridge.write_filemarks(1)
    cartridge.close()
    gateway.change_status(DRIVEN, TapeStatus.IN_TRANSIT_TO_VTS)
    run_until_idle(engine)
    assert gateway.tape(DRIVEN).status is TapeStatus.ARCHIVED
    assert gateway.local_files() == []
    gateway.change_status(DRIVEN, TapeStatus.RETRIEVING, retrieval_tier="Standard")
    for _ in range(5):
        run_until_idle(engine)
        gateway.ms += 10_000
    assert gateway.tape(DRIVEN).status is TapeStatus.RETRIEVED

    fetcher = EngineFetcher(engine)
    cartridge = patiently(lambda: gateway.load(DRIVEN, fetcher=fetcher))
    buffer = memoryview(bytearray(65536))
    for block in blocks:
        assert patiently(lambda: cartridge.read_block(buffer)) == len(block)
        assert buffer == block
    assert patiently(lambda: cartridge.read_block(buffer)) is Mark.FILEMARK
    assert patiently(lambda: cartridge.read_block(buffer)) is Mark.END_OF_DATA
    assert cartridge.write_protected
    cartridge.close()
    engine.close()


def test_a_large_object_goes_in_parts(tmp_path: Path, weed: S3Server) -> None:
    store = weed.store("parts")
    path = tmp_path / "large"
    with path.open("wb") as file:
        for number in range(140):
            file.write(bytes([number]) * MIB)
    with path.open("rb") as file:
        info = store.put("large", file)
        assert not file.closed
    assert info.size_bytes == 140 * MIB
    assert store.get("large", offset=64 * MIB - 2, size_bytes=4) == b"\x3f\x3f\x40\x40"


def test_archived_bytes_cannot_be_read_before_their_restore(moto: S3Server) -> None:
    store = moto.store("cold")
    store.put("warm", b"frozen")
    store.copy("warm", "cold", options=PutOptions(storage_class=StorageClass.DEEP_ARCHIVE))
    with pytest.raises(ObjectArchivedError):
        store.get("cold")


def test_a_bucket_that_is_missing(weed: S3Server) -> None:
    store = S3Store("no-such-bucket", "", weed.client)
    with pytest.raises(BucketNotFoundError) as caught:
        store.check()
    assert caught.value.exit_code is ExitCode.STORE_NOT_FOUND
    assert "no-such-bucket" in caught.value.message


def test_a_wrong_secret(weed: S3Server) -> None:
    weed.store("secret")
    store = S3Store("secret", "", lambda: weed.client(secret_key="wrong"))
    with pytest.raises(StoreCredentialsError) as caught:
        store.check()
    assert caught.value.exit_code is ExitCode.STORE_CREDENTIALS
    assert "wrong" not in str(caught.value)


def test_no_credentials_at_all(
    tmp_path: Path, weed: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    store = S3Store("secret", "", S3Clients(endpoint_url=weed.endpoint_url))
    with pytest.raises(StoreCredentialsError) as caught:
        store.check()
    assert caught.value.hint
    assert "AWS_ACCESS_KEY_ID" in caught.value.hint


def test_an_endpoint_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    (port,) = free_ports(1)
    store = S3Store("bucket", "", S3Clients(endpoint_url=f"http://127.0.0.1:{port}"))
    with pytest.raises(StoreError) as caught:
        store.check()
    assert caught.value.retryable
    assert caught.value.exit_code is ExitCode.STORE_UNREACHABLE
    assert "\n" not in caught.value.message
