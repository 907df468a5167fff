"""`tapectl apply`: a file is made so, once; what it would destroy is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tapectl.cli.app import main
from tapectl.errors import ExitCode, UsageError
from tapectl.gateway.provisioning.document import read_document

GUIDE = Path(__file__).parents[3] / "docs" / "provisioning.md"
INITIATOR = "iqn.1993-08.org.debian:01:abc"

FILE = """\
gateway: {{name: basement, store: {root}/store, drives: 2, slots: 10, import_export: 10}}
disks:
  - {{role: cache, path: {root}/cache, create: true, allow_small: true}}
  - {{role: buffer, path: {root}/buffer, create: true, allow_small: true}}
tapes:
  - {{barcode: VTL001L5, size: 100GiB, to_slots: true}}
  - {{barcode: VTL002L5, size: 1TiB, pool: DEEP_ARCHIVE, worm: true}}
autocreate:
  - {{prefix: BKP, minimum: 2, size: 1TiB}}
bandwidth:
  - mon-fri 08:00-17:59 upload=10Mbit
initiators:
  all: [{initiator}]
"""

Apply = Callable[..., tuple[int, Any]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    path = tmp_path / "library.yaml"
    path.write_text(FILE.format(root=tmp_path, initiator=INITIATOR))
    return path


@pytest.fixture
def apply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Apply:
    """Return what applies a file; gives the exit status, and the changes or the error."""
    monkeypatch.setenv("TAPECTL_STATE", str(tmp_path / "state" / "tapectl.db"))

    def run(path: Path, *options: str) -> tuple[int, Any]:
        capsys.readouterr()
        status = main(["apply", "-f", str(path), "--exit-code", "-o", "json", *options])
        written = capsys.readouterr()
        if status in (ExitCode.OK, ExitCode.CHANGED):
            return status, json.loads(written.out)
        return status, json.loads(written.err.splitlines()[-1])["error"]["message"]

    return run


def subjects(changes: list[dict[str, str]]) -> list[str]:
    return [f"{one['Action']} {one['Subject'].rpartition('/')[2]}" for one in changes]


EVERYTHING = [
    "create gateway",
    "create cache",
    "create buffer",
    "create tape VTL001L5",
    "create tape VTL002L5",
    "create autocreate BKP",
    "change bandwidth",
    f"create initiator {INITIATOR}",
    f"create initiator {INITIATOR}",
    f"create initiator {INITIATOR}",
]


def test_a_file_is_made_so_once(apply: Apply, file: Path) -> None:
    status, made = apply(file)
    assert status == ExitCode.CHANGED
    assert subjects(made) == EVERYTHING
    assert all(one["Done"] for one in made)
    assert apply(file) == (ExitCode.OK, [])
    assert apply(file, "--dry-run") == (ExitCode.OK, [])


def test_a_dry_run_changes_nothing(apply: Apply, file: Path, tmp_path: Path) -> None:
    for _ in range(2):
        status, planned = apply(file, "--dry-run")
        assert status == ExitCode.CHANGED
        assert len(planned) == 8  # initiators by device, as the file names them
        assert not any(one["Done"] for one in planned)
    assert not (tmp_path / "state").exists()


def test_what_the_file_says_otherwise_is_changed(apply: Apply, file: Path) -> None:
    apply(file)
    text = file.read_text()
    for old, new in (
        ("name: basement", "name: attic"),
        ("drives: 2", "drives: 3"),
        ("minimum: 2", "minimum: 5"),
        ("prefix: BKP", "prefix: NEW"),
        ("upload=10Mbit", "upload=20Mbit"),
        (f"[{INITIATOR}]", "[iqn.2000-01.example:other]"),
    ):
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)
    status, planned = apply(file, "--dry-run")
    assert (status, len(planned)) == (ExitCode.CHANGED, 11)
    status, made = apply(file)
    assert status == ExitCode.CHANGED
    assert [(one["Action"], one["Subject"]) for one in made[:5]] == [
        ("change", "gateway"),
        ("change", "library"),
        ("remove", "autocreate BKP"),
        ("create", "autocreate NEW"),
        ("change", "bandwidth"),
    ]
    assert apply(file) == (ExitCode.OK, [])


def test_sections_that_are_not_there_are_not_touched(apply: Apply, file: Path) -> None:
    apply(file)
    file.write_text("tapes: [{barcode: VTL003L5, size: 1TiB}]")
    status, made = apply(file)
    assert (status, subjects(made)) == (ExitCode.CHANGED, ["create tape VTL003L5"])
    file.write_text("autocreate: []\nbandwidth: []")
    assert subjects(apply(file)[1]) == ["remove autocreate BKP", "change bandwidth"]
    file.write_text("")
    assert apply(file) == (ExitCode.OK, [])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("size: 100GiB", "size: 200GiB"),
        ("worm: true", "worm: false"),
        ("pool: DEEP_ARCHIVE", "pool: GLACIER"),
        ("/store", "/other"),
        ("drives: 2", "drives: 2, drive_type: IBM-ULT3580-TD8"),
        ("role: buffer", "role: cache"),
    ],
)
def test_what_cannot_be_changed_is_refused_before_anything_is(
    apply: Apply, file: Path, old: str, new: str
) -> None:
    apply(file)
    file.write_text(file.read_text().replace(old, new).replace("basement", "attic"))
    assert apply(file)[0] == ExitCode.GATEWAY_STATE
    file.write_text("gateway: {name: basement, store: " + str(file.parent / "store") + "}")
    assert apply(file) == (ExitCode.OK, [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tapes: [", "no YAML"),
        ("- 1", "is not of type 'object'"),
        ("tape: []", "Additional properties are not allowed"),
        ("tapes: [{barcode: VTL001L5}]", "tapes[0]: 'size' is a required property"),
        ("tapes: [{barcode: VTL001L5, size: big}]", "not a size: big"),
        ("gateway: {name: x, store: y, drives: 65}", "gateway.drives: 65 is greater than"),
        ("bandwidth: ['sometimes']", "not an interval"),
        ("tapes: [{barcode: VTL001L5, size: 1TiB, worm: maybe}]", "tapes[0].worm"),
    ],
)
def test_a_file_that_is_wrong_says_where(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_document(text, "library.yaml")
    assert message in caught.value.message
    assert "library.yaml" in caught.value.message


def test_without_a_gateway_one_has_to_be_named(apply: Apply, file: Path) -> None:
    file.write_text("tapes: []")
    assert apply(file)[0] == ExitCode.NOT_ACTIVATED


def test_the_file_of_the_guide_is_one() -> None:
    (example,) = re.findall(r"```yaml\n# yaml-language-server.*?```", GUIDE.read_text(), re.DOTALL)
    document = read_document(example.removeprefix("```yaml\n").removesuffix("```"), "guide")
    assert document.gateway is not None
    assert [tape.barcode for tape in document.tapes] == ["VTL001L5", "VTL002L5"]
