"""TCMU's ring: what the kernel puts there, and what it makes of the answers."""

from __future__ import annotations

import random

import pytest

from tapectl.lio.disorder import decode_disorder, encode_disorder
from tapectl.lio.ring import CommandRing, RingCommand, RingError, RingTaskManagement
from tests.support.fake_kernel import FakeKernel

TEST_UNIT_READY = bytes(6)
READ_6 = bytes.fromhex("08 00 00 20 00 00")


def taken(ring: CommandRing) -> RingCommand:
    found = ring.take()
    assert isinstance(found, RingCommand)
    return found


def test_a_command_with_its_cdb_and_its_data() -> None:
    kernel = FakeKernel()
    ring = CommandRing(kernel.memory)
    assert not ring.unanswered
    command_id = kernel.put(bytes.fromhex("0a 00 00 00 05 00"), b"block")
    command = taken(ring)
    assert command.command_id == command_id
    # A CDB of 6 bytes; what stands after it in the ring is no part of it.
    assert command.cdb == bytes.fromhex("0a 00 00 00 05 00") + bytes(10)
    assert [bytes(piece) for piece in command.data] == [b"block"]
    assert command.data_bytes == 5
    assert ring.take() is None
    assert ring.unanswered
    ring.answer(command, 0)
    assert not ring.unanswered
    assert kernel.answers()[command_id].status == 0


@pytest.mark.parametrize("opcode", [0x00, 0x2B, 0x4D, 0x91, 0xA3, 0x7F])
def test_a_cdb_is_as_long_as_its_group_code_says(opcode: int) -> None:
    kernel = FakeKernel()
    whole = bytes([opcode, *range(1, 16)])
    length = {0: 6, 1: 10, 2: 10, 3: 16, 4: 16, 5: 12}[opcode >> 5]
    kernel.put(whole)
    assert taken(CommandRing(kernel.memory)).cdb == whole[:length] + bytes(16 - length)


def test_data_in_several_pieces_is_several_views_in_order() -> None:
    kernel = FakeKernel(piece_bytes=4096)
    kernel.put(bytes.fromhex("0a 00 00 28 00 00"), bytes(range(250)) * 40)
    command = taken(CommandRing(kernel.memory))
    assert [len(piece) for piece in command.data] == [4096, 4096, 1808]
    assert b"".join(command.data) == bytes(range(250)) * 40


def test_all_that_was_asked_for_needs_no_length() -> None:
    kernel = FakeKernel()
    ring = CommandRing(kernel.memory)
    command_id = kernel.put(READ_6, room=8)
    command = taken(ring)
    command.data[0][:] = b"8 bytes."
    ring.answer(command, 0, data_in_bytes=8)
    answer = kernel.answers()[command_id]
    assert answer.data_in == b"8 bytes."
    assert not answer.read_length_told


@pytest.mark.parametrize("status", [0, 2])
def test_a_short_read_tells_its_length(status: int) -> None:
    kernel = FakeKernel()
    ring = CommandRing(kernel.memory)
    command_id = kernel.put(READ_6, room=100)
    command = taken(ring)
    command.data[0][:5] = b"short"
    ring.answer(command, status, sense=b"\x70" if status else b"", data_in_bytes=5)
    answer = kernel.answers()[command_id]
    assert (answer.status, answer.data_in) == (status, b"short")
    assert answer.read_length_told


def test_data_with_sense_tells_its_length_even_if_all_is_there() -> None:
    kernel = FakeKernel()
    ring = CommandRing(kernel.memory)
    command_id = kernel.put(READ_6, room=4)
    command = taken(ring)
    command.data[0][:] = b"data"
    ring.answer(command, 2, sense=bytes.fromhex("70 00 20"), data_in_bytes=4)
    answer = kernel.answers()[command_id]
    assert answer.data_in == b"data"
    assert answer.sense == bytes.fromhex("70 00 20")


def test_an_answer_without_data_does_not_tell_the_length_of_the_one_before() -> None:
    kernel = FakeKernel(ring_bytes=240)  # every other command is in the same place
    ring = CommandRing(kernel.memory)
    for data_in_bytes, told in ((3, True), (3, True), (0, False), (0, False)):
        command_id = kernel.put(READ_6, room=10)
        ring.answer(taken(ring), 0, data_in_bytes=data_in_bytes)
        assert kernel.answers()[command_id].read_length_told is told


def test_entries_wrap_with_a_pad() -> None:
    kernel = FakeKernel(ring_bytes=304)
    ring = CommandRing(kernel.memory)
    for number in range(50):
        command_id = kernel.put(bytes((0, number, 0, 0, 0, 0)))
        command = taken(ring)
        assert command.cdb[1] == number
        ring.answer(command, 0)
        assert list(kernel.answers()) == [command_id]


def test_commands_are_taken_ahead_and_answered_in_order() -> None:
    kernel = FakeKernel()
    ring = CommandRing(kernel.memory)
    first, second = kernel.put(TEST_UNIT_READY), kernel.put(READ_6, room=1)
    commands = [taken(ring), taken(ring)]
    assert ring.disorder_after(commands[0]) is None
    ring.answer(commands[0], 8)
    assert list(kernel.answers()) == [first]
    ring.answer(commands[1], 0)
    assert list(kernel.answers()) == [second]


