"""Several connections in one session: joining, numbering, allegiance, and how they end."""

from __future__ import annotations

from typing import Any

import pytest

from tapectl.iscsi.connection import TargetConnection
from tapectl.iscsi.constants import LogoutReason, RejectReason, TaskManagementFunction
from tapectl.iscsi.errors import ProtocolError
from tapectl.iscsi.events import LogoutReceived, TaskAborted, TaskManagementReceived
from tapectl.iscsi.pdu import LogoutRequestPDU, NOPOutPDU, SCSIDataOutPDU
from tapectl.iscsi.policy import ChapCredential, TargetConfig
from tapectl.iscsi.session import LivingSession
from tests.unit.iscsi.commands import (
    FINAL,
    READ,
    WRITE,
    answer_r2t,
    command,
    one_task,
    pattern,
    received_tasks,
    send,
)
from tests.unit.iscsi.test_task_management import manage
from tests.unit.iscsi.wire import (
    DISCOVERY,
    INITIATOR,
    NORMAL,
    OPEN_ISCSI,
    Policy,
    feed,
    logged_in,
    login_request,
    login_step,
    outgoing,
    split_pdus,
)

TSIH = 0x0101
OFFERS = {
    **OPEN_ISCSI,
    "MaxConnections": "4",
    "FirstBurstLength": "1024",
    "MaxBurstLength": "2048",
}


def living(leader: TargetConnection) -> LivingSession:
    """Describe the session as its owner would to whoever takes the next login."""
    assert leader.session is not None
    state = leader.session_state
    return LivingSession(
        info=leader.session,
        cids=list(state.members),
        exp_cmd_sn=state.window.exp_cmd_sn,
        max_cmd_sn=state.window.max_cmd_sn,
    )


def joined(
    leader: TargetConnection, cid: int, config: TargetConfig | None = None, **keys: str
) -> TargetConnection:
    """Log in a further connection in one object, and go on with it beside the leading one."""
    policy = Policy(living=living(leader))
    login = TargetConnection(policy, TargetConfig())
    response, _ = login_step(
        login, {**NORMAL, **keys}, "13", tsih=TSIH, cid=cid, cmd_sn=1, initiator_task_tag=9
    )
    assert (response.flags, response.tsih) == (0x87, TSIH)
    login.events()
    state = leader.session_state
    return TargetConnection.resume(policy, config or TargetConfig(), login.hand_off(), state)


def pair(**keys: str) -> tuple[TargetConnection, TargetConnection]:
    leader = logged_in({**OFFERS, **keys})
    return leader, joined(leader, 1, **OPEN_ISCSI)


def refused(policy: Policy, keys: dict[str, str], stages: str = "13", **fields: Any) -> int:
    connection = TargetConnection(policy, TargetConfig())
    with pytest.raises(ProtocolError):
        feed(connection, login_request({**NORMAL, **keys}, stages, **fields).encode())
    [response] = split_pdus(b"".join(connection.take_outgoing()))
    status: int = response.status_class << 8 | response.status_detail
    return status


# -- joining -------------------------------------------------------------------------------
def test_a_joining_login_is_told_the_numbers_of_the_session() -> None:
    leader = logged_in(OFFERS)
    send(leader, command(1, FINAL), command(2, FINAL))
    leader.reply(received_tasks(leader)[0], 0)
    connection = TargetConnection(Policy(living=living(leader)), TargetConfig())
    response, _ = login_step(
        connection, {**NORMAL, **OPEN_ISCSI}, "13", tsih=TSIH, cid=1, cmd_sn=3, exp_stat_sn=77
    )
    assert (response.exp_cmd_sn, response.max_cmd_sn, response.stat_sn) == (3, 33, 77)


def test_before_the_session_is_known_the_numbers_are_such_as_must_be_ignored() -> None:
    leader = logged_in(OFFERS)
    connection = TargetConnection(Policy(living=living(leader)), TargetConfig())
    response, _ = login_step(connection, b"Initiator", "1", flags=0x44, tsih=TSIH, cid=1, cmd_sn=40)
    # RFC 7143 4.2.2.1: MaxCmdSN below ExpCmdSN - 1 means that neither counts.
    assert response.max_cmd_sn < response.exp_cmd_sn - 1


