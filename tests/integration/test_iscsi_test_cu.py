"""libiscsi's conformance suite against our portal, login, connection loop and SPC commands.

`iscsi-test-cu` tests disks only, so the logical unit is a disk in memory (`support/disk_unit.py`)
on the project's own device server; everything else is what tapes are served with.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.clients import PROJECT, require_program
from tests.support.gateway import HOST, Gateway, free_port

PROGRAM, PACKAGE = "iscsi-test-cu", "libiscsi-bin"
TIMEOUT_S = 120
# Longer than all of this takes.
TARGET_LIFE_S = 600
DEVICE = "tapedrive-01"
# The program's own default.
INITIATOR_NAME = "iqn.2007-10.com.github:sahlberg:libiscsi:iscsi-test"

# Every family that is run, with the number of its tests.
FAMILIES = {
    # iSCSI
    "iSCSIcmdsn": 2,
    "iSCSIdatasn": 1,
    "iSCSIResiduals": 10,
    "iSCSITMF": 2,
    # SPC
    "Inquiry": 7,
    "ModeSense6": 5,
    "PreventAllow": 8,
    "PrinReadKeys": 2,
    "PrinServiceactionRange": 1,
    "PrinReportCapabilities": 1,
    "ProutRegister": 1,
    "ProutReserve": 13,
    "ProutClear": 1,
    "ProutPreempt": 1,
    "ReportSupportedOpcodes": 4,
    "Reserve6": 7,
    "StartStopUnit": 3,
    "TestUnitReady": 1,
    # What moves data: beyond the disk, transfers of all sizes in both directions
    "Mandatory": 1,
    "Read6": 2,
    "Read10": 6,
    "Read12": 5,
    "Read16": 5,
    "ReadCapacity10": 1,
    "ReadCapacity16": 4,
    "Verify10": 8,
    "Verify12": 8,
    "Verify16": 8,
    "Write10": 6,
    "Write12": 5,
    "Write16": 5,
    "WriteVerify10": 6,
    "WriteVerify12": 6,
    "WriteVerify16": 6,
    "MultipathIO.Simple": 1,
    "MultipathIO.Reset": 1,
}

_NO_SUCH_COMMAND = "a command of disks that no tape device has, and so not the test's disk either"
NOT_RUN = {
    "CompareAndWrite": _NO_SUCH_COMMAND,
    "ExtendedCopy": _NO_SUCH_COMMAND,
    "GetLBAStatus": _NO_SUCH_COMMAND,
    "MultipathIO.CompareAndWrite": _NO_SUCH_COMMAND,
    "MultipathIO.CompareAndWriteAsync": _NO_SUCH_COMMAND,
    "OrWrite": _NO_SUCH_COMMAND,
    "Prefetch10": _NO_SUCH_COMMAND,
    "Prefetch16": _NO_SUCH_COMMAND,
    "ReadDefectData10": _NO_SUCH_COMMAND,
    "ReadDefectData12": _NO_SUCH_COMMAND,
    "ReceiveCopyResults": _NO_SUCH_COMMAND,
    "Sanitize": _NO_SUCH_COMMAND,
    "Unmap": _NO_SUCH_COMMAND,
    "WriteAtomic16": _NO_SUCH_COMMAND,
    "WriteSame10": _NO_SUCH_COMMAND,
    "WriteSame16": _NO_SUCH_COMMAND,
    "NoMedia": "tests one disk command after the other, half of which the test's disk lacks",
    "ReadOnly": "wants a disk that is write protected from outside",
}

# Parts of a test that say themselves that they do not apply.
EXPECTED_SKIPS = {
    "Inquiry": {"Logical unit is fully provisioned. Skipping test"},
}

# After a DataSN out of order the target drops the connection, as it must at error recovery level
# 0. The program logs in again in the middle of its next write, and if immediate data are
# negotiated then, that write has no Data-Out whose DataSN could be wrong, and succeeds.
WITHOUT_IMMEDIATE_DATA = {"iSCSIdatasn"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that is not served itself: its state says which targets there are."""
    require_program(PROGRAM, PACKAGE)
    made = Gateway(tmp_path_factory.mktemp("disk"))
    made.activate("--drives", "1")
    yield made
    made.close()