def test_commands_are_answered_in_any_order_and_a_successor_goes_on() -> None:
    rng = random.Random(5)
    kernel = FakeKernel(ring_bytes=2000)
    ring = CommandRing(kernel.memory)
    waiting: list[RingCommand] = []
    cdbs: dict[int, bytes] = {}
    for number in range(2000):
        if len(waiting) < 8:
            cdb = bytes((0, *number.to_bytes(2, "big"), 0, 0, 0))
            cdbs[kernel.put(cdb, room=5)] = cdb + bytes(10)
            if rng.random() < 0.2:
                kernel.put_task_management(5, [])
        disorder = None
        while (entry := ring.take()) is not None:
            if isinstance(entry, RingCommand):
                waiting.append(entry)
        if rng.random() < 0.6:
            command = waiting.pop(rng.randrange(len(waiting)))
            disorder, tail = ring.disorder_after(command), ring.next_tail
            ring.answer(command, 0)
            answers = kernel.answers()
            assert list(answers) == [command.command_id]
            del cdbs[command.command_id]
            assert ring.in_order is (disorder is None)
            if disorder is not None:
                assert ring.tail == tail
        if disorder is not None and rng.random() < 0.5:
            ring = CommandRing(kernel.memory)
            waiting = list(ring.resume(decode_disorder(encode_disorder(disorder))))
            while (entry := ring.take()) is not None:
                if isinstance(entry, RingCommand):
                    waiting.append(entry)
        assert {one.command_id: one.cdb for one in waiting} == cdbs
        assert [one.data_bytes for one in waiting] == [5] * len(waiting)


def test_a_response_in_place_of_a_request_is_no_request() -> None:
    kernel = FakeKernel()
    kernel.put(READ_6, room=5)
    kernel.spoil_first()
    assert taken(CommandRing(kernel.memory)).cdb == b""


def test_an_answer_that_was_begun_is_finished() -> None:
    kernel = FakeKernel()
    kernel.put_task_management(5, [])
    command_id, next_id = kernel.put(READ_6, room=5), kernel.put(TEST_UNIT_READY)
    kernel.spoil_first()
    ring = CommandRing(kernel.memory)
    ring.finish(command_id, 5, 2, sense=b"\x70", data_in_bytes=3)
    answer = kernel.answers()[command_id]
    assert (answer.status, answer.sense, len(answer.data_in)) == (2, b"\x70", 3)
    assert taken(ring).command_id == next_id


def test_what_was_not_taken_cannot_be_answered() -> None:
    kernel = FakeKernel()
    ring = CommandRing(kernel.memory)
    kernel.put(TEST_UNIT_READY)
    command = taken(ring)
    ring.answer(command, 0)
    kernel.put(TEST_UNIT_READY)
    taken(ring)
    with pytest.raises(RingError):
        ring.answer(command, 0)


def test_task_management_names_commands_and_needs_no_answer() -> None:
    kernel = FakeKernel()
    ring = CommandRing(kernel.memory)
    command_id = kernel.put(TEST_UNIT_READY)
    kernel.put_task_management(1, [command_id, 77])
    kernel.put(TEST_UNIT_READY)
    command = taken(ring)
    assert ring.take() == RingTaskManagement(1, (command_id, 77))
    other = taken(ring)
    ring.answer(command, 0x40)
    ring.answer(other, 0)
    assert not ring.unanswered
    assert len(kernel.answers()) == 2


def test_an_entry_of_another_kind_is_refused_and_passed() -> None:
    kernel = FakeKernel()
    ring = CommandRing(kernel.memory)
    flags_at = kernel.put_unknown()
    assert ring.take() is None
    assert kernel.memory[flags_at] == 1
    assert not ring.unanswered


def test_another_ring_begins_where_the_last_one_ended() -> None:
    kernel = FakeKernel()
    ring = CommandRing(kernel.memory)
    kernel.put(TEST_UNIT_READY)
    unanswered = kernel.put(READ_6, room=1)
    ring.answer(taken(ring), 0)
    taken(ring)
    successor = CommandRing(kernel.memory)
    assert successor.tail == ring.tail != 0
    command = taken(successor)
    assert command.command_id == unanswered
    successor.answer(command, 0)
    assert unanswered in kernel.answers()


@pytest.mark.parametrize(("version", "flags"), [(1, 0xF), (3, 0xF), (2, 1)])
def test_a_mailbox_that_we_cannot_serve_is_refused(version: int, flags: int) -> None:
    with pytest.raises(RingError):
        CommandRing(FakeKernel(version=version, flags=flags).memory)


def test_an_entry_that_cannot_be_is_no_endless_loop() -> None:
    kernel = FakeKernel()
    kernel.put(TEST_UNIT_READY)
    kernel.memory[128:132] = bytes((1, 0, 0, 0))  # a length of 0
    with pytest.raises(RingError):
        CommandRing(kernel.memory).take()


def test_any_mix_of_entries_comes_out_as_it_went_in() -> None:
    rng = random.Random(3)
    kernel = FakeKernel(ring_bytes=2000, piece_bytes=4096)
    ring = CommandRing(kernel.memory)
    for _ in range(300):
        sent: dict[int, bytes] = {}
        for _ in range(rng.randint(1, 5)):
            if rng.random() < 0.2:
                kernel.put_task_management(5, [])
            data = rng.randbytes(rng.choice((1, 100, 4096, 9000)))
            sent[kernel.put(bytes.fromhex("0a 00 00 00 01 00"), data)] = data
        commands = []
        while (entry := ring.take()) is not None:
            if isinstance(entry, RingCommand):
                commands.append(entry)
        assert {one.command_id: b"".join(one.data) for one in commands} == sent
        for command in commands:
            ring.answer(command, 0)
        assert kernel.answers().keys() == sent.keys()
