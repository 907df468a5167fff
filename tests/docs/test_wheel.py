"""What an installed tapectl brings beside itself: manual pages, completions, the format."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.clients import PROJECT

# What a wheel is made of: nothing else of the project is there when it is built.
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "tapectl", "man", "completions", "docs")
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where tapectl was installed from its wheel, without what it depends on."""
    root = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(
                source, root / "src" / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            (root / "src").mkdir(exist_ok=True)
            shutil.copy(source, root / "src")
    wheels = root / "wheels"
    run(*PIP, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(root / "src"))
    (wheel,) = wheels.iterdir()
    prefix = root / "prefix"
    options = ("--no-deps", "--ignore-installed", "--no-compile", "--no-warn-script-location")
    run(*PIP, "install", *options, "--prefix", str(prefix), str(wheel))
    return prefix


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_every_manual_page_is_where_man_looks(prefix: Path) -> None:
    manuals = prefix / "share" / "man"
    for section in ("1", "5"):
        installed = {page.name for page in (manuals / f"man{section}").iterdir()}
        assert installed == {page.name for page in (PROJECT / "man").glob(f"*.{section}")}
    if shutil.which("man"):
        for section, name in (("1", "tapectl"), ("1", "tapectl-tape"), ("5", "tapectl.conf")):
            found = run("man", "-M", str(manuals), "-w", section, name).strip()
            assert found == str(manuals / f"man{section}" / f"{name}.{section}")


@pytest.mark.parametrize(
    ("installed", "source"),
    [
        ("share/bash-completion/completions/tapectl", "completions/tapectl"),
        ("share/zsh/site-functions/_tapectl", "completions/_tapectl"),
        ("share/fish/vendor_completions.d/tapectl.fish", "completions/tapectl.fish"),
        ("share/doc/tapectl/bucket-format.md", "docs/bucket-format.md"),
        ("share/doc/tapectl/medium-format.md", "docs/medium-format.md"),
    ],
)
def test_completions_and_the_format_are_installed(
    prefix: Path, installed: str, source: str
) -> None:
    assert (prefix / installed).read_bytes() == (PROJECT / source).read_bytes()


def test_the_command_and_its_data_are_installed(prefix: Path) -> None:
    assert (prefix / "bin" / "tapectl").is_file()
    (schema,) = prefix.rglob("library.schema.json")
    assert schema.parent.name == "provisioning"
