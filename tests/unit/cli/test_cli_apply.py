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
gateway:
  name: basement
  store: {root}/store
  drives: 2
  slots: 10
  import_export: 10
  tags: {{site: Frankfurt}}
quota: {{tapes: 2000}}
disks:
  - {{role: cache, path: {root}/cache, create: true, allow_small: true}}
  - {{role: buffer, path: {root}/buffer, create: true, allow_small: true}}
pools:
  - {{name: ledger, storage_class: GLACIER, tags: {{department: audit}}}}
tapes:
  - {{barcode: VTL001L5, size: 100GiB, to_slots: true, pool: ledger, tags: {{owner: finance}}}}
  - {{barcode: VTL002L5, size: 1TiB, pool: DEEP_ARCHIVE, worm: true, encryption: NONE}}
  - {{barcode: CLN001L5, cleaning: true}}
autocreate:
  - {{prefix: BKP, minimum: 2, size: 1TiB, pool: ledger}}
bandwidth:
  - mon-fri 08:00-17:59 upload=10Mbit
initiators:
  all: [{initiator}]
  tapedrive-02: ["{initiator}:other"]
chap:
  discovery: [{{initiator: "{initiator}", secret_file: {root}/in.secret}}]
  tapedrive-01:
    - initiator: "{initiator}"
      secret_file: {root}/in.secret
      target_secret_file: {root}/out.secret
