"""Any bytes before and after the login, in any pieces, on one connection and on several.

The target's answer depends on what came, never on how; nothing but ProtocolError comes out of it,
and what it keeps of an initiator stays within its limits.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tapectl.iscsi.connection import TargetConnection
from tapectl.iscsi.errors import ProtocolError
from tapectl.iscsi.events import CommandReceived, Event, TaskManagementReceived
from tapectl.iscsi.policy import ChapCredential, TargetConfig
from tests.fuzz.cases import TIMEOUT, fuzz
from tests.fuzz.streams import (
    LOGINS,
    MUTATIONS,
    OFFERS,
    ORDERLY,
    STREAMS,
    Mutation,
    mutated,
    orderly_stream,
)
from tests.unit.iscsi.test_several_connections import pair
from tests.unit.iscsi.wire import Policy, feed, logged_in, split_pdus

pytestmark = TIMEOUT


def run(connection: TargetConnection, stream: bytes, chunk: int | None) -> tuple[Any, ...]:
    """Feed a stream, answering every command; return all that came out and whether it failed."""
    log: list[Any] = []
    sent = b""
    failed = False

    def act(event: Event) -> None:
        if isinstance(event, CommandReceived):
            task = event.task
            log.append((task.itt, task.lun, task.cdb, bytes(task.data_out)))
            connection.reply(task, task.itt & 2, data_in=bytes(700))
        elif isinstance(event, TaskManagementReceived):
            log.append(event)
            connection.task_management_response(event, event.response)
        else:
            log.append(event)

    try:
        feed(connection, stream, chunk)
    except ProtocolError:
        failed = True
    for event in connection.events():
        act(event)
    sent += b"".join(bytes(part) for part in connection.take_outgoing())
    return log, sent, failed


@fuzz()
@given(STREAMS, st.sampled_from(["None", "CRC32C"]), st.integers(1, 50))
def test_full_feature_phase(stream: bytes, digests: str, chunk: int) -> None:
    offers = {**OFFERS, "DataDigest": digests}
    whole = run(logged_in(offers), stream, None)
    pieces = run(logged_in(offers), stream, chunk)
    assert pieces == whole
    single = run(logged_in(offers), stream, 1)
    assert single == whole
    if digests == "None":
        split_pdus(whole[1])


@fuzz(0.5)
@given(LOGINS, st.booleans(), st.integers(1, 50))
def test_login_phase(stream: bytes, authenticated: bool, chunk: int) -> None:
    def new() -> TargetConnection:
        credentials = [ChapCredential("user", "secret")] if authenticated else []
        policy = Policy(credentials=credentials, discovery_credentials=credentials)
        return TargetConnection(policy, TargetConfig())

    whole = run(new(), stream, None)
    assert run(new(), stream, chunk) == whole
    if authenticated:
        connection = new()
        run(connection, stream, None)
        assert connection.session is None


@fuzz(0.5)
@given(st.binary(max_size=300))
def test_any_first_bytes(stream: bytes) -> None:
    run(TargetConnection(Policy(), TargetConfig()), stream, None)


@fuzz()
@given(ORDERLY, MUTATIONS, st.booleans(), st.integers(1, 50))
def test_an_orderly_initiator_over_a_wire_that_changes_bytes(
    requests: list[tuple[str, int, int]], mutations: list[Mutation], digests: bool, chunk: int
) -> None:
    kind = "CRC32C" if digests else "None"
    offers = {**OFFERS, "HeaderDigest": kind, "DataDigest": kind}
    stream = orderly_stream(requests, digests=digests)
    changed = mutated(stream, mutations)
    connection = logged_in(offers)
    whole = run(connection, changed, None)
    assert run(logged_in(offers), changed, chunk) == whole
    _, _, failed = whole
    if changed == stream:
        assert not failed
    config = TargetConfig()
    assert connection.tasks <= config.queue_depth + config.immediate_commands_max


@fuzz(0.5)
@given(
    st.lists(st.tuples(st.booleans(), STREAMS | st.just(b"")), max_size=6),
    ORDERLY,
    MUTATIONS,
)
def test_two_connections_of_a_session(
    pieces: list[tuple[bool, bytes]],
    requests: list[tuple[str, int, int]],
    mutations: list[Mutation],
) -> None:
    stream = mutated(orderly_stream(requests, digests=False), mutations)
    half = len(stream) // 2
    feeds = [
        (0, stream[:half]),
        *((int(which), data) for which, data in pieces),
        (0, stream[half:]),
    ]
    living = dict(enumerate(pair()))
    for which, data in feeds:
        if which not in living:
            continue
        try:
            feed(living[which], data)
        except ProtocolError:
            living.pop(which).close()
        for connection in list(living.values()):
            answer_all(connection, living.values())
    for connection in living.values():
        assert connection.tasks <= 2 * (TargetConfig().queue_depth + 8)


def answer_all(connection: TargetConnection, living: Iterable[TargetConnection]) -> None:
    """Answer what happened in the session, each command on the connection that it came on."""
    for event in connection.events():
        if isinstance(event, CommandReceived):
            owner = next((c for c in living if c.owns(event.task)), None)
            assert event.task.done or owner is not None
            if owner is not None:
                owner.reply(event.task, event.task.itt & 2, data_in=bytes(700))
        elif isinstance(event, TaskManagementReceived):
            connection.task_management_response(event, event.response)
    connection.take_outgoing()
