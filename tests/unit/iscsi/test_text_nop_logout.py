"""NOP, Text with SendTargets, Logout and Asynchronous Message."""

from __future__ import annotations

import pytest

from tapectl.iscsi.connection import Phase, TargetConnection
from tapectl.iscsi.constants import (
    LogoutReason,
)
from tapectl.iscsi.errors import ProtocolError
from tapectl.iscsi.events import LogoutReceived, TaskAborted
from tapectl.iscsi.pdu import (
    LogoutRequestPDU,
    NOPInPDU,
    NOPOutPDU,
    RejectPDU,
    TextRequestPDU,
)
from tapectl.iscsi.text import decode_text, encode_text
from tests.unit.iscsi.commands import (
    FINAL,
    NO_TAG,
    READ,
    command,
    one_task,
    pattern,
    send,
)
from tests.unit.iscsi.wire import (
    DISCOVERY,
    OPEN_ISCSI,
    TARGET,
    Policy,
    logged_in,
    outgoing,
)


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
        TextRequestPDU(flags=0xC0, initiator_task_tag=1, cmd_sn=1, data=b"SendTar"),
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
    assert logout == LogoutReceived(LogoutReason(reason), 0)
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