def test_what_only_the_leading_connection_negotiates_holds_for_all() -> None:
    leader = logged_in({**OFFERS, "HeaderDigest": "CRC32C"})
    assert leader.session is not None
    login = TargetConnection(Policy(living=living(leader)), TargetConfig())
    offers = {
        "DataDigest": "CRC32C",
        "MaxRecvDataSegmentLength": "512",
        "MaxBurstLength": "9000",
        "InitialR2T": "Yes",
        "ErrorRecoveryLevel": "2",
    }
    _, keys = login_step(login, {**NORMAL, **offers}, "13", tsih=TSIH, cid=1)
    assert {keys[name] for name in ("MaxBurstLength", "InitialR2T", "ErrorRecoveryLevel")} == {
        "Irrelevant"
    }
    assert login.session is not None
    assert login.session.joined
    assert login.session.nexus == leader.session.nexus
    mine, theirs = login.session.parameters, leader.session.parameters
    assert (mine.max_burst_length, mine.first_burst_length) == (2048, 1024)
    assert not mine.initial_r2t
    assert (mine.header_digest, mine.data_digest) == (False, True)
    assert (theirs.header_digest, theirs.data_digest) == (True, False)
    assert mine.initiator_max_recv_data_segment_length == 512


@pytest.mark.parametrize(
    ("keys", "fields", "status"),
    [
        ({}, {"tsih": 0x0102}, 0x020A),
        ({}, {"isid": bytes(6)}, 0x020A),
        ({"InitiatorName": "iqn.other"}, {}, 0x020A),
        (DISCOVERY, {}, 0x020A),
        ({}, {"cid": 9}, 0x0206),
    ],
)
def test_a_session_that_cannot_be_joined(
    keys: dict[str, str], fields: dict[str, Any], status: int
) -> None:
    leader = logged_in({**OFFERS, "MaxConnections": "2"})
    joined(leader, 1)
    policy = Policy(living=living(leader))
    assert refused(policy, keys, **{"tsih": TSIH, "cid": 1, **fields}) == status


def test_a_session_of_one_connection_takes_no_other() -> None:
    leader = logged_in({**OFFERS, "MaxConnections": "1"})
    assert refused(Policy(living=living(leader)), {}, tsih=TSIH, cid=1) == 0x0206


def test_each_connection_must_authenticate() -> None:
    leader = logged_in(OFFERS)
    policy = Policy(living=living(leader), credentials=[ChapCredential(INITIATOR, "secret")])
    assert refused(policy, {}, tsih=TSIH, cid=1) == 0x0201
    assert refused(policy, {"AuthMethod": "None"}, "01", tsih=TSIH, cid=1) == 0x0201


def test_a_session_that_ended_during_the_login_is_gone() -> None:
    leader = logged_in(OFFERS)
    policy = Policy(living=living(leader))
    connection = TargetConnection(policy, TargetConfig())
    login_step(connection, NORMAL, "1", tsih=TSIH, cid=1)
    policy.living = None
    with pytest.raises(ProtocolError):
        feed(connection, login_request({}, "13", tsih=TSIH, cid=1).encode())
    [response] = split_pdus(b"".join(connection.take_outgoing()))
    assert (response.status_class, response.status_detail) == (2, 0x0A)


# -- one stream of commands ----------------------------------------------------------------
def test_commands_are_delivered_in_the_order_of_the_session() -> None:
    first, second = pair()
    send(first, command(1, FINAL), command(4, FINAL))
    send(second, command(3, FINAL))
    assert [task.itt for task in received_tasks(first)] == [0x101]
    send(second, command(2, FINAL))
    tasks = received_tasks(second)
    assert [task.itt for task in tasks] == [0x102, 0x103, 0x104]
    assert [first.owns(task) for task in tasks] == [False, False, True]
    assert [second.owns(task) for task in tasks] == [True, True, False]


def test_answers_and_data_stay_on_the_connection_of_their_command() -> None:
    first, second = pair()
    send(first, command(1, FINAL | WRITE, 3000))
    send(second, command(2, FINAL | READ, 10))
    [r2t] = outgoing(first)
    assert outgoing(second) == []
    assert second.events() == []
    [r2t] = answer_r2t(first, r2t, pattern(3000), 2048)
    assert answer_r2t(first, r2t, pattern(3000), 2048) == []
    [write, read] = received_tasks(first)
    second.reply(read, 0, data_in=b"0123456789")
    [data_in] = outgoing(second)
    assert data_in.data == b"0123456789"
    first.reply(write, 0)
    [response] = outgoing(first)
    # One window, a StatSN for each connection.
    assert (response.exp_cmd_sn, response.max_cmd_sn) == (3, 34)
    assert (data_in.exp_cmd_sn, data_in.max_cmd_sn) == (3, 33)
    assert data_in.stat_sn == 1
    assert response.stat_sn == 1


