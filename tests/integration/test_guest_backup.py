"""Backup applications from end to end: Bacula backs up, exports its tapes to the archive, has them
retrieved, and restores from them; Amanda backs up until a tape warns of its end, and restores."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.clients import missing
from tests.support.gateway import Gateway
from tests.support.guest import JOBS, run_guest, work_folder

SUITES = ("bacula-jobs", "amanda")
# Beside those that the guest has.
PACKAGES = (
    "bacula-director",
    "bacula-director-sqlite3",
    "bacula-common-sqlite3",
    "bacula-fd",
    "bacula-console",
    "sqlite3",
    "amanda-client",
    "libxml-simple-perl",
    "libxml-parser-perl",
)
DOWNLOAD_LIMIT_S = 300
POLL_S = 1.0
TAPES_OF_THE_BACKUP = 2


def _download(packages: tuple[str, ...], folder: Path) -> None:
    """Fetch Debian packages, not those they depend on, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    if all(any(folder.glob(f"{name}_*.deb")) for name in packages):
        return
    for words in (("download", *packages), ("update", "-qq"), ("download", *packages)):
        done = subprocess.run(
            ["apt-get", *words],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_LIMIT_S,
            check=False,
        )
        if words[0] == "download" and done.returncode == 0:
            return
    missing(f"packages cannot be had: {done.stderr[-500:]}")


class Archivist(threading.Thread):
    """Retrieves `count` tapes once they have been archived, as somebody at a shell would."""

    def __init__(self, gateway: Gateway, count: int) -> None:
        super().__init__(daemon=True)
        self._gateway = gateway
        self._count = count
        self.over = threading.Event()
        self.retrieved: list[str] = []

    def run(self) -> None:
        while len(self.retrieved) < self._count and not self.over.wait(POLL_S):
            tapes = self._gateway.json("tape", "list", "--status", "ARCHIVED")
            for barcode in (tape["TapeBarcode"] for tape in tapes):
                self._gateway.cli("tape", "retrieve", barcode)
                self.retrieved.append(barcode)


def _read_from_the_bucket(gateway: Gateway, auditor: Gateway) -> int:
    """Read every tape on a machine without a gateway, the same bytes; return how many had some."""
    written = 0
    for tape in gateway.json("tape", "list"):
        barcode = tape["TapeBarcode"]
        if str(tape["Location"]).startswith("drive"):
            gateway.cli("tape", "unload", barcode)
        here, there = gateway.root / f"{barcode}.tap", auditor.root / f"{barcode}.tap"
        gateway.cli("tape", "export", barcode, str(here))
        auditor.cli("tape", "export", barcode, str(there), "--store", str(gateway.store))
        assert there.read_bytes() == here.read_bytes(), barcode
        written += tape["TapeUsedInBytes"] > 0
        here.unlink()
        there.unlink()
    return written


@pytest.mark.timeout(1800)
def test_backup_applications_back_up_and_restore(
    make_gateway: Callable[..., Gateway], tmp_path: Path
) -> None:
    packages = work_folder() / "packages"
    _download(PACKAGES, packages)
    jobs = tmp_path / "jobs"
    shutil.copytree(JOBS, jobs)
    shutil.copytree(packages, jobs / "packages")
    # So long they are away at least: the guest looks whether they are gone.
    gateway = make_gateway(
        early_warning_percent="12",
        hold_s="1",
        seal_idle_s="1",
        retrieval_poll_s="1",
        directory_retrieval_delay_s="12",
    )
    gateway.activate("--drives", "1", "--slots", "8")
    gateway.create_tapes("--count", "3")
    # Amanda's, one too small for what it dumps.
    gateway.create_tapes("--count", "3", "--allow-small", size="8MiB")
    gateway.serve()
    archivist = Archivist(gateway, TAPES_OF_THE_BACKUP)
    archivist.start()
    try:
        result = run_guest(gateway.portal, *SUITES, JOBS=str(jobs))
    finally:
        archivist.over.set()
        archivist.join()
    gateway.stop()
    assert result.exit_status == 0, result.output
    assert not result.failed
    assert not result.skipped
    assert {"bacula-jobs/restore", "amanda/restore"} <= set(result.passed)
    assert len(archivist.retrieved) == TAPES_OF_THE_BACKUP
    assert _read_from_the_bucket(gateway, make_gateway("auditor")) >= TAPES_OF_THE_BACKUP + 1
