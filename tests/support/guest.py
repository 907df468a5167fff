"""Runs the suites of ../shared/harness: real tape clients in a virtual machine."""

from __future__ import annotations

import fcntl
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.clients import missing, require_program, require_shared

JOBS = Path(__file__).with_name("guest_jobs")
LIMIT_S = 1200
# Each check has a limit of its own, meant for a machine that does nothing else.
LIMITS_TIMES = 3
BUILD_LIMIT_S = 600


@dataclass(frozen=True, slots=True)
class GuestResult:
    """The outcome of one boot: check name to reason, and the last lines said."""

    passed: list[str]
    failed: dict[str, str]
    skipped: dict[str, str]
    exit_status: int
    output: str


def work_folder() -> Path:
    """Return where the guest's image is kept between runs; run.sh has the same default."""
    return Path(os.environ.get("WORK") or Path(os.environ.get("TMPDIR", "/tmp"), "harness-work"))


def build_guest() -> None:
    """Build the image unless it is up to date; a minute, and a Debian mirror.

    Two test processes may want it at once: the second waits, and finds it built.
    """
    script = require_shared("harness", "build.sh")
    require_program("qemu-system-x86_64", "qemu-system-x86")
    if not (work_folder() / "image.key").exists() and os.geteuid() != 0:
        missing("building the guest image needs root")
    work_folder().mkdir(parents=True, exist_ok=True)
    with (work_folder() / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        built = subprocess.run(
            [str(script)],
            env=os.environ | {"WORK": str(work_folder())},
            capture_output=True,
            text=True,
            timeout=BUILD_LIMIT_S,
            check=False,
        )
    if built.returncode:
        missing(f"the guest image cannot be built: {built.stdout[-1000:]}{built.stderr[-1000:]}")


def run_guest(portal: tuple[str, int], *suites: str, **variables: str) -> GuestResult:
    """Boot the guest against a portal and run these suites, of the harness or of JOBS.

    `variables` are those of run.sh; JOBS and ATTACH have defaults of our own.
    """
    build_guest()
    host, port = portal
    command = [str(require_shared("harness", "run.sh")), f"{host}:{port}", *suites]
    environment = (
        os.environ
        | {"WORK": str(work_folder()), "LIMIT": str(LIMIT_S), "SCALE": str(LIMITS_TIMES)}
        # Emulated, a second processor costs two thirds more and gains nothing beside other tests.
        | {"SMP": "1", "JOBS": str(JOBS), "ATTACH": "roomy"}
        | variables
    )
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Linux shares processors out among sessions first: beside other tests the guest has one.
        start_new_session=True,
    ) as process:
        try:
            stdout, stderr = process.communicate(timeout=LIMIT_S + 60)
        except BaseException:
            process.terminate()  # and it ends the guest; no terminal's Ctrl-C reaches it
            raise
    lines = [line.strip() for line in stdout.splitlines()]
    return GuestResult(
        passed=[line[5:] for line in lines if line.startswith("PASS ")],
        failed=_reasons(lines, "FAIL "),
        skipped=_reasons(lines, "SKIP "),
        exit_status=process.returncode,
        output=(stdout + stderr)[-6000:],
    )


def _reasons(lines: list[str], outcome: str) -> dict[str, str]:
    pairs = (line[len(outcome) :].partition(": ") for line in lines if line.startswith(outcome))
    return {name: reason for name, _, reason in pairs}
