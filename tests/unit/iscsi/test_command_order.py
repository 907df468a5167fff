"""Command numbers: order, gaps, window; and what is rejected."""

from __future__ import annotations

import pytest

from tapectl.iscsi.connection import TargetConnection
from tapectl.iscsi.constants import (
    AsyncEvent,
    RejectReason,
)
from tapectl.iscsi.digest import digest, encode_digest
from tapectl.iscsi.errors import ProtocolError
from tapectl.iscsi.pdu import (
    NOPInPDU,
    NOPOutPDU,
    RejectPDU,
    SCSICommandPDU,
    SNACKRequestPDU,
    TextRequestPDU,
)
from tapectl.iscsi.policy import TargetConfig
from tests.unit.iscsi.commands import (
    FINAL,
    READ,
    SMALL,
    WRITE,
    answer_r2t,
    command,
    one_task,
    pattern,
    received_tasks,
    send,
)
from tests.unit.iscsi.wire import (
    DISCOVERY,
    NORMAL,
    OPEN_ISCSI,
    Policy,
    feed,
    logged_in,
    login_step,
    outgoing,
)


def test_commands_are_delivered_in_order_even_if_a_later_one_is_whole_first() -> None:
    connection = logged_in(SMALL)
    send(connection, command(1, FINAL | WRITE, 2000))
    send(connection, command(2, FINAL), command(3, FINAL | READ, 8))
    assert connection.events() == []
    [r2t] = outgoing(connection)
    answer_r2t(connection, r2t, pattern(2000), 2000)
    assert [task.itt for task in received_tasks(connection)] == [0x101, 0x102, 0x103]


def test_an_immediate_command_does_not_wait() -> None:
    connection = logged_in(SMALL)
    send(connection, command(1, FINAL | WRITE, 2000))
    send(connection, command(2, FINAL, immediate=True))
    task = one_task(connection)
    assert task.immediate
    outgoing(connection)
    connection.reply(task, 0)
    [response] = outgoing(connection)
    assert (response.exp_cmd_sn, response.max_cmd_sn) == (2, 32)


def test_a_gap_is_waited_for() -> None:
    connection = logged_in(OPEN_ISCSI)
    send(connection, command(3, FINAL), command(2, FINAL), command(2, FINAL))
    assert connection.events() == []
    connection.send_nop_in()
    assert outgoing(connection)[0].exp_cmd_sn == 1
    send(connection, command(1, FINAL))
    assert [task.itt for task in received_tasks(connection)] == [0x101, 0x102, 0x103]
    connection.async_message(AsyncEvent.LOGOUT_REQUESTED)
    assert outgoing(connection)[0].exp_cmd_sn == 4


@pytest.mark.parametrize("cmd_sn", [0, 33, 1000, 0x80000001, 0xFFFFFFFF])
def test_commands_outside_the_window_are_ignored(cmd_sn: int) -> None:
    connection = logged_in(OPEN_ISCSI)
    send(connection, command(cmd_sn, FINAL | WRITE, 8, data=b"12345678"))
    assert connection.events() == []
    assert outgoing(connection) == []
    send(connection, command(1, FINAL))
    assert one_task(connection).itt == 0x101


def test_the_window_closes_and_opens_with_each_reply() -> None:
    connection = logged_in(OPEN_ISCSI, config=TargetConfig(queue_depth=2))
    send(connection, command(1, FINAL), command(2, FINAL), command(3, FINAL))
    tasks = received_tasks(connection)
    assert [task.itt for task in tasks] == [0x101, 0x102]
    connection.reply(tasks[0], 0)
    [response] = outgoing(connection)
    assert (response.exp_cmd_sn, response.max_cmd_sn) == (3, 3)
    send(connection, command(3, FINAL))
    assert one_task(connection).itt == 0x103


def test_immediate_commands_are_bounded() -> None:
    connection = logged_in(OPEN_ISCSI, config=TargetConfig(immediate_commands_max=2))
    for tag in (1, 2, 3):
        send(connection, command(1, FINAL, immediate=True, initiator_task_tag=tag))
    assert len(received_tasks(connection)) == 2
    [reject] = outgoing(connection)
    assert reject.reason == RejectReason.TOO_MANY_IMMEDIATE_COMMANDS


def test_a_task_tag_in_use_ends_the_connection() -> None:
    connection = logged_in(OPEN_ISCSI)
    send(connection, command(1, FINAL, initiator_task_tag=5))
    with pytest.raises(ProtocolError):
        send(connection, command(2, FINAL, initiator_task_tag=5))
    [reject] = outgoing(connection)
    assert reject.reason == RejectReason.TASK_IN_PROGRESS


def test_command_numbers_wrap() -> None:
    connection = TargetConnection(Policy(), TargetConfig())
    login_step(connection, {**NORMAL, **OPEN_ISCSI}, "13", cmd_sn=0xFFFFFFFF)
    connection.events()
    for cmd_sn in (0xFFFFFFFF, 0, 1):
        send(connection, command(cmd_sn, FINAL, initiator_task_tag=3))
        connection.reply(one_task(connection), 0)
    assert [r.exp_cmd_sn for r in outgoing(connection)] == [0, 1, 2]