def test_data_on_another_connection_than_their_command_are_passed_over() -> None:
    first, second = pair()
    send(first, command(1, FINAL | WRITE, 1500))
    [r2t] = outgoing(first)
    stray = SCSIDataOutPDU(
        initiator_task_tag=0x101,
        target_transfer_tag=r2t.target_transfer_tag,
        data=pattern(1500),
    )
    send(second, stray)
    assert second.events() == []
    answer_r2t(first, r2t, pattern(1500), 1500)
    assert one_task(first).data_out == pattern(1500)


def test_a_tag_is_used_once_in_a_session() -> None:
    first, second = pair()
    send(first, command(1, FINAL, initiator_task_tag=5))
    with pytest.raises(ProtocolError):
        send(second, command(2, FINAL, initiator_task_tag=5))
    [reject] = outgoing(second)
    assert reject.reason == RejectReason.TASK_IN_PROGRESS


def test_the_window_is_one_for_all_connections() -> None:
    policy_config = TargetConfig(queue_depth=2)
    leader = logged_in(OFFERS, config=policy_config)
    other = joined(leader, 1)
    send(leader, command(1, FINAL))
    send(other, command(2, FINAL), command(3, FINAL))
    assert [task.itt for task in received_tasks(other)] == [0x101, 0x102]


@pytest.mark.parametrize("immediate", [False, True])
def test_the_data_of_a_session_are_bounded_over_all_its_connections(immediate: bool) -> None:
    leader = logged_in(OFFERS, config=TargetConfig(data_out_total_bytes_max=4096))
    policy = TargetConfig(data_out_total_bytes_max=4096)
    other = joined(leader, 1, config=policy)
    send(leader, command(1, FINAL | WRITE, 4000))
    send(other, command(2, FINAL | WRITE, 200, data=pattern(200), immediate=immediate))
    assert other.events() == []
    [r2t] = outgoing(leader)
    answer_r2t(leader, r2t, pattern(2048), 2048)
    full = [pdu.status for pdu in outgoing(other)]
    assert full == ([0x28] if immediate else [])
    leader.close()
    outgoing(other)
    send(other, command(2 if immediate else 3, FINAL | WRITE, 4096, initiator_task_tag=7))
    assert outgoing(other)[0].initiator_task_tag == 7


# -- task management -----------------------------------------------------------------------
def test_a_task_can_be_aborted_from_any_connection() -> None:
    first, second = pair()
    send(first, command(1, FINAL))
    task = one_task(first)
    send(second, manage(1, referenced_task_tag=0x101, cmd_sn=2))
    aborted, request = second.events()
    assert aborted == TaskAborted(0x101)
    first.reply(task, 0)
    # Whichever connection is asked, the answer leaves on the one of the request.
    first.task_management_response(request, request.response)
    assert outgoing(first) == []
    [response] = outgoing(second)
    assert (response.initiator_task_tag, response.response) == (0x900, 0)


def test_a_task_set_is_aborted_on_all_connections() -> None:
    first, second = pair()
    send(first, command(1, FINAL), command(2, FINAL, lun=b"\0\1" + bytes(6)))
    send(second, command(3, FINAL))
    received_tasks(second)
    send(second, manage(2, cmd_sn=4))
    events = second.events()
    assert [e.itt for e in events if isinstance(e, TaskAborted)] == [0x101, 0x103]
    assert first.tasks == 1


def test_a_task_set_is_aborted_when_all_of_it_has_come() -> None:
    # Sent after commands 1 to 3, it overtakes those that travel on the other connection.
    first, second = pair()
    send(second, manage(2, cmd_sn=4))
    send(first, command(1, FINAL), command(2, FINAL))
    assert not [e for e in first.events() if isinstance(e, TaskManagementReceived)]
    send(first, command(3, FINAL))
    events = first.events()
    assert [e.itt for e in events if isinstance(e, TaskAborted)] == [0x101, 0x102, 0x103]
    assert isinstance(events[-1], TaskManagementReceived)
    assert first.tasks == 0


def test_requests_that_wait_are_bounded() -> None:
    _, second = pair()
    for tag in range(9):
        send(second, manage(2, cmd_sn=4, initiator_task_tag=tag))
    [reject] = outgoing(second)
    assert reject.reason == RejectReason.TOO_MANY_IMMEDIATE_COMMANDS