@contextmanager
def served_disk(gateway: Gateway, *options: str) -> Iterator[str]:
    """Serve the disk in the place of the drive; yield its URL."""
    port = free_port()
    command = [sys.executable, "-m", "tests.support.disk_target", "--state", str(gateway.state)]
    command += ["--port", str(port), "--device", DEVICE, "--life-s", str(TARGET_LIFE_S), *options]
    with (
        gateway.log_path.open("ab") as log,
        subprocess.Popen(
            command,
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as server,
    ):
        assert server.stdout is not None
        assert server.stdin is not None
        assert server.stdout.readline() == "ready\n", gateway.log()[-4000:]
        yield f"iscsi://{HOST}:{port}/{gateway.targets()[DEVICE]}/0"
        server.stdin.close()
    assert server.returncode == 0, gateway.log()[-4000:]
    assert "Traceback" not in gateway.log(), gateway.log()[-4000:]


@pytest.fixture(scope="module")
def disk(gateway: Gateway) -> Iterator[str]:
    with served_disk(gateway) as url:
        yield url


@pytest.fixture(scope="module")
def disk_without_immediate_data(gateway: Gateway) -> Iterator[str]:
    with served_disk(gateway, "--no-immediate-data") as url:
        yield url


def run_tests(name: str, *urls: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [require_program(PROGRAM, PACKAGE), "--dataloss", "--normal", "--test", name, *urls],
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def check_outcome(done: subprocess.CompletedProcess[str], tests: int, skips: set[str]) -> None:
    """Fail unless that many tests ran and passed, and nothing was passed over but `skips`."""
    output = done.stdout + done.stderr
    summary = re.search(r"^ *tests +(\d+) +(\d+) +(\d+) +(\d+) +(\d+)$", output, re.MULTILINE)
    assert summary is not None, output
    total, ran, passed, failed, inactive = map(int, summary.groups())
    assert (failed, inactive) == (0, 0), output
    assert total == ran == passed == tests, output
    skipped = set(re.findall(r"\[SKIPPED\] *(.*)", output))
    assert skipped <= skips, output
    assert done.returncode == 0, output


@pytest.mark.parametrize("family", FAMILIES)
def test_family(family: str, request: pytest.FixtureRequest) -> None:
    without = family in WITHOUT_IMMEDIATE_DATA
    url: str = request.getfixturevalue("disk_without_immediate_data" if without else "disk")
    urls = [url, url] if family.startswith("MultipathIO") else [url]
    done = run_tests(f"ALL.{family}", *urls)
    check_outcome(done, FAMILIES[family], EXPECTED_SKIPS.get(family, set()))


def test_every_family_is_run_or_has_its_reason() -> None:
    program = require_program(PROGRAM, PACKAGE)
    listing = subprocess.run(
        [program, "--list"], capture_output=True, text=True, timeout=TIMEOUT_S, check=True
    ).stdout
    known = {*FAMILIES, *NOT_RUN}
    names = {line.removeprefix("ALL.") for line in listing.splitlines() if line.startswith("ALL.")}
    unknown = {name for name in names if "." in name and not known & {name, name.partition(".")[0]}}
    assert not unknown


def test_mutual_chap(gateway: Gateway) -> None:
    secrets = {"initiator": "initiators-12", "target": "targets-own-12"}
    options = []
    for who, option in (("initiator", "--secret-file"), ("target", "--target-secret-file")):
        path = gateway.root / f"{who}.secret"
        path.write_text(secrets[who])
        options += [option, str(path)]
    gateway.cli("chap", "set", DEVICE, INITIATOR_NAME, *options)
    try:
        with served_disk(gateway) as url:
            knows = {
                "LIBISCSI_CHAP_USERNAME": INITIATOR_NAME,
                "LIBISCSI_CHAP_PASSWORD": secrets["initiator"],
                "LIBISCSI_CHAP_TARGET_USERNAME": gateway.targets()[DEVICE],
                "LIBISCSI_CHAP_TARGET_PASSWORD": secrets["target"],
            }
            check_outcome(run_tests("ALL.TestUnitReady", url, **knows), 1, set())
            for name in ("LIBISCSI_CHAP_PASSWORD", "LIBISCSI_CHAP_TARGET_PASSWORD"):
                wrong = knows | {name: "not-the-secret"}
                assert run_tests("ALL.TestUnitReady", url, **wrong).returncode != 0
            assert run_tests("ALL.TestUnitReady", url).returncode != 0
    finally:
        gateway.cli("chap", "delete", DEVICE, INITIATOR_NAME, "--yes")
