"""The conformance suite against a portal that it did not start, as it runs against anybody's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support.gateway import Gateway
from tests.support.initiator import SessionOptions

ROOT = Path(__file__).parents[2]
NAME, SECRET = SessionOptions().initiator_name, "horse battery 16"


def run_suite(
    files: Sequence[str], *options: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run some files of the suite as a user does, with these options."""
    paths = [f"tests/conformance/{name}" for name in files]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *paths, *options],
        cwd=ROOT,
        env=os.environ | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def counts(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Return the last line of a run by its words: passed, failed, skipped."""
    assert done.stdout, done.stderr[-2000:]
    last = done.stdout.strip().splitlines()[-1]
    return {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", last)}


def serve(make_gateway: Callable[..., Gateway], **settings: str) -> tuple[Gateway, str]:
    """Serve a library, and return the barcode of one of its tapes."""
    gateway = make_gateway(**settings)
    gateway.activate("--drives", "1", "--slots", "4", "--import-export", "1")
    (barcode, _) = gateway.create_tapes("--count", "2", "--allow-small", size="1GiB")
    gateway.serve()
    return gateway, barcode


def test_other_identities_of_our_own_conform_too() -> None:
    """What differs most between them: generations, capacities, partitions, element addresses."""
    files = ("spc_inquiry", "ssc_loading", "ssc_partitions", "ssc_block_protection", "smc_moves")
    done = run_suite(
        [f"test_{name}.py" for name in files],
        *("--tape-drive-type", "HPE-Ultrium-9", "--changer-type", "IBM-03584L32-0402"),
    )
    assert done.returncode == 0, done.stdout[-4000:]


def test_it_runs_against_a_portal_that_is_named(make_gateway: Callable[..., Gateway]) -> None:
    gateway, barcode = serve(make_gateway)
    targets = gateway.targets()
    done = run_suite(
        ["test_ssc_space.py", "test_ssc_protection.py", "test_smc_element_status.py"],
        *("--portal", f"127.0.0.1:{gateway.port}", "--iqn", targets["tapedrive-01"]),
        *("--changer-iqn", targets["mediachanger"], "--scratch", barcode),
    )
    found = counts(done)
    assert done.returncode == 0, done.stdout[-4000:]
    assert found["passed"] > 80, found
    # Of somebody else's library nothing is known but the tape that was named.
    assert found["skipped"] > 10, found


def test_it_runs_against_the_library_as_one_target(make_gateway: Callable[..., Gateway]) -> None:
    gateway, barcode = serve(make_gateway, library_target="true")
    done = run_suite(
        ["test_ssc_read_write.py", "test_spc_reservations.py", "test_spc_inquiry.py"],
        *("--portal", f"127.0.0.1:{gateway.port}", "--iqn", gateway.targets()["library"]),
        *("--lun", "1", "--changer-lun", "0", "--scratch", barcode),
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert counts(done)["passed"] > 150


def test_it_logs_in_with_chap_and_without_a_changer(make_gateway: Callable[..., Gateway]) -> None:
    gateway, barcode = serve(make_gateway)
    gateway.load(barcode)
    secret_file = gateway.root / "secret"
    secret_file.write_text(SECRET)
    gateway.cli("chap", "set", "tapedrive-01", NAME, "--secret-file", str(secret_file))
    portal = ("--portal", f"127.0.0.1:{gateway.port}", "--iqn", gateway.targets()["tapedrive-01"])
    done = run_suite(
        ["test_ssc_space.py"],
        *portal,
        *("--chap-user", NAME),
        TAPECTL_CONFORMANCE_CHAP_SECRET=SECRET,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert counts(done)["passed"] > 40
    assert run_suite(["test_ssc_space.py"], "-x", *portal).returncode != 0
