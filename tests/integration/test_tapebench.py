"""tapebench, a client that checks every block and position, against the served drives."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.gateway import Gateway
from tests.support.tapebench import Tapebench

DRIVES = 10
ENGINES = ("raw", "libiscsi")


@pytest.fixture(scope="module")
def loaded() -> Iterator[Gateway]:
    """A served library with a tape in its first drive, which each run writes from its beginning."""
    with tempfile.TemporaryDirectory() as folder:
        gateway = Gateway(Path(folder))
        try:
            gateway.activate("--drives", "1")
            (barcode,) = gateway.create_tapes("--count", "1")
            gateway.serve()
            gateway.load(barcode)
            yield gateway
        finally:
            gateway.close()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("form", [(), ("-f",)], ids=["variable", "fixed"])
def test_mixed_positions_filemarks_and_lengths(
    loaded: Gateway, tapebench: Tapebench, engine: str, form: tuple[str, ...]
) -> None:
    options = ("-o", "mixed", "-E", engine, "-b", "64k", "-t", "32m", *form)
    tapebench.run(*options, urls=loaded.urls([1])).assert_clean()


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("-b", "10k"), id="small-blocks"),
        pytest.param(("-b", "1m"), id="large-blocks"),
        pytest.param(("-b", "10001"), id="odd-length"),
        pytest.param(("-f", "-b", "4k", "-n", "64"), id="fixed"),
        pytest.param(("-b", "256k", "--data-digest", "--header-digest"), id="digests"),
        pytest.param(("-b", "256k", "--initial-r2t", "1", "--immediate", "0"), id="all-by-r2t"),
        pytest.param(
            ("-b", "256k", "--first-burst", "8k", "--max-burst", "16k", "--mrdsl", "8k"),
            id="small-bursts",
        ),
        pytest.param(("-b", "64k", "-q", "16"), id="queue-depth-16"),
        pytest.param(("-b", "64k", "--compressible", "--fm-every", "6m"), id="filemarks"),
    ],
)
def test_what_is_written_verifies(
    loaded: Gateway, tapebench: Tapebench, options: tuple[str, ...]
) -> None:
    common = ("-E", "raw", "-t", "64m", *options)
    tapebench.run("-o", "write", *common, urls=loaded.urls([1])).assert_clean()
    tapebench.run("-o", "verify", *common, urls=loaded.urls([1])).assert_clean()


@pytest.mark.timeout(600)
def test_ten_drives_at_once_with_eleven_sessions(
    make_gateway: Callable[..., Gateway], tapebench: Tapebench
) -> None:
    gateway = make_gateway()
    gateway.activate("--drives", str(DRIVES))
    barcodes = gateway.create_tapes("--count", str(DRIVES))
    gateway.serve()
    changer = gateway.changer()  # the eleventh session, open all the time
    for drive, barcode in enumerate(barcodes):
        changer.load(barcode, drive)
    urls = gateway.urls(range(1, DRIVES + 1))
    options = ("-E", "raw", "-b", "256k", "-t", "64m")
    tapebench.run("-o", "write", *options, urls=urls).assert_clean()
    assert changer.test_unit_ready()
    tapebench.run("-o", "verify", *options, urls=urls).assert_clean()
    for drive, barcode in enumerate(barcodes):
        changer.unload(drive)
        assert changer.address_of(barcode) is not None
