"""Commands and their replies: status, sense, Data-In, residuals, digests."""

from __future__ import annotations

import pytest

from tapectl.iscsi.constants import (
    RejectReason,
    TaskAttribute,
)
from tapectl.iscsi.errors import ProtocolError
from tapectl.iscsi.pdu import (
    SCSIDataInPDU,
    SCSIResponsePDU,
)
from tapectl.iscsi.task import decode_lun
from tests.unit.iscsi.commands import (
    CDB,
    FINAL,
    READ,
    WRITE,
    command,
    one_task,
    pattern,
    send,
)
from tests.unit.iscsi.wire import (
    OPEN_ISCSI,
    feed,
    logged_in,
    outgoing,
)


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


@pytest.mark.parametrize(
    ("declared", "asked_for", "residual_flag", "residual"),
    [(0, 512, 0x04, 512), (200, 512, 0x04, 312), (600, 512, 0x02, 88), (512, 512, 0, 0)],
)
@pytest.mark.parametrize("status", [0, 2])
def test_residuals_of_a_write(
    declared: int, asked_for: int, residual_flag: int, residual: int, status: int
) -> None:
    connection = logged_in(OPEN_ISCSI)
    send(connection, command(1, FINAL | WRITE, declared, data=pattern(declared)))
    task = one_task(connection)
    connection.reply(task, status, data_out_bytes=asked_for)
    [response] = outgoing(connection)
    assert response.flags & 0x06 == residual_flag
    assert response.residual_count == residual


def test_luns() -> None:
    assert decode_lun(bytes(8)) == 0
    assert decode_lun(bytes([0, 9, 0, 0, 0, 0, 0, 0])) == 9
    assert decode_lun(bytes([0x41, 2, 0, 0, 0, 0, 0, 0])) == 0x102
    assert decode_lun(bytes.fromhex("c101000000000000")) == 0xC101000000000000
    assert decode_lun(bytes.fromhex("0001000200000000")) == 0x0001000200000000


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