"""

Apply = Callable[..., tuple[int, Any]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    (tmp_path / "in.secret").write_text("in-secret-1234\n")
    (tmp_path / "out.secret").write_text("out-secret-1234\n")
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
    "change quota",
    "create cache",
    "create buffer",
    "create pool ledger",
    "create tape VTL001L5",
    "create tape VTL002L5",
    "create tape CLN001L5",
    "create autocreate BKP",
    "change bandwidth",
    f"create initiator {INITIATOR}",
    f"create initiator {INITIATOR}",
    f"create initiator {INITIATOR}:other",
    f"create chap {INITIATOR}",
    f"create chap {INITIATOR}",
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
        assert len(planned) == 14  # initiators and secrets by device, as the file names them
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
        (f"all: [{INITIATOR}]", "all: [iqn.2000-01.example:other]"),
        ("site: Frankfurt", "site: Paris"),
        ("tags: {department: audit}", "tags: {}"),
        ("owner: finance", "owner: law"),
    ):
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)
    status, planned = apply(file, "--dry-run")
    assert (status, len(planned)) == (ExitCode.CHANGED, 12)
    status, made = apply(file)
    assert status == ExitCode.CHANGED
    assert [(one["Action"], one["Subject"]) for one in made[:8]] == [
        ("change", "gateway"),
        ("change", "library"),
        ("change", "tags of gateway"),
        ("change", "tags of pool ledger"),
        ("change", "tags of tape VTL001L5"),
        ("remove", "autocreate BKP"),
        ("create", "autocreate NEW"),
        ("change", "bandwidth"),
    ]
    assert apply(file) == (ExitCode.OK, [])


def test_a_secret_is_set_anew_when_its_file_says_another(
    apply: Apply, file: Path, tmp_path: Path
) -> None:
    apply(file)
    (tmp_path / "out.secret").write_text("another-secret")
    status, made = apply(file)
    assert (status, subjects(made)) == (ExitCode.CHANGED, [f"change chap {INITIATOR}"])
    assert apply(file) == (ExitCode.OK, [])
    # One that the file does not list for a device is gone; other devices keep theirs.
    text = file.read_text()
    file.write_text(text[: text.index("  tapedrive-01:\n")] + "  tapedrive-01: []\n")
    assert subjects(apply(file)[1]) == [f"remove chap {INITIATOR}"]
    (tmp_path / "in.secret").unlink()
    status, message = apply(file)
    assert (status, "cannot read the secret" in message) == (ExitCode.USAGE, True)


def test_a_secret_is_nowhere_in_what_is_said(
    apply: Apply, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for options in (("--dry-run",), ()):
        assert "secret-1234" not in json.dumps(apply(file, *options)[1])
        assert "secret-1234" not in capsys.readouterr().err


def test_sections_that_are_not_there_are_not_touched(apply: Apply, file: Path) -> None:
    apply(file)
    file.write_text("tapes: [{barcode: VTL003L5, size: 1TiB}]")
    status, made = apply(file)
    assert (status, subjects(made)) == (ExitCode.CHANGED, ["create tape VTL003L5"])
    file.write_text("autocreate: []\nbandwidth: []\nchap: {discovery: []}")
    removed = ["remove autocreate BKP", "change bandwidth", f"remove chap {INITIATOR}"]
    assert subjects(apply(file)[1]) == removed
    file.write_text("")
    assert apply(file) == (ExitCode.OK, [])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("size: 100GiB", "size: 200GiB"),
        ("worm: true", "worm: false"),
        ("pool: DEEP_ARCHIVE", "pool: GLACIER"),
        ("encryption: NONE", "encryption: SSE-KMS"),
        ("storage_class: GLACIER", "storage_class: DEEP_ARCHIVE"),
        ("import_export: 10", "import_export: 10\n  region: eu-central-1"),
        ("/store", "/other"),
        ("drives: 2", "drives: 2\n  drive_type: IBM-ULT3580-TD8"),
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
        ("tapes: [{barcode: VTL001L5, size: 1TiB, tags: {'a?': b}}]", "not a key of a tag: a?"),
        ("chap: {all: [{initiator: x, secret: y}]}", "chap.all[0]"),
        ("tapes: [{barcode: VTL001L5, size: big}]", "not a size: big"),
        ("gateway: {name: x, store: y, drives: 65}", "gateway.drives: 65 is greater than"),
        ("bandwidth: ['sometimes']", "not an interval"),
        ("tapes: [{barcode: VTL001L5, size: 1TiB, worm: maybe}]", "tapes[0].worm"),
        ("quota:\n  tapes: 3\n  size: {", "library.yaml, line 3: no YAML: "),
        ("tapes: []\ndisks: []\ntapes: []", "line 3: tapes is there twice"),
        ("tapes: [{barcode: A, barcode: B, size: 1TiB}]", "line 1: barcode is there twice"),
        ("tapes: [{barcode: A, size: 1TiB}, {barcode: A, size: 2TiB}]", "tapes[1]: A is there"),
        ("disks: [{role: cache, path: /d}, {role: buffer, path: /d}]", "disks[1]: /d is there"),
    ],
)
def test_a_file_that_is_wrong_says_where(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_document(text, "library.yaml", read_secret=str)
    assert message in caught.value.message
    assert "library.yaml" in caught.value.message


def test_what_cannot_be_changed_is_named_as_in_the_file(
    apply: Apply, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    apply(file)
    file.write_text("gateway: {name: basement, store: /other}")
    capsys.readouterr()
    assert main(["apply", "-f", str(file)]) == ExitCode.GATEWAY_STATE
    store = file.parent / "store"
    assert capsys.readouterr().err.splitlines()[0] == (
        f"tapectl: the gateway here has store file://{store}, which cannot become file:///other"
    )


def test_a_file_that_cannot_be_read(
    tmp_path: Path, active: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "latin").write_bytes("gateway: {name: größe}".encode("latin-1"))
    for path, why in (
        (tmp_path / "latin", "it is no UTF-8"),
        (tmp_path / "absent", "No such file or directory"),
    ):
        capsys.readouterr()
        assert active("apply", "-f", str(path)) == ExitCode.USAGE
        lines = capsys.readouterr().err.splitlines()
        assert lines[0] == f"tapectl: cannot read the file ({why}): {path}"
        assert lines[1].startswith("hint: ")


def test_without_a_gateway_one_has_to_be_named(apply: Apply, file: Path) -> None:
    file.write_text("tapes: []")
    assert apply(file)[0] == ExitCode.NOT_ACTIVATED


def test_the_file_of_the_guide_is_one() -> None:
    (example,) = re.findall(r"```yaml\n# yaml-language-server.*?```", GUIDE.read_text(), re.DOTALL)
    text = example.removeprefix("```yaml\n").removesuffix("```")
    document = read_document(text, "guide", read_secret=str)
    assert document.gateway is not None
    wanted = [one.creation.barcode for one in document.tapes]
    assert wanted == ["VTL001L5", *(f"BKP{n:03d}L5" for n in range(1, 41)), "VTL002L5"]
