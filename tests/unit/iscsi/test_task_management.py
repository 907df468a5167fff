"""Task management functions and what they do to commands under way."""

from __future__ import annotations

from typing import Any

import pytest

from tapectl.iscsi.constants import (
    TaskManagementFunction,
)
from tapectl.iscsi.events import TaskAborted
from tapectl.iscsi.pdu import (
    TaskManagementRequestPDU,
)
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
    OPEN_ISCSI,
    feed,
    logged_in,
    outgoing,
)


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
