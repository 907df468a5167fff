"""What is generated from the commands and committed says what the commands say now."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import pytest

from tapectl.cli.exit_codes import EXIT_CODE_MEANINGS
from tapectl.errors import ExitCode
from tapectl.gateway.settings import Settings

PROJECT = Path(__file__).parents[2]


def generator(folder: str) -> ModuleType:
    """Return <folder>/generate.py, which is in no package."""
    path = PROJECT / folder / "generate.py"
    spec = importlib.util.spec_from_file_location(f"{folder}_generate", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("folder", ["man", "completions"])
def test_committed_files_are_the_generated_ones(folder: str) -> None:
    wanted = generator(folder).generate()
    found = {
        path.name: path.read_text()
        for path in (PROJECT / folder).iterdir()
        if path.is_file() and path.suffix != ".py"
    }
    assert found == wanted, f"run `python {folder}/generate.py`"


def test_every_exit_code_has_one_meaning_and_is_in_the_manual() -> None:
    assert set(EXIT_CODE_MEANINGS) == set(ExitCode)
    assert len(set(EXIT_CODE_MEANINGS.values())) == len(ExitCode)
    page = (PROJECT / "man" / "tapectl.1").read_text().split(".SH EXIT STATUS")[1]
    documented = {int(number) for number in re.findall(r"^\\fB(\d+)\\fR$", page, re.MULTILINE)}
    assert {int(code) for code in ExitCode} <= documented


def test_every_setting_is_in_the_manual() -> None:
    names = {field.name for field in fields(Settings)} - {"state_path", "sources"}
    assert set(generator("man").SETTINGS) == names


def test_the_example_of_settings_can_be_used(tmp_path: Path) -> None:
    path = tmp_path / "tapectl.toml"
    path.write_text(generator("man").CONFIG_EXAMPLE)
    found = {value.name: value for value in Settings.load({}, path).describe()}
    assert found["listen"].value == "192.0.2.10:3260,[2001:db8::10]:3260"
    changed = {name for name, value in found.items() if value.source.startswith("file")}
    assert changed == set(re.findall(r"^(\w+) =", path.read_text(), re.MULTILINE))


def test_every_key_of_the_bucket_is_in_its_manual_page() -> None:
    document = (PROJECT / "docs" / "bucket-format.md").read_text()
    keys = re.findall(r"^\| `([^`]+)` \|.*\|$", document.split("## 2.")[0], re.MULTILINE)
    page = (PROJECT / "man" / "tapectl-bucket.5").read_text().replace("\\-", "-")
    assert len(keys) > 8
    assert [key for key in keys if key not in page] == []


def test_every_link_of_the_documents_leads_somewhere() -> None:
    for page in (PROJECT / "README.md", *(PROJECT / "docs").rglob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
