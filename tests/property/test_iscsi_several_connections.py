"""Whatever the order in which connections bring them, commands are one sequence, whole and once."""

from __future__ import annotations

from collections import deque
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tapectl.iscsi.connection import TargetConnection
from tapectl.iscsi.events import CommandReceived
from tapectl.iscsi.pdu import R2TPDU, SCSICommandPDU, SCSIDataOutPDU
from tests.unit.iscsi.test_several_connections import OFFERS, joined
from tests.unit.iscsi.wire import OPEN_ISCSI, feed, logged_in, outgoing

CONNECTIONS = 3
# For each command its connection and its data; then which connection is heard next.
COMMANDS = st.lists(
    st.tuples(st.integers(0, CONNECTIONS - 1), st.sampled_from([0, 0, 100, 1024, 3000, 5000])),
    min_size=1,
    max_size=20,
)
CHOICES = st.lists(st.integers(0, CONNECTIONS - 1), max_size=200)


def data_of(number: int, size: int) -> bytes:
    return bytes([number]) * size


class Initiator:
    """Sends each connection's PDUs in their order, and answers the R2Ts that come on it."""

    def __init__(self) -> None:
        leader = logged_in(OFFERS)
        rest = [joined(leader, cid, **OPEN_ISCSI) for cid in range(1, CONNECTIONS)]
        self.connections: list[TargetConnection] = [leader, *rest]
        self.queues: list[deque[Any]] = [deque() for _ in self.connections]
        self.delivered: list[tuple[int, bytes]] = []
        self.answered: dict[int, int] = {}

    def command(self, number: int, place: int, size: int) -> None:
        immediate = data_of(number, min(size, 1024))
        self.queues[place].append(
            SCSICommandPDU(
                flags=0xA1 if size else 0x81,
                initiator_task_tag=number,
                expected_data_transfer_length=size,
                cmd_sn=number,
                cdb=bytes(16),
                data=immediate,
            )
        )

    def step(self, place: int) -> bool:
        """Let one PDU through on a connection; say whether there was one."""
        if not self.queues[place]:
            return False
        feed(self.connections[place], self.queues[place].popleft().encode())
        self.serve()
        return True

    def serve(self) -> None:
        """Run what has become due, as a server does, and take what is sent."""
        for event in self.connections[0].events():
            if isinstance(event, CommandReceived) and not event.task.done:
                [owner] = [c for c in self.connections if c.owns(event.task)]
                self.delivered.append((event.task.itt, bytes(event.task.data_out)))
                owner.reply(event.task, 0)
        for cid, connection in enumerate(self.connections):
            for pdu in outgoing(connection):
                self._take(cid, pdu)

    def _take(self, cid: int, pdu: Any) -> None:
        number = pdu.initiator_task_tag
        if not isinstance(pdu, R2TPDU):
            self.answered[number] = cid
            return
        end = pdu.buffer_offset + pdu.desired_data_transfer_length
        self.queues[cid].append(
            SCSIDataOutPDU(
                initiator_task_tag=number,
                target_transfer_tag=pdu.target_transfer_tag,
                buffer_offset=pdu.buffer_offset,
                data=data_of(number, end)[pdu.buffer_offset :],
            )
        )


@settings(deadline=None, max_examples=150)
@given(COMMANDS, CHOICES)
def test_commands_over_three_connections(
    commands: list[tuple[int, int]], choices: list[int]
) -> None:
    initiator = Initiator()
    for number, (place, size) in enumerate(commands, start=1):
        initiator.command(number, place, size)
    for place in choices:
        initiator.step(place)
    while any(initiator.step(place) for place in range(CONNECTIONS)):
        pass
    assert initiator.delivered == [
        (number, data_of(number, size)) for number, (_, size) in enumerate(commands, start=1)
    ]
    assert initiator.answered == {
        number: place for number, (place, _) in enumerate(commands, start=1)
    }


@settings(deadline=None, max_examples=100)
@given(COMMANDS, CHOICES, st.integers(0, CONNECTIONS - 1), st.integers(0, 40))
def test_a_connection_that_fails_among_them(
    commands: list[tuple[int, int]], choices: list[int], failing: int, after: int
) -> None:
    initiator = Initiator()
    for number, (place, size) in enumerate(commands, start=1):
        initiator.command(number, place, size)
    for place in choices[:after]:
        initiator.step(place)
    initiator.connections[failing].close()
    initiator.serve()
    lost = [pdu for pdu in initiator.queues[failing] if isinstance(pdu, SCSICommandPDU)]
    initiator.queues[failing].clear()
    # The initiator plugs the gaps on another connection (RFC 7143 4.2.2.1).
    heir = (failing + 1) % CONNECTIONS
    for pdu in lost:
        initiator.command(pdu.cmd_sn, heir, 0)
    while any(initiator.step(place) for place in range(CONNECTIONS) if place != failing):
        pass
    numbers = [number for number, _ in initiator.delivered]
    assert numbers == sorted(set(numbers))
    dead = set(range(1, len(commands) + 1)) - set(numbers)
    # Only commands that had come on the failed connection, and were not whole, are missing.
    assert all(commands[number - 1][0] == failing for number in dead)
    assert not dead & {pdu.cmd_sn for pdu in lost}
