"""Steps of a simulation, each a process of its own that tells its time and memory as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from tests.scale.memory import MemoryWatch

Result = Mapping[str, float]
Stage = TypeVar("Stage")


def command(module: str, step: str, folder: Path, *sizes: int) -> list[str]:
    """Return the command that runs a step of a module that calls `main`."""
    return [sys.executable, "-m", module, step, str(folder), *map(str, sizes)]


def run(step: list[str]) -> Result:
    """Run a command and return what the step has told."""
    done = subprocess.run(step, check=True, stdout=subprocess.PIPE, text=True)
    result: Result = json.loads(done.stdout)
    return result


def main(
    open_stage: Callable[[Path, int, int], Stage],
    steps: Mapping[str, Callable[[Stage], Result]],
) -> None:
    """Run the step of the command line: its name, a folder, two sizes."""
    step, folder, *sizes = sys.argv[1:]
    first, second = map(int, sizes)
    stage = open_stage(Path(folder), first, second)
    watch = MemoryWatch()
    result = steps[step](stage)
    told = {"seconds": watch.seconds(), "growth_bytes": watch.growth_bytes(), **result}
    print(json.dumps(told))
