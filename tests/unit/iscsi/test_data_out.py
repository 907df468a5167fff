"""The data of writes: immediate, unsolicited, asked for; and their limits."""

from __future__ import annotations

from typing import Any

import pytest

from tapectl.iscsi.connection import Phase
from tapectl.iscsi.constants import (
    RejectReason,
)
from tapectl.iscsi.errors import ProtocolError
from tapectl.iscsi.pdu import (
    R2TPDU,
    RejectPDU,
    SCSICommandPDU,
    SCSIDataOutPDU,
    TaskManagementRequestPDU,
)
from tapectl.iscsi.policy import TargetConfig
from tests.unit.iscsi.commands import (
    FINAL,
    NO_TAG,
    READ,
    SMALL,
    WRITE,
    answer_r2t,
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
