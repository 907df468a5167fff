"""quickstart: one directory, five tapes, and the same again whatever came between."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tapectl.cli.app import main
from tapectl.errors import ExitCode
from tapectl.gateway import activation, disk_allocation, tape_creation
from tapectl.gateway.settings import Settings
from tapectl.serve import serving
from tapectl.serve.supervisor import ReadyInfo

Capture = pytest.CaptureFixture[str]
OnReady = Callable[[ReadyInfo], None]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Settings]:
    """Stand in for the supervisor: note what was to be served."""
    calls: list[Settings] = []

    def run(settings: Settings, *, on_ready: OnReady) -> int:
        calls.append(settings)
        on_ready(ReadyInfo([str(settings.listen[0])], ["a target"]))
        return 0

    monkeypatch.setattr(serving, "run", run)
    monkeypatch.setenv("TAPECTL_STATE", str(tmp_path / "production.db"))
    monkeypatch.delenv("TAPECTL_OUTPUT", raising=False)
    monkeypatch.chdir(tmp_path)
    return calls


def tape_list(state: Path, capsys: Capture) -> list[dict[str, object]]:
    capsys.readouterr()
    assert main(["--state", str(state), "tape", "list", "-o", "json"]) == 0
    listed: list[dict[str, object]] = json.loads(capsys.readouterr().out)
    return listed


def test_it_makes_everything_in_one_directory(
    served: list[Settings], tmp_path: Path, capsys: Capture
) -> None:
    assert main(["quickstart", "--listen", "127.0.0.1:13260"]) == 0
    said = capsys.readouterr().out
    for part in ("iscsiadm -m discovery -t sendtargets -p 127.0.0.1:13260", "mtx -f", "tar -"):
        assert part in said
    demo = tmp_path / "tapectl-demo"
    assert f"TAPECTL_STATE={demo / 'tapectl.db'}" in said
    assert served[0].state_path == demo / "tapectl.db"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tapectl-demo"]
    assert [oct((demo / name).stat().st_mode & 0o777) for name in (".", "store")] == ["0o700"] * 2
    listed = tape_list(demo / "tapectl.db", capsys)
    assert len(listed) == 5
    assert {tape["TapeSizeInBytes"] for tape in listed} == {100 << 30}
    assert [tape["Location"] for tape in listed] == [f"slot {number}" for number in range(1, 6)]


def test_the_same_again_serves_what_is_there(
    served: list[Settings], tmp_path: Path, capsys: Capture
) -> None:
    state = tmp_path / "lab" / "tapectl.db"
    assert main(["quickstart", "lab"]) == 0
    before = tape_list(state, capsys)
    assert main(["--state", str(state), "tape", "delete", "DEMO03L5", "--yes"]) == 0
    assert main(["quickstart", "lab"]) == 0
    assert len(served) == 2
    after = tape_list(state, capsys)
    assert [t for t in after if t["TapeBarcode"] != "DEMO03L5"] == [
        t for t in before if t["TapeBarcode"] != "DEMO03L5"
    ]


@pytest.mark.parametrize(
    ("module", "name", "call"),
    [
        (activation, "activate", 1),
        (disk_allocation, "add_disk", 1),
        (disk_allocation, "add_disk", 2),
        (tape_creation, "create_tapes", 1),
        (tape_creation, "create_tapes", 4),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
@pytest.mark.usefixtures("served")
def test_ctrl_c_at_any_step_leaves_what_the_next_run_completes(
    module: object,
    name: str,
    call: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    whole = getattr(module, name)
    calls = 0

    def interrupted(*words: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        if calls == call:
            raise KeyboardInterrupt
        return whole(*words, **options)

    with monkeypatch.context() as patched:
        patched.setattr(module, name, interrupted)
        assert main(["quickstart", "lab"]) == ExitCode.INTERRUPTED
    assert main(["quickstart", "lab"]) == 0
    assert len(tape_list(tmp_path / "lab" / "tapectl.db", capsys)) == 5


def test_a_directory_that_cannot_be_made(
    served: list[Settings], tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    for name in ("file", "file/demo", "/proc/demo"):
        assert main(["quickstart", name]) == ExitCode.USAGE
        lines = capsys.readouterr().err.splitlines()
        assert lines[0].startswith("tapectl: cannot make the directory (")
        assert lines[1].startswith("hint: ")
        assert len(lines) == 2
    assert served == []