def test_a_command_still_on_its_way_can_be_aborted() -> None:
    # RFC 7143 11.6.1: with RefCmdSN in the window, and below CmdSN, it counts as received.
    first, second = pair()
    send(second, command(2, FINAL))
    send(second, manage(1, referenced_task_tag=0x101, ref_cmd_sn=3, cmd_sn=3))
    [response] = outgoing(second)
    assert response.response == 1
    assert second.events() == []
    send(second, manage(1, referenced_task_tag=0x101, ref_cmd_sn=1, cmd_sn=3))
    received, request = second.events()
    assert received.task.itt == 0x102
    assert request.function is TaskManagementFunction.ABORT_TASK
    second.task_management_response(request, request.response)
    [response] = outgoing(second)
    assert (response.response, response.exp_cmd_sn, response.max_cmd_sn) == (0, 3, 33)
    # It comes at last: a duplicate now.
    send(first, command(1, FINAL))
    assert first.events() == []


# -- how connections end -------------------------------------------------------------------
@pytest.mark.parametrize("through", [0, 1])
def test_a_connection_is_logged_out_through_itself_or_another(through: int) -> None:
    connections = pair()
    first, second = connections
    send(first, command(1, FINAL))
    send(second, command(2, FINAL))
    task, other = received_tasks(second)
    asked = connections[through]
    send(asked, LogoutRequestPDU(flags=FINAL | 1, cid=0, initiator_task_tag=3, cmd_sn=3))
    assert asked.events() == [
        TaskAborted(0x101),
        LogoutReceived(LogoutReason.CLOSE_CONNECTION, 0),
    ]
    [response] = outgoing(asked)
    assert response.response == 0
    first.close()
    assert list(second.session_state.members) == [1]
    first.reply(task, 0)
    assert outgoing(first) == []
    second.reply(other, 0)
    assert outgoing(second)[0].initiator_task_tag == 0x102


def test_a_session_is_logged_out_with_all_its_connections() -> None:
    first, second = pair()
    send(first, command(1, FINAL))
    received_tasks(first)
    send(second, LogoutRequestPDU(flags=FINAL, initiator_task_tag=3, cmd_sn=2))
    assert second.events() == [
        TaskAborted(0x101),
        LogoutReceived(LogoutReason.CLOSE_SESSION, 1),
    ]


@pytest.mark.parametrize(("reason", "cid", "answer"), [(1, 7, 1), (2, 0, 2), (2, 1, 2)])
def test_logouts_that_close_nothing(reason: int, cid: int, answer: int) -> None:
    first, second = pair()
    send(first, command(1, FINAL))
    received_tasks(first)
    send(second, LogoutRequestPDU(flags=FINAL | reason, cid=cid, initiator_task_tag=3, cmd_sn=2))
    [response] = outgoing(second)
    assert response.response == answer
    assert second.events() == []
    assert first.tasks == 1


def test_a_connection_that_fails_takes_its_own_tasks_only() -> None:
    first, second = pair()
    send(first, command(1, FINAL | WRITE, 1500), command(2, FINAL))
    send(second, command(3, FINAL))
    assert second.events() == []
    first.close()
    # Command 1 never became whole; what stood behind it is due now.
    assert [task.itt for task in received_tasks(second) if not task.done] == [0x103]
    send(second, NOPOutPDU(immediate=True, initiator_task_tag=6, cmd_sn=4))
    [nop] = outgoing(second)
    assert (nop.exp_cmd_sn, nop.max_cmd_sn) == (4, 34)


def test_a_connection_takes_the_place_of_one_with_its_cid() -> None:
    # RFC 7143 6.3.4: at error recovery level 0 the tasks of the old one are terminated.
    leader = logged_in({**OFFERS, "MaxConnections": "1"})
    send(leader, command(1, FINAL | WRITE, 1500))
    state = living(leader)
    leader.close()
    policy = Policy(living=state)
    login = TargetConnection(policy, TargetConfig())
    login_step(login, NORMAL, "13", tsih=TSIH, cid=0)
    login.events()
    new = TargetConnection.resume(policy, TargetConfig(), login.hand_off(), leader.session_state)
    send(new, command(2, FINAL))
    task = one_task(new)
    new.reply(task, 0)
    [response] = outgoing(new)
    assert (response.exp_cmd_sn, response.max_cmd_sn) == (3, 34)
    with pytest.raises(ProtocolError):
        feed(leader, bytes(48))
