"""open-iscsi, sg3_utils, mtx, mt and tar of a stock Debian against a served library."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.gateway import Gateway
from tests.support.guest import GuestResult, run_guest

SUITES = ("discovery", "sg3", "mtx", "mt", "tar")
KNOWN_FAIL = Path(__file__).with_name("guest-known-fail.txt")
DRIVES, SLOTS, TAPES = 10, 32, 6
# What the guest calls itself; CHAP knows initiators by their names, as AWS does.
GUEST_NAME = "iqn.2000-01.harness:guest"
CHAP_SECRET = "twelve-bytes-1"


def known_failures() -> dict[str, str]:
    """Return check name to reason; a name without a reason is an error."""
    lines = [line for line in KNOWN_FAIL.read_text().splitlines() if line and line[0] != "#"]
    pairs = [line.partition(": ") for line in lines]
    assert all(reason for _, _, reason in pairs), "a known failure needs a reason"
    return {name: reason for name, _, reason in pairs}


@pytest.fixture
def library(make_gateway: Callable[..., Gateway]) -> Iterator[Gateway]:
    gateway = make_gateway()
    gateway.activate("--drives", str(DRIVES), "--slots", str(SLOTS))
    gateway.create_tapes("--count", str(TAPES))
    gateway.serve()
    yield gateway
    gateway.stop()


# The check pipes the list of sessions into `grep -q`, under pipefail: with more than 4 KiB of list,
# some nine sessions, the writer dies of the closed pipe. It runs in the test with fewer sessions.
WITH_FEW_SESSIONS_ONLY = "discovery/idle-nop"
# QEMU answers REPORT LUNS by itself, and virtio-scsi carries no command of a MiB.
NOT_THROUGH_QEMU = frozenset(
    {"sg3/luns", "tar/dd-1M", "tar/dd-2M", "tar/tar-b2048", "tar/tar-b4096"}
)


@pytest.mark.timeout(1800)
def test_every_check_of_the_guest_suites_passes(library: Gateway) -> None:
    result = run_guest(
        library.portal,
        *SUITES,
        EXPECT_DRIVES=str(DRIVES),
        EXPECT_CHANGERS="1",
        SKIP_CHECKS=WITH_FEW_SESSIONS_ONLY,
    )
    assert_passed(result)
    assert {name.split("/")[0] for name in result.passed} >= set(SUITES), result.output
    stale = [name for name in known_failures() if name in result.passed]
    assert not stale, f"these pass now, take them off the list: {stale}"


@pytest.mark.timeout(1800)
def test_transport_options_with_few_sessions_and_chap(library: Gateway) -> None:
    secret_file = library.root / "secret"
    secret_file.write_text(CHAP_SECRET)
    for device in ("mediachanger", "tapedrive-01", "tapedrive-02"):
        library.cli("chap", "set", device, GUEST_NAME, "--secret-file", str(secret_file))
    result = run_guest(
        library.portal,
        "discovery",
        TARGETS="mediachanger|tapedrive-0[12]",
        EXPECT_DRIVES="2",
        EXPECT_CHANGERS="1",
        CHAP_USER=GUEST_NAME,
        CHAP_PASS=CHAP_SECRET,
    )
    assert_passed(result)
    assert WITH_FEW_SESSIONS_ONLY in result.passed


@pytest.mark.timeout(1800)
def test_every_check_passes_through_qemu_too(make_gateway: Callable[..., Gateway]) -> None:
    """QEMU's libiscsi is the initiator, and the guest's drivers speak SCSI through it."""
    gateway = make_gateway()
    gateway.activate("--drives", "3", "--slots", str(SLOTS))
    gateway.create_tapes("--count", str(TAPES))
    gateway.serve()
    result = run_guest(gateway.portal, *SUITES[1:], ATTACH="qemu", EXPECT_DRIVES="3")
    gateway.stop()
    assert_passed(result, NOT_THROUGH_QEMU)
    assert {name.split("/")[0] for name in result.passed} >= set(SUITES[1:]), result.output


def assert_passed(
    result: GuestResult, not_applicable: frozenset[str] = frozenset((WITH_FEW_SESSIONS_ONLY,))
) -> None:
    assert result.exit_status in (0, 1), result.output
    allowed = known_failures()
    failed = [f"{name}: {why}" for name, why in result.failed.items() if name not in allowed]
    assert not failed, "\n".join(["failed checks:", *failed])
    skipped = set(result.skipped) - not_applicable
    assert not skipped, f"skipped checks: {sorted(skipped)}"
