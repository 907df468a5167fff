"""`check --repair`: each thing that has a repair is repaired, once, and nothing is lost by it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import pytest

from tapectl.gateway.check.findings import Code, Severity
from tapectl.gateway.check.repair import repair_gateway
from tapectl.gateway.check.run import CheckReport, CheckRequest
from tapectl.gateway.check.view import Serving
from tapectl.gateway.elements import ElementMap
from tapectl.gateway.transfer.stored_segment import object_key
from tapectl.scsi.library import ElementType
from tapectl.state import disks, segments, tapes
from tapectl.store.interface import ObjectStore
from tapectl.store.memory import MemoryStore
from tests.faults.one_process import OF_THE_HOST
from tests.support.failing_store import FailNth
from tests.support.transfer_gateway import (
    BUFFER,
    CACHE,
    GATEWAY,
    SETTINGS,
    TransferGateway,
    run_until_idle,
)

TAPE = "TEST01L5"
NAME = "00000001.seg"
SLOT = ElementMap.of(GATEWAY).addresses(ElementType.STORAGE).start
_OF_THE_MACHINE = OF_THE_HOST - {Code.DISK_FAILING}


class Repaired:
    """A gateway with a claimed tape, and `check --repair` on it."""

    def __init__(self, root: Path) -> None:
        self.gateway = TransferGateway(root)
        self.store = MemoryStore(now_ms=lambda: self.gateway.ms)
        self.gateway.create_tape(TAPE)
        with self.gateway.state.write() as db:
            tapes.update(db, TAPE, element_address=SLOT)
        run_until_idle(self.gateway.engine(self.store))

    def write(self, *, upload: bool) -> bytes:
        """Write a segment, its copies two files."""
        content = self.gateway.write_segment(TAPE, [b"x" * 1000])
        if upload:
            run_until_idle(self.gateway.engine(self.store))
        return content

    def copy(self, folder: str) -> Path:
        return self.gateway.root / folder / "tapes" / TAPE / NAME

    def repair(
        self, *, dry_run: bool = False, store: ObjectStore | None = None, served: bool = False
    ) -> CheckReport:
        return repair_gateway(
            self.gateway.state,
            SETTINGS,
            CheckRequest(deep=True),
            serving=Serving(served=served),
            dry_run=dry_run,
            now_ms=lambda: self.gateway.ms,
            store=store or self.store,
        )

    def assert_repairs(self, *codes: Code) -> None:
        """A dry run names the repairs and changes nothing, a run makes them, another finds none."""
        before = self.gateway.local_files(), self.gateway.segments(TAPE)
        planned = self.repair(dry_run=True)
        assert [one.code for one in planned.repairs] == list(codes)
        assert (self.gateway.local_files(), self.gateway.segments(TAPE)) == before
        report = self.repair()
        assert [(one.code, one.reason) for one in report.repairs] == [(one, None) for one in codes]
        assert findings(report) == []
        assert self.repair().repairs == []


def findings(report: CheckReport) -> Sequence[Code]:
    return [
        one.code
        for one in report.findings
        if one.severity is not Severity.INFO and one.code not in _OF_THE_MACHINE
    ]


@pytest.fixture
def repaired(tmp_path: Path) -> Repaired:
    return Repaired(tmp_path)


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


HARMS = pytest.mark.parametrize(
    ("harm", "code"), [(damage, Code.COPY_DAMAGED), (Path.unlink, Code.COPY_MISSING)]
)


@HARMS
@pytest.mark.parametrize("folder", ["cache", "buffer"])
def test_before_the_upload_a_copy_is_made_anew(
    repaired: Repaired, folder: str, harm: Callable[[Path], None], code: Code
) -> None:
    content = repaired.write(upload=False)
    harm(repaired.copy(folder))
    repaired.assert_repairs(code)
    assert repaired.copy("cache").read_bytes() == repaired.copy("buffer").read_bytes() == content


@HARMS
def test_a_copy_of_what_is_in_the_store_is_let_go(
    repaired: Repaired, harm: Callable[[Path], None], code: Code
) -> None:
    repaired.write(upload=True)
    harm(repaired.copy("cache"))
    repaired.assert_repairs(code)
    assert repaired.gateway.segments(TAPE)[0].cache_disk_id is None


def test_the_last_copy_is_not_let_go_while_the_store_cannot_be_asked(repaired: Repaired) -> None:
    repaired.write(upload=True)
    damage(repaired.copy("cache"))
    outage = cast("ObjectStore", FailNth(repaired.store, 1, forever=True))
    report = repaired.repair(store=outage)
    assert [one.done for one in report.repairs] == [False]
    assert report.repairs[0].reason
    assert repaired.copy("cache").exists()
    assert Code.COPY_DAMAGED in findings(report)


def test_what_is_damaged_everywhere_stays_and_is_told(repaired: Repaired) -> None:
    repaired.write(upload=True)
    damage(repaired.copy("cache"))
    key = object_key(repaired.gateway.segments(TAPE)[0])
    repaired.store.delete(key)
    report = repaired.repair()
    assert not any(one.done for one in report.repairs)
    assert set(findings(report)) == {Code.COPY_DAMAGED, Code.STORE_OBJECT_MISSING}
    assert report.tapes == [TAPE]
    assert repaired.copy("cache").exists()


def test_a_second_copy_is_made_where_a_disk_has_been_given_up(repaired: Repaired) -> None:
    content = repaired.write(upload=False)
    repaired.copy("buffer").unlink()
    with repaired.gateway.state.write() as db:
        segments.clear_buffer_disk(db, TAPE, 1)
    repaired.assert_repairs(Code.SECOND_COPY_MISSING)
    assert repaired.copy("buffer").read_bytes() == content
    assert repaired.gateway.segments(TAPE)[0].buffer_disk_id == BUFFER


def test_an_object_that_somebody_has_deleted_is_put_again(repaired: Repaired) -> None:
    repaired.write(upload=True)
    key = object_key(repaired.gateway.segments(TAPE)[0])
    body = repaired.store.get(key)
    repaired.store.delete(key)
    repaired.assert_repairs(Code.STORE_OBJECT_MISSING)
    assert repaired.store.get(key) == body


def test_a_copy_in_the_buffer_goes_when_the_store_has_it(repaired: Repaired) -> None:
    repaired.write(upload=True)
    content = repaired.copy("cache").read_bytes()
    repaired.copy("buffer").write_bytes(content)
    with repaired.gateway.state.write() as db:
        segments.set_buffer_disk(db, TAPE, 1, BUFFER)
    repaired.assert_repairs(Code.BUFFER_COPY_KEPT)
    assert not repaired.copy("buffer").exists()


def test_files_that_nothing_needs_go_and_those_of_others_stay(repaired: Repaired) -> None:
    repaired.write(upload=True)
    stale = repaired.copy("buffer").with_suffix(".open")
    stale.touch()
    foreign = repaired.gateway.cache / "tapes" / TAPE / "notes.txt"
    foreign.touch()
    report = repaired.repair()
    assert [one.code for one in report.repairs] == [Code.ORPHAN_FILE]
    assert not stale.exists()
    assert foreign.exists()
    assert findings(report) == [Code.FOREIGN_FILE]


@pytest.mark.parametrize("served", [False, True])
def test_what_a_dead_drive_left_is_sealed_unless_drives_run(
    repaired: Repaired, served: bool
) -> None:
    cartridge = repaired.gateway.load(TAPE)
    cartridge.write_blocks(memoryview(b"x" * 1000), 1000)
    report = repaired.repair(served=served)
    assert [one.code for one in report.repairs] == ([] if served else [Code.SEGMENT_UNSEALED])
    assert len(repaired.gateway.segments(TAPE)) == (0 if served else 1)


def test_a_tape_that_is_nowhere_comes_into_a_slot(repaired: Repaired) -> None:
    with repaired.gateway.state.write() as db:
        tapes.update(db, TAPE, element_address=None)
    repaired.assert_repairs(Code.TAPE_ELEMENT)
    assert repaired.gateway.tape(TAPE).element_address == SLOT


def test_a_disk_that_takes_a_write_again_is_well(repaired: Repaired) -> None:
    with repaired.gateway.state.write() as db:
        disks.note_failure(db, CACHE, repaired.gateway.ms, "Input/output error")
    repaired.assert_repairs(Code.DISK_FAILING)


def test_every_hint_that_names_a_repair_has_one() -> None:
    from tapectl.gateway.check.findings import KINDS

    promised = {code for code, kind in KINDS.items() if "--repair" in kind.hint}
    tried = {
        Code.DISK_FAILING,
        Code.SECOND_COPY_MISSING,
        Code.COPY_MISSING,
        Code.COPY_DAMAGED,
        Code.BUFFER_COPY_KEPT,
        Code.ORPHAN_FILE,
        Code.TAPE_ELEMENT,
        Code.STORE_OBJECT_MISSING,
    }
    assert promised == tried
