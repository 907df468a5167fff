"""Whatever kills a drive's process, and whenever: its initiator gets what it would have got."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fake_kernel import Answer, FakeKernel
from tests.support.memory_cartridge import MemoryCartridge
from tests.unit.lio.ring_drive import MOMENTS, RingDrive

BLOCK = bytes(range(100)) * 10
OTHER = b"another block"
# Name, CDB, data, room. What comes after a command tells whether its effect is there, and once.
SCRIPT = (
    ("write", "0a 00 00 03 e8 00", BLOCK, 0),
    ("write another", "0a 00 00 00 0d 00", OTHER, 0),
    ("two filemarks", "10 00 00 00 02 00", b"", 0),
    ("where", "34 00 00 00 00 00 00 00 00 00", b"", 20),
    ("blocks of 500", "15 10 00 00 0c 00", bytes.fromhex("00 00 10 08 00000000 00 0001f4"), 0),
    ("write two", "0a 01 00 00 02 00", BLOCK, 0),
    ("what length", "1a 00 00 00 0c 00", b"", 12),
    ("compression off", "15 10 00 00 14 00", bytes.fromhex("00001000") + bytes.fromhex(
        "0f 0e 40 80 00000001 00000001 00000000"), 0),
    ("rewind", "01 00 00 00 00 00", b"", 0),
    ("variable", "15 10 00 00 0c 00", bytes.fromhex("00 00 10 08 00000000 00 000000"), 0),
    ("read short", "08 00 00 10 00 00", b"", 4096),
    ("read long", "08 00 00 00 05 00", b"", 5),
    ("a filemark", "08 00 00 00 05 00", b"", 5),
    ("space", "11 00 ff ff ff 00", b"", 0),
    ("prevent", "1e 00 00 00 01 00", b"", 0),
    ("eject", "1b 00 00 00 00 00", b"", 0),
    ("allow", "1e 00 00 00 00 00", b"", 0),
    ("overwrite", "0a 00 00 00 0d 00", OTHER, 0),
    ("eject again", "1b 00 00 00 00 00", b"", 0),
    ("not ready", "00 00 00 00 00 00", b"", 0),
    ("load", "1b 00 00 00 01 00", b"", 0),
    ("read", "08 00 00 03 e8 00", b"", 1000),
    ("compression?", "1a 08 0f 00 14 00", b"", 20),
    ("to the end", "11 03 00 00 00 00", b"", 0),
    ("where now", "34 00 00 00 00 00 00 00 00 00", b"", 20),
)  # fmt: skip
NAMES = [row[0] for row in SCRIPT]


def run_script(folder: Path, dying: str | None, moment: str) -> tuple[list[Answer], list[object]]:
    """Return all answers, and what is on the tape then; the process dies once on the way."""
    kernel, cartridge = FakeKernel(), MemoryCartridge()
    life = RingDrive(kernel, cartridge, folder).live()
    answers = []
    for name, cdb, data_out, room in SCRIPT:
        if name != dying:
            answers.append(life.run(cdb, data_out, room=room))
            continue
        command_id = life.die_at(moment, cdb, data_out, room)
        life = RingDrive(kernel, cartridge, folder).live()
        answers += kernel.await_answers(command_id)
    life.service.stop()
    return answers, cartridge.partition_objects


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Answer], list[object]]:
    answers, objects = run_script(tmp_path_factory.mktemp("undisturbed"), None, "")
    statuses = {name: answer.status for name, answer in zip(NAMES, answers, strict=True)}
    refused = {"read short", "read long", "a filemark", "space", "eject", "not ready"}
    assert {name for name, status in statuses.items() if status} == refused
    assert objects == [[BLOCK, OTHER, OTHER]]
    return answers, objects


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("dying", NAMES)
def test_a_death_goes_unnoticed(
    tmp_path: Path, undisturbed: tuple[list[Answer], list[object]], dying: str, moment: str
) -> None:
    answers, objects = run_script(tmp_path, dying, moment)
    for name, answer, right in zip(NAMES, answers, undisturbed[0], strict=True):
        assert answer == right, name
    assert objects == undisturbed[1]


@pytest.mark.parametrize("steps", range(16))
def test_what_stands_between_commands_confuses_no_later_life(tmp_path: Path, steps: int) -> None:
    for later_steps in range(8):
        folder = tmp_path / str(later_steps)
        kernel, cartridge = FakeKernel(), MemoryCartridge()
        RingDrive(kernel, cartridge, folder).live().service.stop()
        first = kernel.put(bytes.fromhex("00 00 00 00 00 00"))
        kernel.put_task_management(1, [77])
        write = kernel.put(bytes.fromhex("0a 00 00 03 e8 00"), BLOCK)
        for dies_after in (steps, later_steps):
            life = RingDrive(kernel, cartridge, folder)
            life.journal.dies_after = dies_after
            life.live()
            if life.service.died.wait(0.05):
                life.leave()
            else:
                life.service.stop()
        life = RingDrive(kernel, cartridge, folder).live()
        assert [answer.status for answer in kernel.await_answers(first, write)] == [0, 0]
        assert life.run("0a 00 00 00 0d 00", OTHER).status == 0
        assert cartridge.objects == [BLOCK, OTHER]
        life.service.stop()


def test_an_attention_that_waits_is_told_once_whenever_death_comes(tmp_path: Path) -> None:
    for number, moment in enumerate(MOMENTS):
        kernel, cartridge = FakeKernel(), MemoryCartridge()
        life = RingDrive(kernel, cartridge, tmp_path / str(number)).live()
        with life.lock:
            life.drive.load(cartridge)
            life.service.changed()
        command_id = life.die_at(moment, "00 00 00 00 00 00", b"", 0)
        life = RingDrive(kernel, cartridge, tmp_path / str(number)).live()
        (answer,) = kernel.await_answers(command_id)
        assert (answer.sense[2], answer.sense[12:14]) == (6, b"\x28"), moment
        assert life.run("00 00 00 00 00 00").status == 0, moment
        life.service.stop()


def test_a_part_of_a_write_that_is_there_is_overwritten(tmp_path: Path) -> None:
    kernel, cartridge = FakeKernel(), MemoryCartridge()
    life = RingDrive(kernel, cartridge, tmp_path).live()
    assert life.run("15 10 00 00 0c 00", bytes.fromhex("0000100800000000000001f4")).status == 0
    command_id = life.die_at("after begin", "0a 01 00 00 02 00", BLOCK, 0)
    cartridge.write_blocks(memoryview(BLOCK)[:500], 500)
    life = RingDrive(kernel, cartridge, tmp_path).live()
    assert kernel.await_answers(command_id)[0].status == 0
    assert cartridge.objects == [BLOCK[:500], BLOCK[500:]]
    life.service.stop()


def test_a_write_to_a_worm_tape_that_is_there_is_not_repeated(tmp_path: Path) -> None:
    kernel, cartridge = FakeKernel(), MemoryCartridge(worm=True)
    life = RingDrive(kernel, cartridge, tmp_path).live()
    command_id = life.die_at("before done", "0a 00 00 03 e8 00", BLOCK, 0)
    life = RingDrive(kernel, cartridge, tmp_path).live()
    assert kernel.await_answers(command_id)[0].status == 0
    assert life.run("0a 00 00 00 0d 00", OTHER).status == 0
    assert cartridge.objects == [BLOCK, OTHER]
    life.service.stop()


def test_where_the_tape_stands_after_a_write_that_was_there_outlives_the_next_death(
    tmp_path: Path,
) -> None:
    kernel, cartridge = FakeKernel(), MemoryCartridge()
    life = RingDrive(kernel, cartridge, tmp_path).live()
    command_id = life.die_at("before done", "0a 00 00 03 e8 00", BLOCK, 0)
    RingDrive(kernel, cartridge, tmp_path).live().service.stop()
    assert kernel.await_answers(command_id)[0].status == 0
    cartridge.locate(0)  # as a tape that is loaded anew
    life = RingDrive(kernel, cartridge, tmp_path).live()
    assert life.run("0a 00 00 00 0d 00", OTHER).status == 0
    assert cartridge.objects == [BLOCK, OTHER]
    life.service.stop()


@pytest.mark.parametrize("lost", ["another cartridge", "a shorter tape", "keys", "journal"])
def test_what_cannot_go_on_is_told(tmp_path: Path, lost: str) -> None:
    kernel, cartridge = FakeKernel(), MemoryCartridge()
    life = RingDrive(kernel, cartridge, tmp_path).live()
    assert life.run("0a 00 00 03 e8 00", BLOCK).status == 0
    if lost == "keys":
        life.drive.encryption.active = True
        assert life.run("1e 00 00 00 00 00").status == 0
    command_id = life.die_at("after begin", "0a 00 00 00 0d 00", OTHER, 0)
    if lost == "another cartridge":
        cartridge = MemoryCartridge("OTHER1L5")
    elif lost == "a shorter tape":
        cartridge.objects.clear()
    identity = "another ring" if lost == "journal" else "this ring"
    before = list(cartridge.objects)
    life = RingDrive(kernel, cartridge, tmp_path, identity=identity).live()
    (answer,) = kernel.await_answers(command_id)
    # Unit attention, power on: and the write is not done, wherever the tape stands now.
    assert (answer.status, answer.sense[2], answer.sense[12:13]) == (2, 6, b"\x29")
    assert cartridge.objects == before
    life.service.stop()


def test_a_command_that_kills_is_given_up(tmp_path: Path) -> None:
    kernel, cartridge = FakeKernel(), MemoryCartridge()
    life = RingDrive(kernel, cartridge, tmp_path).live()
    command_id = life.die_at("after begin", "0a 00 00 00 0d 00", OTHER, 0)
    for _ in range(2):
        life = RingDrive(kernel, cartridge, tmp_path)
        life.journal.moment = "after begin"
        life.live()
        assert life.service.died.wait(30)
    life = RingDrive(kernel, cartridge, tmp_path).live()
    (answer,) = kernel.await_answers(command_id)
    assert (answer.status, answer.sense[2]) == (2, 4)  # HARDWARE ERROR
    assert life.run("0a 00 00 00 0d 00", OTHER).status == 0
    assert cartridge.objects == [OTHER]
    life.service.stop()
