"""tapectl and what it needs, as one archive for a guest that has nothing but Python and no network.

The guest's Python is of the same minor version as ours or its compiled modules do not load.
"""

from __future__ import annotations

import compileall
import py_compile
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import tapectl

# Of the object stores the guest has a directory only: botocore's tables are most of all bytes. The
# others are for commands that are not run there.
NOT_NEEDED = frozenset(
    ("boto3", "botocore", "s3transfer", "jmespath", "jsonschema", "prometheus-client", "pyyaml")
)
# Comes with boto3, and has the checksum of every frame.
NEEDED_OF_THOSE = ("awscrt",)


def write_site(path: Path) -> None:
    """Write an uncompressed tar whose root is a folder for PYTHONPATH."""
    with tarfile.open(path, "w") as archive, tempfile.TemporaryDirectory() as folder:
        archive.add(_compiled(Path(folder)), "tapectl")
        for found in _needed():
            for file in found.files or ():
                if ".." not in file.parts:
                    archive.add(str(file.locate()), str(file))


def _compiled(folder: Path) -> Path:
    """Copy the package, and compile it: emulated, each process of the guest would take seconds."""
    package = folder / "tapectl"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(tapectl.__file__).parent, package, ignore=ignored)
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    assert compileall.compile_dir(package, quiet=1, invalidation_mode=mode)
    return package


def _needed() -> Iterator[Distribution]:
    seen = {"tapectl"}
    waiting = [*_requirements(distribution("tapectl")), *NEEDED_OF_THOSE]
    while waiting:
        name = waiting.pop()
        if name.lower() in seen | NOT_NEEDED:
            continue
        seen.add(name.lower())
        found = distribution(name)
        yield found
        waiting += _requirements(found)


def _requirements(found: Distribution) -> list[str]:
    """Return the names of what a distribution needs on this machine, without its extras."""
    needed = [line for line in found.requires or () if "extra ==" not in line]
    names = [re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in needed]
    return [name for name in names if _is_installed(name)]


def _is_installed(name: str) -> bool:
    """Say whether a requirement is there: markers leave some out."""
    from importlib.metadata import PackageNotFoundError

    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
