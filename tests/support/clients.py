"""What tests need from outside Python: client programs and the folder ../shared beside the project.

A developer without them sees skips with the reason; in CI (TAPECTL_CI=1) a skip of a real client
would be a promise not kept, so there it is a failure.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

PROJECT = Path(__file__).resolve().parents[2]
SHARED = PROJECT.parent / "shared"


def missing(reason: str) -> NoReturn:
    """Skip the test, or fail it in CI."""
    if os.environ.get("TAPECTL_CI") == "1":
        pytest.fail(f"CI must have this: {reason}")
    pytest.skip(reason)


def require_program(name: str, package: str) -> str:
    """Return the path of a program that a Debian package brings."""
    path = shutil.which(name)
    if path is None:
        missing(f"{name} is not installed (apt-get install {package})")
    return path


def require_shared(*parts: str) -> Path:
    """Return a path below ../shared."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        missing(f"{path} is not there")
    return path


def require_root() -> None:
    """The test makes file systems or installs packages."""
    if os.geteuid() != 0:
        missing("needs root")
