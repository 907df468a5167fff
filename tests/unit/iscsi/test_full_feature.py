"""Commands, their data and replies, and everything else of the full-feature phase."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tapectl.iscsi.connection import Phase, TargetConnection
from tapectl.iscsi.constants import (
    AsyncEvent,
    LogoutReason,
    RejectReason,
    TaskAttribute,
    TaskManagementFunction,
)
from tapectl.iscsi.errors import ProtocolError
from tapectl.iscsi.events import CommandReceived, LogoutReceived, TaskAborted
from tapectl.iscsi.pdu import (
    R2TPDU,
    LogoutRequestPDU,
    NOPInPDU,
    NOPOutPDU,
    RejectPDU,
    SCSICommandPDU,
    SCSIDataInPDU,
    SCSIDataOutPDU,
    SCSIResponsePDU,
    SNACKRequestPDU,
    TaskManagementRequestPDU,
    TextRequestPDU,
)
from tapectl.iscsi.policy import TargetConfig
from tapectl.iscsi.task import ScsiTask, decode_lun
from tapectl.iscsi.text import decode_text, encode_text
from tests.unit.iscsi.wire import DISCOVERY, OPEN_ISCSI, TARGET, Policy, feed, logged_in, outgoing

READ, WRITE, FINAL = 0x40, 0x20, 0x80
NO_TAG = 0xFFFFFFFF
CDB = bytes.fromhex("0a000000100000000000000000000000")
SMALL = {**OPEN_ISCSI, "FirstBurstLength": "1024", "MaxBurstLength": "2048"}


def pattern(size: int) -> bytes:
    return bytes(i * 7 & 0xFF for i in range(size))


def command(cmd_sn: int, flags: int, expected: int = 0, **fields: Any) -> SCSICommandPDU:
    values = {"initiator_task_tag": 0x100 + (cmd_sn & 0xFFFF), "cdb": CDB, **fields}
    return SCSICommandPDU(
        cmd_sn=cmd_sn, flags=flags, expected_data_transfer_length=expected, **values
    )


def send(connection: TargetConnection, *pdus: Any) -> None:
    parameters = connection.session.parameters if connection.session else None
    assert parameters is not None
    for pdu in pdus:
        feed(
            connection,
            pdu.encode(header_digest=parameters.header_digest, data_digest=parameters.data_digest),
        )


def received_tasks(connection: TargetConnection) -> list[ScsiTask]:
    return [event.task for event in connection.events() if isinstance(event, CommandReceived)]


def one_task(connection: TargetConnection) -> ScsiTask:
    [task] = received_tasks(connection)
    return task


# Commands and replies


def test_a_command_without_data() -> None:
    connection = logged_in(OPEN_ISCSI)
    lun = bytes([0, 3, 0, 0, 0, 0, 0, 0])
    send(connection, command(1, FINAL | TaskAttribute.ORDERED, lun=lun))
    task = one_task(connection)
    assert (task.cdb, task.lun, task.attribute) == (CDB, 3, TaskAttribute.ORDERED)
    assert not task.is_read
    assert not task.is_write
    assert bytes(task.data_out) == b""
    connection.reply(task, 0)
    [response] = outgoing(connection)
    assert isinstance(response, SCSIResponsePDU)
    assert (response.initiator_task_tag, response.status, response.response) == (0x101, 0, 0)
    assert (response.flags, response.residual_count) == (FINAL, 0)
    assert (response.stat_sn, response.exp_cmd_sn, response.max_cmd_sn) == (1, 2, 33)


def test_sense_is_preceded_by_its_length() -> None:
    connection = logged_in(OPEN_ISCSI)
    send(connection, command(1, FINAL))
    sense = pattern(18)
    connection.reply(one_task(connection), 2, sense=sense)
    [response] = outgoing(connection)
    assert (response.status, response.data) == (2, b"\x00\x12" + sense)


def test_read_with_status_in_the_last_data_in() -> None:
    connection = logged_in(OPEN_ISCSI)
    send(connection, command(1, FINAL | READ, 1001))
    connection.reply(one_task(connection), 0, data_in=memoryview(pattern(1001)))
    [data_in] = outgoing(connection)
    assert isinstance(data_in, SCSIDataInPDU)
    assert (data_in.flags, data_in.status, data_in.data) == (0x81, 0, pattern(1001))
    assert (data_in.stat_sn, data_in.exp_cmd_sn, data_in.max_cmd_sn) == (1, 2, 33)


def test_read_data_are_queued_as_the_view_given() -> None:
    connection = logged_in(OPEN_ISCSI)
    send(connection, command(1, FINAL | READ, 4096))
    block = memoryview(bytearray(4096))
    connection.reply(one_task(connection), 0, data_in=block)
    assert any(part is block for part in connection.take_outgoing())


def test_read_is_cut_to_segments_and_bursts() -> None:
    offers = {**OPEN_ISCSI, "MaxRecvDataSegmentLength": "512", "MaxBurstLength": "1024"}
    connection = logged_in(offers)
    send(connection, command(1, FINAL | READ, 2700))
    connection.reply(one_task(connection), 0, data_in=pattern(2700))
    pdus = outgoing(connection)
    assert [len(p.data) for p in pdus] == [512, 512, 512, 512, 512, 140]
    assert [p.flags for p in pdus] == [0, 0x80, 0, 0x80, 0, 0x81]
    assert [p.data_sn for p in pdus] == [0, 1, 2, 3, 4, 5]
    assert [p.buffer_offset for p in pdus] == [0, 512, 1024, 1536, 2048, 2560]
    assert b"".join(p.data for p in pdus) == pattern(2700)
    assert [p.stat_sn for p in pdus] == [0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("flags", "expected", "size", "sent", "residual_flag", "residual"),
    [
        (READ, 100, 40, 40, 0x02, 60),
        (READ, 100, 0, 0, 0x02, 100),
        (READ, 40, 100, 40, 0x04, 60),
        (READ, 0, 100, 0, 0x04, 100),
        (0, 0, 36, 0, 0x04, 36),
        (0, 100, 0, 0, 0x02, 100),
        (READ, 36, 36, 36, 0, 0),
    ],
)
@pytest.mark.parametrize("status", [0, 2])
def test_residuals(
    flags: int, expected: int, size: int, sent: int, residual_flag: int, residual: int, status: int
) -> None:
    connection = logged_in(OPEN_ISCSI)
    send(connection, command(1, FINAL | flags, expected))
    sense = b"" if status == 0 else pattern(18)
    connection.reply(one_task(connection), status, data_in=pattern(size), sense=sense)
    pdus = outgoing(connection)
    data = b"".join(p.data for p in pdus if isinstance(p, SCSIDataInPDU))
    assert data == pattern(size)[:sent]
    last = pdus[-1]
    assert last.flags & 0x06 == residual_flag
    assert last.residual_count == residual
    assert last.status == status
    if status:
        assert isinstance(last, SCSIResponsePDU)
        assert last.exp_data_sn == (1 if sent else 0)


def test_luns() -> None:
    assert decode_lun(bytes(8)) == 0
    assert decode_lun(bytes([0, 9, 0, 0, 0, 0, 0, 0])) == 9
    assert decode_lun(bytes([0x41, 2, 0, 0, 0, 0, 0, 0])) == 0x102
    assert decode_lun(bytes.fromhex("c101000000000000")) == 0xC101000000000000
    assert decode_lun(bytes.fromhex("0001000200000000")) == 0x0001000200000000


# Data-Out


def test_immediate_data_fill_a_whole_write() -> None:
    connection = logged_in(OPEN_ISCSI)
    send(connection, command(1, FINAL | WRITE, 1003, data=pattern(1003)))
    assert outgoing(connection) == []
    task = one_task(connection)
    assert task.data_out == pattern(1003)
    connection.reply(task, 0)
    [response] = outgoing(connection)
    assert (response.status, response.flags, response.residual_count) == (0, FINAL, 0)


def test_the_r2t_goes_out_before_the_immediate_data_are_read() -> None:
    connection = logged_in(SMALL)
    pdu = command(1, FINAL | WRITE, 3000, data=pattern(600), lun=bytes([0, 1] + [0] * 6))
    feed(connection, pdu.encode()[:48])
    [r2t] = outgoing(connection)
    assert isinstance(r2t, R2TPDU)
    assert (r2t.buffer_offset, r2t.desired_data_transfer_length, r2t.r2t_sn) == (600, 2048, 0)
    assert (r2t.lun, r2t.initiator_task_tag) == (pdu.lun, pdu.initiator_task_tag)
    assert (r2t.stat_sn, r2t.exp_cmd_sn) == (1, 2)
    assert r2t.target_transfer_tag != NO_TAG


def answer_r2t(connection: TargetConnection, r2t: R2TPDU, data: bytes, segment: int) -> list[Any]:
    """Send what an R2T asks for in PDUs of `segment` bytes; return what the target sent."""
    end = r2t.buffer_offset + r2t.desired_data_transfer_length
    sent: list[Any] = []
    for data_sn, offset in enumerate(range(r2t.buffer_offset, end, segment)):
        piece = data[offset : min(offset + segment, end)]
        send(
            connection,
            SCSIDataOutPDU(
                flags=FINAL if offset + len(piece) == end else 0,
                lun=r2t.lun,
                initiator_task_tag=r2t.initiator_task_tag,
                target_transfer_tag=r2t.target_transfer_tag,
                data_sn=data_sn,
                buffer_offset=offset,
                data=piece,
            ),
        )
        sent += outgoing(connection)
    return sent


@pytest.mark.parametrize("digests", ["None", "CRC32C"])
@pytest.mark.parametrize("initial", ["unsolicited", "immediate", "initial r2t"])
def test_bursts_are_asked_for_until_all_data_are_here(initial: str, digests: str) -> None:
    offers = {**SMALL, "HeaderDigest": digests, "DataDigest": digests}
    if initial == "initial r2t":
        offers |= {"InitialR2T": "Yes", "ImmediateData": "No"}
    connection = logged_in(offers)
    data = pattern(5001)
    if initial == "unsolicited":
        send(connection, command(1, WRITE, 5001, data=data[:300]))
        assert outgoing(connection) == []
        for data_sn, (start, end) in enumerate([(300, 700), (700, 1024)]):
            send(
                connection,
                SCSIDataOutPDU(
                    flags=FINAL if end == 1024 else 0,
                    initiator_task_tag=0x101,
                    data_sn=data_sn,
                    buffer_offset=start,
                    data=data[start:end],
                ),
            )
    else:
        immediate = data[:1024] if initial == "immediate" else b""
        send(connection, command(1, FINAL | WRITE, 5001, data=immediate))
    pending = outgoing(connection)
    asked = 0 if initial == "initial r2t" else 1024
    count = 0
    while pending:
        [r2t] = pending
        assert isinstance(r2t, R2TPDU)
        assert (r2t.buffer_offset, r2t.r2t_sn) == (asked, count)
        assert 0 < r2t.desired_data_transfer_length <= 2048
        asked += r2t.desired_data_transfer_length
        count += 1
        assert connection.events() == []
        pending = answer_r2t(connection, r2t, data, 701)
    assert asked == 5001
    task = one_task(connection)
    assert task.data_out == data
    connection.reply(task, 0)
    [response] = outgoing(connection)
    assert (response.status, response.exp_data_sn) == (0, count)


def test_less_unsolicited_data_than_allowed_are_made_up_by_r2t() -> None:
    connection = logged_in(SMALL)
    send(connection, command(1, WRITE, 2000, data=pattern(100)))
    send(
        connection,
        SCSIDataOutPDU(initiator_task_tag=0x101, buffer_offset=100, data=pattern(2000)[100:200]),
    )
    [r2t] = outgoing(connection)
    assert (r2t.buffer_offset, r2t.desired_data_transfer_length) == (200, 1800)


def test_several_r2ts_at_once_when_both_agree() -> None:
    connection = logged_in(
        {**SMALL, "MaxOutstandingR2T": "3"}, config=TargetConfig(max_outstanding_r2t=3)
    )
    send(connection, command(1, FINAL | WRITE, 9000))
    r2ts = outgoing(connection)
    assert [r.buffer_offset for r in r2ts] == [0, 2048, 4096]
    assert len({r.target_transfer_tag for r in r2ts}) == 3
    [fourth] = answer_r2t(connection, r2ts[0], pattern(9000), 2048)
    assert (fourth.buffer_offset, fourth.r2t_sn) == (6144, 3)


@pytest.mark.parametrize(
    "fields",
    [
        {"buffer_offset": 4},
        {"data_sn": 1},
        {"target_transfer_tag": 77},
        {"target_transfer_tag": NO_TAG},
        {"data": pattern(2049)},
        {"data": pattern(10)},  # a burst that ends early
    ],
)
def test_data_out_that_were_not_asked_for_end_the_connection(fields: dict[str, Any]) -> None:
    connection = logged_in({**SMALL, "ImmediateData": "No"})
    send(connection, command(1, FINAL | WRITE, 5000))
    [r2t] = outgoing(connection)
    values = {
        "target_transfer_tag": r2t.target_transfer_tag,
        "data": pattern(2048),
        **fields,
    }
    with pytest.raises(ProtocolError):
        send(connection, SCSIDataOutPDU(initiator_task_tag=0x101, **values))
    [reject] = outgoing(connection)
    assert reject.reason == RejectReason.PROTOCOL_ERROR
    assert connection.phase is Phase.CLOSED


@pytest.mark.parametrize(
    ("offers", "pdu"),
    [
        ({"ImmediateData": "No"}, command(1, FINAL | WRITE, 100, data=b"1234")),
        ({"FirstBurstLength": "512"}, command(1, FINAL | WRITE, 2000, data=pattern(516))),
        ({}, command(1, FINAL | WRITE, 10, data=pattern(12))),
        ({}, command(1, FINAL | READ, 10, data=pattern(12))),
        ({"InitialR2T": "Yes"}, command(1, WRITE, 2000, data=pattern(100))),
    ],
)
def test_data_that_were_not_negotiated_end_the_connection(
    offers: dict[str, str], pdu: SCSICommandPDU
) -> None:
    connection = logged_in({**OPEN_ISCSI, **offers})
    with pytest.raises(ProtocolError):
        send(connection, pdu)
    assert isinstance(outgoing(connection)[-1], RejectPDU)


def test_a_data_segment_longer_than_declared_ends_the_connection() -> None:
    config = TargetConfig(max_recv_data_segment_length=512)
    connection = logged_in(OPEN_ISCSI, config=config)
    with pytest.raises(ProtocolError):
        send(connection, command(1, FINAL | WRITE, 516, data=pattern(516)))


def test_more_data_than_the_target_takes_are_refused_and_swallowed() -> None:
    connection = logged_in(SMALL, config=TargetConfig(data_out_bytes_max=4096))
    send(connection, command(1, WRITE, 4097, data=pattern(512)))
    send(
        connection,
        SCSIDataOutPDU(initiator_task_tag=0x101, buffer_offset=512, data=pattern(512)),
    )
    assert connection.events() == []
    [response] = outgoing(connection)
    assert (response.status, response.data[2:5]) == (2, bytes([0x70, 0, 5]))
    assert response.data[14] == 0x24
    assert (response.flags & 2, response.residual_count) == (2, 4097)
    send(connection, command(2, FINAL))
    assert one_task(connection).itt == 0x102


def test_memory_for_data_is_bounded_over_all_commands() -> None:
    config = TargetConfig(data_out_total_bytes_max=4096)
    connection = logged_in(SMALL, config=config)
    send(connection, command(1, FINAL | WRITE, 4000))
    outgoing(connection)
    send(connection, command(2, FINAL | WRITE, 200, data=pattern(200)))
    assert outgoing(connection) == []  # command 1 is before it
    send(
        connection,
        TaskManagementRequestPDU(
            flags=FINAL | 1, initiator_task_tag=9, referenced_task_tag=0x101, cmd_sn=3
        ),
    )
    assert 0x28 in [getattr(pdu, "status", None) for pdu in outgoing(connection)]
    send(connection, command(3, FINAL | WRITE, 4096))
    assert isinstance(outgoing(connection)[0], R2TPDU)


def test_data_out_stay_valid_until_the_reply() -> None:
    connection = logged_in(OPEN_ISCSI)
    send(connection, command(1, FINAL | WRITE, 1000, data=b"a" * 1000))
    first = one_task(connection)
    send(connection, command(2, FINAL | WRITE, 1000, data=b"b" * 1000))
    second = one_task(connection)
    assert first.data_out == b"a" * 1000
    assert second.data_out == b"b" * 1000
    connection.reply(first, 0)
    send(connection, command(3, FINAL | WRITE, 1000, data=b"c" * 1000))
    assert second.data_out == b"b" * 1000
    assert one_task(connection).data_out == b"c" * 1000


# Order and window


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
    from tests.unit.iscsi.wire import NORMAL, login_step

    connection = TargetConnection(Policy(), TargetConfig())
    login_step(connection, {**NORMAL, **OPEN_ISCSI}, "13", cmd_sn=0xFFFFFFFF)
    connection.events()
    for cmd_sn in (0xFFFFFFFF, 0, 1):
        send(connection, command(cmd_sn, FINAL, initiator_task_tag=3))
        connection.reply(one_task(connection), 0)
    assert [r.exp_cmd_sn for r in outgoing(connection)] == [0, 1, 2]


# Refusals


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


def test_additional_header_segments_are_read_and_passed_over() -> None:
    for digests in ("None", "CRC32C"):
        connection = logged_in({**OPEN_ISCSI, "HeaderDigest": digests})
        bhs = bytearray(command(1, FINAL | WRITE, 4, data=b"1234").encode()[:48])
        ahs = bytes.fromhex("0005 01 00 00000000")
        bhs[4] = len(ahs) // 4
        header = bytes(bhs) + ahs
        if digests == "CRC32C":
            from tapectl.iscsi.digest import digest, encode_digest

            header += encode_digest(digest(header))
        feed(connection, header + b"1234")
        assert one_task(connection).data_out == b"1234"


# Digests


@pytest.mark.parametrize("size", [1, 2, 3, 4, 4096, 10001])
def test_digests_both_ways(size: int) -> None:
    connection = logged_in({**OPEN_ISCSI, "HeaderDigest": "CRC32C", "DataDigest": "CRC32C"})
    send(connection, command(1, FINAL | WRITE, size, data=pattern(size)))
    task = one_task(connection)
    assert task.data_out == pattern(size)
    connection.reply(task, 0)
    send(connection, command(2, FINAL | READ, size))
    connection.reply(one_task(connection), 0, data_in=pattern(size))
    write_response, data_in = outgoing(connection)  # checks the digests
    assert write_response.status == 0
    assert data_in.data == pattern(size)


def test_a_wrong_header_digest_drops_the_connection_without_a_word() -> None:
    connection = logged_in({**OPEN_ISCSI, "HeaderDigest": "CRC32C"})
    stream = bytearray(command(1, FINAL).encode(header_digest=True))
    stream[40] ^= 1
    with pytest.raises(ProtocolError):
        feed(connection, bytes(stream))
    assert outgoing(connection) == []


def test_a_wrong_data_digest_is_rejected_and_the_connection_dropped() -> None:
    connection = logged_in({**OPEN_ISCSI, "DataDigest": "CRC32C"})
    stream = bytearray(command(1, FINAL | WRITE, 8, data=b"12345678").encode(data_digest=True))
    stream[50] ^= 1
    with pytest.raises(ProtocolError):
        feed(connection, bytes(stream))
    [reject] = outgoing(connection)
    assert reject.reason == RejectReason.DATA_DIGEST_ERROR
    assert reject.data == bytes(stream[:48])
    assert connection.events() == []


# Task management


def manage(function: int, **fields: Any) -> TaskManagementRequestPDU:
    values = {"initiator_task_tag": 0x900, "cmd_sn": 99, **fields}
    return TaskManagementRequestPDU(flags=FINAL | function, **values)


def test_abort_of_a_delivered_task() -> None:
    connection = logged_in(OPEN_ISCSI)
    send(connection, command(1, FINAL | READ, 100))
    task = one_task(connection)
    send(connection, manage(1, referenced_task_tag=0x101))
    aborted, request = connection.events()
    assert aborted == TaskAborted(0x101)
    assert connection.is_aborted(task)
    assert request.function is TaskManagementFunction.ABORT_TASK
    connection.reply(task, 0, data_in=bytes(100))
    assert outgoing(connection) == []
    connection.task_management_response(request, request.response)
    [response] = outgoing(connection)
    assert (response.response, response.initiator_task_tag) == (0, 0x900)
    assert (response.exp_cmd_sn, response.max_cmd_sn) == (2, 33)
    assert connection.tasks == 0


def test_abort_while_data_are_awaited_lets_later_commands_pass() -> None:
    connection = logged_in(SMALL)
    send(connection, command(1, FINAL | WRITE, 2000), command(2, FINAL))
    [r2t] = outgoing(connection)
    send(connection, manage(1, referenced_task_tag=0x101))
    events = connection.events()
    assert [type(event).__name__ for event in events] == [
        "CommandReceived",
        "TaskManagementReceived",
    ]
    # Data that were already on their way are passed over.
    assert answer_r2t(connection, r2t, pattern(2000), 500) == []
    assert connection.events() == []


def test_abort_in_the_middle_of_a_data_pdu() -> None:
    connection = logged_in(OPEN_ISCSI)
    stream = command(1, FINAL | WRITE, 1000, data=pattern(1000)).encode()
    feed(connection, stream[:500])
    connection.abort_tasks()
    feed(connection, stream[500:])
    assert connection.events() == []
    send(connection, command(2, FINAL | WRITE, 4, data=b"abcd"))
    assert one_task(connection).data_out == b"abcd"


@pytest.mark.parametrize(("function", "response"), [(1, 1), (3, 5), (8, 4), (9, 255), (0, 255)])
def test_functions_that_the_server_need_not_know_of(function: int, response: int) -> None:
    connection = logged_in(OPEN_ISCSI)
    send(connection, manage(function))
    assert connection.events() == []
    [answer] = outgoing(connection)
    assert answer.response == response


@pytest.mark.parametrize(
    ("function", "left"), [(2, [0x102]), (4, [0x102]), (5, [0x102]), (6, []), (7, [])]
)
def test_functions_that_end_many_tasks(function: int, left: list[int]) -> None:
    connection = logged_in(OPEN_ISCSI)
    send(connection, command(1, FINAL), command(2, FINAL, lun=bytes([0, 1] + [0] * 6)))
    tasks = received_tasks(connection)
    send(connection, manage(function))
    *aborted, request = connection.events()
    assert request.function == function
    assert [event.itt for event in aborted] == [t.itt for t in tasks if t.itt not in left]
    assert [t.itt for t in tasks if not connection.is_aborted(t)] == left


def test_management_in_the_order_of_commands() -> None:
    connection = logged_in(SMALL)
    send(connection, command(1, FINAL | WRITE, 2000), manage(5, immediate=False, cmd_sn=2))
    assert connection.events() == []
    [r2t] = outgoing(connection)
    answer_r2t(connection, r2t, pattern(2000), 2000)
    names = [type(event).__name__ for event in connection.events()]
    assert names == ["CommandReceived", "TaskAborted", "TaskManagementReceived"]


# NOP, text, logout, asynchronous messages


def test_nop_out_is_answered_with_its_data() -> None:
    connection = logged_in({**OPEN_ISCSI, "MaxRecvDataSegmentLength": "512"})
    send(connection, NOPOutPDU(immediate=True, initiator_task_tag=5, cmd_sn=1, data=b"hello"))
    send(connection, NOPOutPDU(initiator_task_tag=6, cmd_sn=1, data=pattern(600)))
    first, second = outgoing(connection)
    assert isinstance(first, NOPInPDU)
    assert (first.initiator_task_tag, first.data, first.exp_cmd_sn) == (5, b"hello", 1)
    assert (second.data, second.exp_cmd_sn, second.max_cmd_sn) == (pattern(512), 2, 33)
    assert second.stat_sn == first.stat_sn + 1
    assert second.target_transfer_tag == NO_TAG


def test_a_ping_of_ours_is_answered() -> None:
    connection = logged_in(OPEN_ISCSI)
    connection.send_nop_in()
    connection.send_nop_in()
    [ping] = outgoing(connection)
    assert ping.initiator_task_tag == NO_TAG
    assert ping.target_transfer_tag != NO_TAG
    assert connection.ping_outstanding
    send(
        connection,
        NOPOutPDU(
            immediate=True,
            initiator_task_tag=NO_TAG,
            target_transfer_tag=ping.target_transfer_tag,
            cmd_sn=1,
        ),
    )
    assert not connection.ping_outstanding
    assert outgoing(connection) == []
    send(connection, command(1, FINAL))
    connection.reply(one_task(connection), 0)
    assert outgoing(connection)[0].stat_sn == ping.stat_sn


def send_targets(connection: TargetConnection, which: str) -> tuple[list[tuple[str, str]], int]:
    """Run a whole text exchange; return the keys and the number of responses."""
    tag, text, count, data = NO_TAG, b"", 0, encode_text([("SendTargets", which)])
    while True:
        count += 1
        send(
            connection,
            TextRequestPDU(initiator_task_tag=8, target_transfer_tag=tag, cmd_sn=count, data=data),
        )
        [response] = outgoing(connection)
        assert response.initiator_task_tag == 8
        text, tag, data = text + response.data, response.target_transfer_tag, b""
        if response.flags & FINAL:
            assert tag == NO_TAG
            return [
                tuple(item.decode().split("=", 1))  # type: ignore[misc]
                for item in text.split(b"\0")
                if item
            ], count
        assert tag != NO_TAG


def test_send_targets() -> None:
    policy = Policy(addresses=["192.0.2.1:3260", "[2001:db8::1]:3260"])
    connection = logged_in(identity=DISCOVERY, policy=policy)
    keys, _ = send_targets(connection, "All")
    assert keys == [
        ("TargetName", TARGET),
        ("TargetAddress", "192.0.2.1:3260,1"),
        ("TargetAddress", "[2001:db8::1]:3260,1"),
    ]


def test_a_long_answer_takes_several_pdus() -> None:
    names = [f"iqn.2000-01.com.example:tape-drive-{i:04}" for i in range(500)]
    policy = Policy(names=[TARGET, *names])
    connection = logged_in({"MaxRecvDataSegmentLength": "512"}, identity=DISCOVERY, policy=policy)
    keys, count = send_targets(connection, "All")
    assert [value for name, value in keys if name == "TargetName"] == [TARGET, *names]
    assert count > 50


@pytest.mark.parametrize(
    ("identity", "which", "answer"),
    [
        (None, "", [("TargetName", TARGET), ("TargetAddress", "192.0.2.1:3260,1")]),
        (None, TARGET, [("TargetName", TARGET), ("TargetAddress", "192.0.2.1:3260,1")]),
        (None, "All", [("SendTargets", "Reject")]),
        (None, "iqn.other", []),
        (DISCOVERY, TARGET, [("TargetName", TARGET), ("TargetAddress", "192.0.2.1:3260,1")]),
        (DISCOVERY, "", [("SendTargets", "Reject")]),
        (DISCOVERY, "iqn.other", []),
    ],
)
def test_send_targets_by_session(
    identity: dict[str, str] | None, which: str, answer: list[tuple[str, str]]
) -> None:
    connection = logged_in(identity=identity) if identity else logged_in()
    assert send_targets(connection, which)[0] == answer


def test_text_requests_may_declare_a_new_segment_length() -> None:
    connection = logged_in(OPEN_ISCSI)
    text = encode_text([("MaxRecvDataSegmentLength", "512"), ("InitialR2T", "Yes"), ("X-a", "1")])
    send(connection, TextRequestPDU(initiator_task_tag=1, cmd_sn=1, data=text))
    [response] = outgoing(connection)
    assert decode_text(response.data) == [("InitialR2T", "Reject"), ("X-a", "NotUnderstood")]
    send(connection, command(2, FINAL | READ, 1000))
    connection.reply(one_task(connection), 0, data_in=bytes(1000))
    assert [len(p.data) for p in outgoing(connection)] == [512, 488]
    state = connection.hand_off()
    assert state["session"]["parameters"]["initiator_max_recv_data_segment_length"] == 512


def test_text_over_several_requests() -> None:
    connection = logged_in(identity=DISCOVERY)
    send(
        connection,
        TextRequestPDU(flags=0x40, initiator_task_tag=1, cmd_sn=1, data=b"SendTar"),
    )
    [response] = outgoing(connection)
    assert (response.flags, response.data) == (0, b"")
    send(
        connection,
        TextRequestPDU(
            initiator_task_tag=1,
            target_transfer_tag=response.target_transfer_tag,
            cmd_sn=2,
            data=b"gets=All\0",
        ),
    )
    [response] = outgoing(connection)
    assert response.flags == FINAL
    assert response.data.startswith(b"TargetName=")


@pytest.mark.parametrize(
    "request_pdu",
    [
        TextRequestPDU(initiator_task_tag=1, cmd_sn=1, data=b"nonsense"),
        TextRequestPDU(initiator_task_tag=1, target_transfer_tag=5, cmd_sn=1),
    ],
)
def test_broken_text_requests_end_the_connection(request_pdu: TextRequestPDU) -> None:
    connection = logged_in(identity=DISCOVERY)
    with pytest.raises(ProtocolError):
        send(connection, request_pdu)
    assert isinstance(outgoing(connection)[0], RejectPDU)


@pytest.mark.parametrize("reason", [0, 1])
def test_logout(reason: int) -> None:
    connection = logged_in(OPEN_ISCSI)
    send(connection, command(1, FINAL))
    task = one_task(connection)
    send(connection, LogoutRequestPDU(flags=FINAL | reason, initiator_task_tag=3, cmd_sn=2))
    [aborted, logout] = connection.events()
    assert aborted == TaskAborted(0x101)
    assert logout == LogoutReceived(LogoutReason(reason))
    [response] = outgoing(connection)
    assert (response.response, response.initiator_task_tag) == (0, 3)
    connection.reply(task, 0)
    assert outgoing(connection) == []


@pytest.mark.parametrize(("reason", "cid", "answer"), [(2, 0, 2), (1, 9, 1), (77, 0, 2)])
def test_logouts_that_close_nothing(reason: int, cid: int, answer: int) -> None:
    connection = logged_in(OPEN_ISCSI)
    send(
        connection,
        LogoutRequestPDU(flags=FINAL | reason, cid=cid, initiator_task_tag=3, cmd_sn=1),
    )
    [response] = outgoing(connection)
    assert response.response == answer
    assert connection.events() == []
    assert connection.phase is Phase.FULL_FEATURE


def test_asking_for_a_logout() -> None:
    connection = logged_in(OPEN_ISCSI)
    connection.request_logout(within_s=10)
    [message] = outgoing(connection)
    assert (message.async_event, message.parameter3) == (1, 10)
    assert message.initiator_task_tag == NO_TAG


# Hand-off


def test_hand_off_and_resume_in_another_process() -> None:
    offers = {**SMALL, "HeaderDigest": "CRC32C", "DataDigest": "CRC32C"}
    first = logged_in(offers)
    send(first, command(1, FINAL))
    first.reply(one_task(first), 0)
    [before] = outgoing(first)
    state = json.loads(json.dumps(first.hand_off()))
    second = TargetConnection.resume(Policy(), TargetConfig(), state)
    assert second.phase is Phase.FULL_FEATURE
    assert second.session == first.session
    send(second, command(2, FINAL | WRITE, 2000))
    [r2t] = outgoing(second)
    answer_r2t(second, r2t, pattern(2000), 600)
    task = one_task(second)
    assert task.data_out == pattern(2000)
    second.reply(task, 0)
    [after] = outgoing(second)
    assert after.stat_sn == before.stat_sn + 1
    assert (after.exp_cmd_sn, after.max_cmd_sn) == (3, before.max_cmd_sn + 1)
    with pytest.raises(ProtocolError):
        feed(first, bytes(52))


def test_hand_off_is_refused_in_the_middle() -> None:
    connection = logged_in(OPEN_ISCSI)
    feed(connection, command(1, FINAL).encode()[:10])
    with pytest.raises(RuntimeError):
        connection.hand_off()
    feed(connection, command(1, FINAL).encode()[10:])
    with pytest.raises(RuntimeError):
        connection.hand_off()
    connection.events()
    with pytest.raises(RuntimeError):
        connection.hand_off()


def test_a_state_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="version"):
        TargetConnection.resume(Policy(), TargetConfig(), {"version": 99})
