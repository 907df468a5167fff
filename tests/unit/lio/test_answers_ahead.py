"""While a command waits, others are answered ahead of it; no death of the process mixes them up."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tapectl.scsi.cartridge import CartridgeBusyError
from tests.support.fake_kernel import Answer, FakeKernel
from tests.support.memory_cartridge import MemoryCartridge
from tests.unit.lio.ring_drive import RingDrive

READ_1000 = bytes.fromhex("08 00 00 03 e8 00")
WRITE_1000 = bytes.fromhex("0a 00 00 03 e8 00")
WRITE_9 = bytes.fromhex("0a 00 00 00 09 00")
INQUIRY = bytes.fromhex("12 00 00 00 24 00")
REQUEST_SENSE = bytes.fromhex("03 00 00 00 12 00")
READ_POSITION = bytes.fromhex("34 00 00 00 00 00 00 00 00 00")
BLOCK, NEXT_BLOCK = bytes(range(250)) * 4, b"the next."
ABORT_TASK, LOGICAL_UNIT_RESET = 1, 5


def cold_cartridge() -> MemoryCartridge:
    """Return one whose only block is on its way from the store until `busy` is cleared."""
    cartridge = MemoryCartridge()
    cartridge.objects = [BLOCK]
    cartridge.busy["read_block"] = [CartridgeBusyError("cold", retry_after_s=0.005)] * 100_000
    return cartridge


class Lives:
    """Answers of a ring whose process dies after so many steps, in every life anew."""

    def __init__(
        self, folder: Path, cartridge: MemoryCartridge, steps: Iterator[int | None], **kernel: int
    ) -> None:
        self.kernel = FakeKernel(**kernel)
        self.cartridge = cartridge
        self.deaths = 0
        self._folder = folder
        self._steps = steps
        self.life = RingDrive(self.kernel, self.cartridge, self._folder).live()
        self.life.journal.dies_after = next(steps)

    def _live_on(self) -> None:
        self.deaths += 1
        self.life.leave()
        self.life = RingDrive(self.kernel, self.cartridge, self._folder)
        self.life.journal.dies_after = next(self._steps)
        self.life.live()

    def answers(self) -> dict[int, Answer]:
        """Return what is answered by now; a life that is over is followed by another."""
        if self.life.service.died.is_set():
            self._live_on()
        return self.kernel.answers()

    def await_answers(self, *command_ids: int) -> list[Answer]:
        found: dict[int, Answer] = {}
        deadline = time.monotonic() + 30
        while not found.keys() >= set(command_ids):
            assert time.monotonic() < deadline
            found |= self.answers()
            time.sleep(0.0002)
        assert found.keys() == set(command_ids)
        return [found[command_id] for command_id in command_ids]


def scenario(lives: Lives) -> list[list[Answer]]:
    kernel = lives.kernel
    waits = kernel.put(READ_1000, room=1000)
    behind = kernel.put(WRITE_9, NEXT_BLOCK)
    aborted = kernel.put(WRITE_1000, BLOCK)
    inquiry = kernel.put(INQUIRY, room=36)
    kernel.put_task_management(ABORT_TASK, [aborted])
    first = lives.await_answers(aborted, inquiry)
    sense, inquiry = kernel.put(REQUEST_SENSE, room=18), kernel.put(INQUIRY, room=36)
    second = lives.await_answers(sense, inquiry)
    # The entries of these take the answers to those that have waited.
    where, inquiry = kernel.put(READ_POSITION, room=20), kernel.put(INQUIRY, room=36)
    third = lives.await_answers(inquiry)
    lives.cartridge.busy.clear()
    return [first, second, third, lives.await_answers(waits, behind, where)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[list[Answer]]:
    lives = Lives(tmp_path_factory.mktemp("undisturbed"), cold_cartridge(), itertools.repeat(None))
    answers = scenario(lives)
    lives.life.service.stop()
    (aborted, inquiry), (sense, again), _, (read, written, where) = answers
    assert (aborted.status, inquiry.status, sense.data_in[2]) == (0x40, 0, 0)
    assert inquiry.data_in[:2] == b"\x01\x80"
    assert again == inquiry
    assert (read.status, read.data_in) == (0, BLOCK)
    assert (written.status, where.data_in[7]) == (0, 2)
    assert lives.cartridge.objects == [BLOCK, NEXT_BLOCK]
    return answers


def test_what_never_waits_is_answered_while_a_command_waits(
    undisturbed: list[list[Answer]],
) -> None:
    assert len(undisturbed) == 4


@pytest.mark.parametrize("ring_bytes", [4096, 752])
def test_a_death_between_any_two_steps_goes_unnoticed(
    tmp_path: Path, undisturbed: list[list[Answer]], ring_bytes: int
) -> None:
    for steps in itertools.count():
        cartridge = cold_cartridge()
        plan = itertools.chain([steps], itertools.repeat(None))
        lives = Lives(tmp_path / f"{ring_bytes}-{steps}", cartridge, plan, ring_bytes=ring_bytes)
        assert scenario(lives) == undisturbed, steps
        lives.life.service.stop()
        assert cartridge.objects == [BLOCK, NEXT_BLOCK], steps
        if not lives.deaths:
            assert steps > 40
            break


@pytest.mark.parametrize("steps", range(3, 12))
def test_one_death_after_the_other_goes_unnoticed(
    tmp_path: Path, undisturbed: list[list[Answer]], steps: int
) -> None:
    cartridge = cold_cartridge()
    lives = Lives(tmp_path, cartridge, itertools.chain([steps] * 12, itertools.repeat(None)))
    assert scenario(lives) == undisturbed
    lives.life.service.stop()
    assert lives.deaths > 2
    assert cartridge.objects == [BLOCK, NEXT_BLOCK]


def test_what_was_displaced_once_is_nothing_to_a_later_life(tmp_path: Path) -> None:
    lives = Lives(tmp_path, cold_cartridge(), itertools.repeat(None), ring_bytes=112 * 8)
    kernel = lives.kernel
    waits, inquiry = kernel.put(READ_1000, room=1000), kernel.put(INQUIRY, room=36)
    lives.await_answers(inquiry)
    disordered_at = kernel.tail
    lives.cartridge.busy.clear()
    lives.await_answers(waits)
    # Once around the ring.
    while kernel.tail != disordered_at:
        lives.await_answers(kernel.put(READ_POSITION, room=20))
    lives.life.service.stop()
    lives.life = RingDrive(kernel, lives.cartridge, tmp_path).live()
    for _ in range(3):
        lives.await_answers(kernel.put(READ_POSITION, room=20))
    lives.life.service.stop()


def test_what_is_aborted_stays_so_whenever_death_comes(tmp_path: Path) -> None:
    for steps in itertools.count():
        lives = Lives(tmp_path / str(steps), cold_cartridge(), itertools.repeat(None))
        kernel = lives.kernel
        waits, inquiry = kernel.put(READ_1000, room=1000), kernel.put(INQUIRY, room=36)
        lives.await_answers(inquiry)
        with lives.life.lock:
            lives.life.journal.dies_after = steps
            kernel.put_task_management(ABORT_TASK, [waits])
            later = [kernel.put(INQUIRY, room=36) for _ in range(3)]
        answers = lives.await_answers(waits, *later)
        assert [answer.status for answer in answers] == [0x40, 0, 0, 0]
        lives.life.service.stop()
        if not lives.deaths:
            assert steps > 10
            break


def test_what_waits_hears_of_a_tape_that_is_another_one_now(tmp_path: Path) -> None:
    lives = Lives(tmp_path, cold_cartridge(), itertools.repeat(None))
    waits, inquiry = lives.kernel.put(READ_1000, room=1000), lives.kernel.put(INQUIRY, room=36)
    lives.await_answers(inquiry)
    lives.life.service.stop()
    lives.life = RingDrive(lives.kernel, MemoryCartridge("OTHER1L5"), tmp_path).live()
    (answer,) = lives.await_answers(waits)
    assert (answer.status, answer.sense[2], answer.sense[12]) == (2, 6, 0x29)
    lives.life.service.stop()


def test_a_reset_ends_what_waits_and_all_behind_it(tmp_path: Path) -> None:
    lives = Lives(tmp_path, cold_cartridge(), itertools.repeat(None))
    kernel = lives.kernel
    commands = [kernel.put(READ_1000, room=1000), kernel.put(WRITE_9, NEXT_BLOCK)]
    inquiry = kernel.put(INQUIRY, room=36)
    lives.await_answers(inquiry)
    kernel.put_task_management(LOGICAL_UNIT_RESET, commands)
    answers = lives.await_answers(*commands)
    assert [answer.status for answer in answers] == [0x40, 0x40]
    assert lives.cartridge.objects == [BLOCK]
    lives.life.service.stop()


def test_without_the_kernels_leave_everything_is_answered_in_order(tmp_path: Path) -> None:
    cartridge = cold_cartridge()
    lives = Lives(tmp_path, cartridge, itertools.repeat(None), flags=0xE)
    waits, inquiry = lives.kernel.put(READ_1000, room=1000), lives.kernel.put(INQUIRY, room=36)
    while len(cartridge.busy["read_block"]) > 99_990:
        time.sleep(0.001)
    assert lives.kernel.answers() == {}
    cartridge.busy.clear()
    read, found = lives.await_answers(waits, inquiry)
    assert (read.data_in, found.status) == (BLOCK, 0)
    lives.life.service.stop()


def test_what_there_is_no_room_to_note_waits_for_its_turn(tmp_path: Path) -> None:
    cartridge = cold_cartridge()
    lives = Lives(tmp_path, cartridge, itertools.repeat(None), ring_bytes=1 << 20, piece_bytes=8)
    waits = lives.kernel.put(READ_1000, room=20_000)
    inquiry = lives.kernel.put(INQUIRY, room=36)
    while len(cartridge.busy["read_block"]) > 99_990:
        time.sleep(0.001)
    assert lives.kernel.answers() == {}
    cartridge.busy.clear()
    read, found = lives.await_answers(waits, inquiry)
    assert (read.data_in, found.status) == (BLOCK, 0)
    lives.life.service.stop()