def test_what_is_not_supported_is_rejected_with_its_header() -> None:
    connection = logged_in(OPEN_ISCSI)
    pdus = {
        command(1, FINAL | READ | WRITE, 8, data=b"12345678"): RejectReason.COMMAND_NOT_SUPPORTED,
        SNACKRequestPDU(initiator_task_tag=1): RejectReason.SNACK_REJECT,
        NOPInPDU(stat_sn=0, exp_cmd_sn=0, max_cmd_sn=0): RejectReason.COMMAND_NOT_SUPPORTED,
    }
    for pdu, reason in pdus.items():
        send(connection, pdu)
        [reject] = outgoing(connection)
        assert isinstance(reject, RejectPDU)
        assert (reject.reason, reject.data) == (reason, pdu.encode()[:48])
    send(connection, command(2, FINAL))
    assert one_task(connection).itt == 0x102


def test_discovery_sessions_take_no_commands() -> None:
    connection = logged_in(identity=DISCOVERY)
    send(connection, command(1, FINAL))
    [reject] = outgoing(connection)
    assert reject.reason == RejectReason.COMMAND_NOT_SUPPORTED
    assert connection.events() == []


def with_segments(pdu: SCSICommandPDU, segments: bytes, *, digests: str = "None") -> bytes:
    """Encode a command with additional header segments."""
    encoded = pdu.encode()
    header = bytearray(encoded[:48])
    header[4] = len(segments) // 4
    header += segments
    if digests == "CRC32C":
        header += encode_digest(digest(bytes(header)))
    return bytes(header) + encoded[48:]


EXTENDED_CDB = bytes.fromhex("0005 01 00 00000000")
READ_LENGTH = bytes.fromhex("0005 02 00 00001000")


@pytest.mark.parametrize("digests", ["None", "CRC32C"])
def test_an_extended_cdb_is_an_invalid_operation_code(digests: str) -> None:
    connection = logged_in({**OPEN_ISCSI, "HeaderDigest": digests})
    pdu = command(1, FINAL | WRITE, 4, data=b"1234")
    feed(connection, with_segments(pdu, EXTENDED_CDB, digests=digests))
    assert connection.events() == []
    [response] = outgoing(connection)
    assert (response.status, response.data[2:].hex()[:6]) == (2, "700005")
    assert response.data[2 + 12 : 2 + 14] == b"\x20\0"
    send(connection, command(2, FINAL))
    assert one_task(connection).itt == 0x102


def test_the_longest_additional_header_is_read_whole() -> None:
    connection = logged_in(OPEN_ISCSI)
    segment = (1020 - 3).to_bytes(2, "big") + b"\1" + bytes(1017)
    feed(connection, with_segments(command(1, FINAL | READ, 4), segment), 7)
    assert outgoing(connection)[0].status == 2


def test_a_bidirectional_command_is_rejected_with_its_read_length() -> None:
    connection = logged_in(OPEN_ISCSI)
    feed(connection, with_segments(command(1, FINAL | READ | WRITE, 8), READ_LENGTH))
    [reject] = outgoing(connection)
    assert reject.reason == RejectReason.COMMAND_NOT_SUPPORTED
    send(connection, command(2, FINAL))
    assert one_task(connection).itt == 0x102


@pytest.mark.parametrize(
    "segments",
    [
        bytes.fromhex("0009 01 00 00000000"),  # longer than what there is
        bytes.fromhex("0000 01 00"),
        bytes.fromhex("0005 07 00 00000000"),  # no such type
        EXTENDED_CDB * 2,
        READ_LENGTH,  # the command is a plain write
        bytes(4),
    ],
)
def test_segments_that_make_no_sense_end_the_connection(segments: bytes) -> None:
    connection = logged_in(OPEN_ISCSI)
    with pytest.raises(ProtocolError):
        feed(connection, with_segments(command(1, FINAL | WRITE, 4, data=b"1234"), segments))
    [reject] = outgoing(connection)
    assert reject.reason == RejectReason.INVALID_PDU_FIELD


def test_additional_segments_of_other_requests_are_passed_over() -> None:
    connection = logged_in(OPEN_ISCSI)
    header = bytearray(NOPOutPDU(immediate=True, initiator_task_tag=5, cmd_sn=1).encode())
    header[4] = 2
    feed(connection, bytes(header) + EXTENDED_CDB)
    assert outgoing(connection)[0].initiator_task_tag == 5


def test_what_an_abort_lets_through_is_not_aborted_again() -> None:
    connection = logged_in(OPEN_ISCSI)
    send(connection, command(1, FINAL | WRITE, 400000))  # its data are still to come
    send(connection, command(2, FINAL | WRITE, 1 << 30))  # held back by it, and refused
    outgoing(connection)
    connection.abort_tasks()
    assert connection.tasks == 0
    [refusal] = outgoing(connection)
    assert refusal.status == 0x02


def test_text_that_was_held_back_and_cannot_be_parsed_ends_its_connection_with_the_next_request():
    connection = logged_in(OPEN_ISCSI)
    send(connection, command(1, FINAL | WRITE, 400000))  # its data are still to come
    text = TextRequestPDU(initiator_task_tag=9, cmd_sn=2, data=b"\xff=\xff\0")
    send(connection, text)
    outgoing(connection)
    connection.abort_tasks()
    [rejected] = outgoing(connection)
    assert (rejected.reason, rejected.data) == (RejectReason.PROTOCOL_ERROR, text.encode()[:48])
    with pytest.raises(ProtocolError):
        send(connection, command(3, FINAL))
