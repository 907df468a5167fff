"""A connection goes on in another process."""

from __future__ import annotations

import json

import pytest

from tapectl.iscsi.connection import Phase, TargetConnection
from tapectl.iscsi.errors import ProtocolError
from tapectl.iscsi.policy import TargetConfig
from tests.unit.iscsi.commands import (
    FINAL,
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
    Policy,
    feed,
    logged_in,
    outgoing,
)


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
