"""Whatever was negotiated, every byte of a write and of a read arrives once and in its place."""

from __future__ import annotations

from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st

from tapectl.iscsi.connection import TargetConnection
from tapectl.iscsi.events import CommandReceived
from tapectl.iscsi.pdu import R2TPDU, SCSICommandPDU, SCSIDataInPDU, SCSIDataOutPDU
from tapectl.iscsi.policy import TargetConfig
from tests.unit.iscsi.wire import feed, logged_in, outgoing

YES_NO = st.sampled_from(["Yes", "No"])
LENGTH = st.integers(512, 4096)
OFFERS = st.fixed_dictionaries(
    {
        "InitialR2T": YES_NO,
        "ImmediateData": YES_NO,
        "MaxBurstLength": LENGTH.map(str),
        "FirstBurstLength": LENGTH.map(str),
        "MaxRecvDataSegmentLength": LENGTH.map(str),
        "MaxOutstandingR2T": st.integers(1, 4).map(str),
        "HeaderDigest": st.sampled_from(["None", "CRC32C"]),
        "DataDigest": st.sampled_from(["None", "CRC32C"]),
    }
)


def pattern(size: int) -> bytes:
    return (b"0123456789abcdef-" * (size // 17 + 1))[:size]


def send(connection: TargetConnection, pdu: SCSICommandPDU | SCSIDataOutPDU) -> None:
    assert connection.session is not None
    parameters = connection.session.parameters
    feed(
        connection,
        pdu.encode(header_digest=parameters.header_digest, data_digest=parameters.data_digest),
    )


def send_burst(
    connection: TargetConnection, data: bytes, tag: int, place: tuple[int, int, int]
) -> None:
    """Send data[start:end] as one sequence of Data-Outs; `place` is (start, end, segment)."""
    start, end, segment = place
    for data_sn, offset in enumerate(range(start, end, segment)):
        piece = data[offset : min(offset + segment, end)]
        final = offset + len(piece) == end
        send(
            connection,
            SCSIDataOutPDU(
                flags=0x80 if final else 0,
                initiator_task_tag=1,
                target_transfer_tag=tag,
                data_sn=data_sn,
                buffer_offset=offset,
                data=piece,
            ),
        )


@settings(deadline=None, max_examples=150)
@given(OFFERS, st.integers(1, 20000), st.integers(100, 4096), st.booleans())
def test_writes(offers: dict[str, str], size: int, segment: int, eager: bool) -> None:
    config = TargetConfig(max_recv_data_segment_length=4096, max_outstanding_r2t=3)
    connection = logged_in(offers, config=config)
    assert connection.session is not None
    agreed = connection.session.parameters
    data = pattern(size)
    first_burst = min(agreed.first_burst_length, size)
    immediate = min(first_burst, segment) if agreed.immediate_data and eager else 0
    unsolicited = first_burst if not agreed.initial_r2t and eager else immediate
    final = unsolicited == immediate
    command = SCSICommandPDU(
        flags=0xA1 if final else 0x21,
        initiator_task_tag=1,
        expected_data_transfer_length=size,
        cmd_sn=1,
        cdb=bytes(16),
        data=data[:immediate],
    )
    send(connection, command)
    send_burst(connection, data, 0xFFFFFFFF, (immediate, unsolicited, segment))
    asked = unsolicited
    queue: deque[R2TPDU] = deque(outgoing(connection))
    while queue:
        assert len(queue) <= agreed.max_outstanding_r2t
        r2t = queue.popleft()
        assert r2t.buffer_offset == asked
        assert 0 < r2t.desired_data_transfer_length <= agreed.max_burst_length
        asked += r2t.desired_data_transfer_length
        send_burst(connection, data, r2t.target_transfer_tag, (r2t.buffer_offset, asked, segment))
        queue.extend(outgoing(connection))
    assert asked == size
    [event] = connection.events()
    assert isinstance(event, CommandReceived)
    assert event.task.data_out == data
    connection.reply(event.task, 0)
    [response] = outgoing(connection)
    assert (response.status, response.residual_count) == (0, 0)


@settings(deadline=None, max_examples=150)
@given(OFFERS, st.integers(0, 20000), st.integers(0, 20000), st.sampled_from([0, 2]))
def test_reads(offers: dict[str, str], expected: int, size: int, status: int) -> None:
    connection = logged_in(offers)
    assert connection.session is not None
    agreed = connection.session.parameters
    send(
        connection,
        SCSICommandPDU(
            flags=0xC1,
            initiator_task_tag=1,
            expected_data_transfer_length=expected,
            cmd_sn=1,
            cdb=bytes(16),
        ),
    )
    [event] = connection.events()
    assert isinstance(event, CommandReceived)
    data = pattern(size)
    connection.reply(event.task, status, data_in=memoryview(data), sense=b"s" if status else b"")
    pdus = outgoing(connection)
    got, burst = b"", 0
    for data_sn, pdu in enumerate(p for p in pdus if isinstance(p, SCSIDataInPDU)):
        assert (pdu.data_sn, pdu.buffer_offset) == (data_sn, len(got))
        assert len(pdu.data) <= agreed.initiator_max_recv_data_segment_length
        got += pdu.data
        burst += len(pdu.data)
        assert burst <= agreed.max_burst_length
        if pdu.flags & 0x80:
            burst = 0
    assert burst == 0
    assert got == data[:expected]
    last = pdus[-1]
    assert last.status == status
    residual = last.residual_count * (1 if last.flags & 2 else -1 if last.flags & 4 else 0)
    assert residual == expected - size
