"""A ring's service: commands that wait, are aborted, come in pieces, or meet a bug."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tapectl.scsi.cartridge import CartridgeBusyError
from tests.support.fake_kernel import FakeKernel
from tests.support.memory_cartridge import MemoryCartridge
from tests.unit.lio.ring_drive import RingDrive

WRITE_1000 = "0a 00 00 03 e8 00"
READ_1000 = "08 00 00 03 e8 00"
REWIND = "01 00 00 00 00 00"
TEST_UNIT_READY = "00 00 00 00 00 00"
BLOCK = bytes(range(250)) * 4
ABORT_TASK, LOGICAL_UNIT_RESET = 1, 5


def test_data_in_pieces_is_put_together_and_taken_apart(tmp_path: Path) -> None:
    cartridge = MemoryCartridge()
    one = RingDrive(FakeKernel(piece_bytes=300), cartridge, tmp_path).live()
    assert one.run(WRITE_1000, BLOCK).status == 0
    assert cartridge.objects == [BLOCK]
    one.run(REWIND)
    assert one.run(READ_1000, room=1000).data_in == BLOCK
    one.service.stop()


def test_a_block_is_read_into_the_kernels_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cartridge = MemoryCartridge()
    one = RingDrive(FakeKernel(), cartridge, tmp_path).live()
    one.run(WRITE_1000, BLOCK)
    one.run(REWIND)
    read_into = []
    read_block = cartridge.read_block

    def noting(buffer: memoryview) -> object:
        read_into.append(buffer.obj)
        return read_block(buffer)

    monkeypatch.setattr(cartridge, "read_block", noting)
    assert one.run(READ_1000, room=1000).data_in == BLOCK
    assert read_into == [one.kernel.memory.obj]
    one.service.stop()


def test_nothing_of_other_commands_comes_back_where_nothing_does(tmp_path: Path) -> None:
    one = RingDrive(FakeKernel(), MemoryCartridge(), tmp_path).live()
    # INQUIRY with an allocation length of 0, from whoever declares room for more.
    assert one.run("12 00 00 00 00 00", room=16).data_in == bytes(16)
    one.service.stop()


def test_a_command_waits_until_its_data_is_there(tmp_path: Path) -> None:
    cartridge = MemoryCartridge()
    one = RingDrive(FakeKernel(), cartridge, tmp_path).live()
    one.run(WRITE_1000, BLOCK)
    one.run(REWIND)
    cartridge.busy["read_block"] = [CartridgeBusyError("cold", retry_after_s=0.01)] * 3
    assert one.run(READ_1000, room=1000).data_in == BLOCK
    one.service.stop()


def test_a_command_that_waits_too_long_is_answered_busy(tmp_path: Path) -> None:
    cartridge = MemoryCartridge()
    one = RingDrive(FakeKernel(), cartridge, tmp_path, busy_timeout_s=0.02).live()
    cartridge.objects = [BLOCK]
    cartridge.busy["read_block"] = [CartridgeBusyError("cold", retry_after_s=0.01)] * 1000
    assert one.run(READ_1000, room=1000).status == 8
    cartridge.busy.clear()
    assert one.run(READ_1000, room=1000).data_in == BLOCK
    one.service.stop()


def test_a_changed_bound_holds_for_commands_that_come_after(tmp_path: Path) -> None:
    cartridge = MemoryCartridge()
    one = RingDrive(FakeKernel(), cartridge, tmp_path, busy_timeout_s=60).live()
    cartridge.objects = [BLOCK]
    cartridge.busy["read_block"] = [CartridgeBusyError("cold", retry_after_s=0.01)] * 1000
    one.busy_timeout_s = 0.02
    assert one.run(READ_1000, room=1000).status == 8
    one.service.stop()


def test_what_waits_can_be_aborted_and_those_behind_it_too(tmp_path: Path) -> None:
    cartridge = MemoryCartridge()
    one = RingDrive(FakeKernel(), cartridge, tmp_path).live()
    cartridge.objects = [BLOCK]
    cartridge.busy["read_block"] = [CartridgeBusyError("cold", retry_after_s=5)] * 1000
    kernel = one.kernel
    waits = kernel.put(bytes.fromhex(READ_1000), room=1000)
    behind = kernel.put(bytes.fromhex(WRITE_1000), BLOCK)
    last = kernel.put(bytes.fromhex(TEST_UNIT_READY))
    kernel.put_task_management(ABORT_TASK, [behind])
    kernel.put_task_management(ABORT_TASK, [waits])
    answers = kernel.await_answers(waits, behind, last)
    assert [answer.status for answer in answers] == [0x40, 0x40, 0]
    assert cartridge.objects == [BLOCK]
    one.service.stop()


def test_an_abort_of_what_is_answered_concerns_no_later_command(tmp_path: Path) -> None:
    one = RingDrive(FakeKernel(), MemoryCartridge(), tmp_path).live()
    # Ids are used again: this one is of the command after the next.
    one.kernel.put_task_management(ABORT_TASK, [1])
    assert [one.run(TEST_UNIT_READY).status for _ in range(3)] == [0, 0, 0]
    one.service.stop()


def test_a_reset_is_told_and_lets_removal_be(tmp_path: Path) -> None:
    one = RingDrive(FakeKernel(), MemoryCartridge(), tmp_path).live()
    assert one.run("1e 00 00 00 01 00").status == 0
    one.kernel.put_task_management(LOGICAL_UNIT_RESET, [])
    assert one.run(TEST_UNIT_READY).sense[12:14] == b"\x29\x03"
    assert one.run("1b 00 00 00 00 00").status == 0
    one.service.stop()


def test_a_bug_is_a_hardware_error_and_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cartridge = MemoryCartridge()
    one = RingDrive(FakeKernel(), cartridge, tmp_path).live()

    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(cartridge, "write_blocks", fail)
    answer = one.run(WRITE_1000, BLOCK)
    assert (answer.status, answer.sense[2], answer.sense[12]) == (2, 4, 0x44)
    assert one.run(TEST_UNIT_READY).status == 0
    one.service.stop()


def test_a_command_that_is_known_no_more_is_to_be_tried_again(tmp_path: Path) -> None:
    kernel = FakeKernel()
    command_id = kernel.put(bytes.fromhex(TEST_UNIT_READY))
    kernel.spoil_first(command_id)
    one = RingDrive(kernel, MemoryCartridge(), tmp_path).live()
    assert kernel.await_answers(command_id)[0].status == 8
    # And then it is told why.
    assert one.run(TEST_UNIT_READY).sense[12] == 0x29
    one.service.stop()


def test_what_is_not_answered_at_the_end_is_for_the_next(tmp_path: Path) -> None:
    cartridge = MemoryCartridge()
    one = RingDrive(FakeKernel(), cartridge, tmp_path).live()
    cartridge.objects = [BLOCK]
    cartridge.busy["read_block"] = [CartridgeBusyError("cold", retry_after_s=60)]
    waits = one.kernel.put(bytes.fromhex(READ_1000), room=1000)
    behind = one.kernel.put(bytes.fromhex(TEST_UNIT_READY))
    while cartridge.busy["read_block"]:
        time.sleep(0.001)
    one.service.stop()
    assert one.kernel.answers() == {}
    other = RingDrive(one.kernel, cartridge, tmp_path).live()
    answers = one.kernel.await_answers(waits, behind)
    assert [answer.data_in for answer in answers] == [BLOCK, b""]
    other.service.stop()
