"""The kernel's target in a stock Debian, with the gateway in the guest behind it: iSCSI, tcm_loop.

TAPECTL_LIO_SUITES names the suites of real clients to run through each fabric (a minute or more
each); without it only those run that are about the kernel's target.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.gateway import Gateway
from tests.support.guest import run_guest
from tests.support.guest_site import write_site

JOBS = Path(__file__).parents[1] / "support" / "guest_lio"
CLIENTS = os.environ.get("TAPECTL_LIO_SUITES", "").split()
# Some checks of the clients' suites want a second one.
DRIVES = 2 if CLIENTS else 1
# tcm_loop has 256 pages a command: 1 MiB.
NOT_THROUGH_LOOPBACK = {"tar/dd-2M", "tar/tar-b4096"}


@pytest.mark.timeout(1800)
def test_the_kernels_target(make_gateway: Callable[..., Gateway], tmp_path: Path) -> None:
    gateway = make_gateway()
    gateway.activate("--drives", str(DRIVES), "--slots", "8")
    gateway.create_tapes("--count", "3")
    jobs = tmp_path / "jobs"
    shutil.copytree(JOBS, jobs)
    write_site(jobs / "site.tar")
    with tarfile.open(jobs / "gateway.tar", "w") as archive:
        archive.add(gateway.root, ".")
    settings = {k: v for k, v in gateway.environment.items() if k.startswith("TAPECTL_")}
    exports = {"ROOT": str(gateway.root), "NO_COLOR": "1", **settings}
    (jobs / "gateway.env").write_text(
        "".join(f"export {name}={value}\n" for name, value in exports.items())
    )
    by_iscsi = [*CLIENTS, "takeover", "residuals", "access"]
    by_loopback = [*CLIENTS, "residuals"]
    result = run_guest(
        ("127.0.0.1", 3260),
        *by_iscsi,
        "loopback",
        *by_loopback,
        "killed",
        ATTACH="lio",
        JOBS=str(jobs),
        JOB_ARGS="long" if CLIENTS else "",
        EXPECT_DRIVES=str(DRIVES),
        MEM="4096" if CLIENTS else "2048",
    )
    assert result.exit_status == 0, result.output
    assert not result.failed
    assert set(result.skipped) <= NOT_THROUGH_LOOPBACK
    # The last checks of each suite: none has ended early.
    assert {"takeover/upgrade", "access/chap", "loopback/serve", "killed/lio-clean"} <= set(
        result.passed
    )
    assert result.passed.count("residuals/fixed-up-to-filemark") == 2
