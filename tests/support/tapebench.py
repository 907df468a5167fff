"""Builds and runs ../shared/bench/tapebench.c, a client that checks every block it reads."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.clients import missing, require_program, require_shared

# As tapebench's documentation builds it.
COMPILE = ("gcc", "-O2", "-g", "-Wall", "-msse4.2")
LIBRARIES = ("-liscsi", "-lm")


@dataclass(frozen=True, slots=True)
class TapebenchResult:
    """One run: its exit status, its JSON report and everything it said."""

    exit_status: int
    report: dict[str, Any]
    output: str

    def assert_clean(self) -> None:
        """Fail with what tapebench said, unless it found no error and lacked no command."""
        assert self.exit_status == 0, self.output
        assert self.report["errors"] == 0, self.output
        assert self.report["unsupported"] == 0, self.output


class Tapebench:
    """The compiled program."""

    def __init__(self, program: Path) -> None:
        self._program = program

    @classmethod
    def build(cls, folder: Path) -> Tapebench:
        """Compile it into `folder`."""
        source = require_shared("bench", "tapebench.c")
        require_program("gcc", "gcc")
        program = folder / "tapebench"
        compiled = subprocess.run(
            [*COMPILE, "-o", str(program), str(source), *LIBRARIES],
            capture_output=True,
            text=True,
            check=False,
        )
        if compiled.returncode:
            missing(f"tapebench does not compile (libiscsi-dev?): {compiled.stderr[-400:]}")
        return cls(program)

    def run(
        self, *arguments: str, urls: tuple[str, ...], timeout_s: float = 300
    ) -> TapebenchResult:
        """Run it against one or more drives; with more it is one process and session a drive."""
        done = subprocess.run(
            [str(self._program), *arguments, *urls],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return TapebenchResult(done.returncode, _report(done.stdout), done.stdout + done.stderr)


def _report(stdout: str) -> dict[str, Any]:
    """Return the report with the counts of all drives summed up."""
    lines = [line for line in stdout.splitlines() if line.startswith("{")]
    if not lines:
        return {"errors": -1, "unsupported": -1}
    report: dict[str, Any] = json.loads(lines[-1])
    return report
