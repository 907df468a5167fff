"""Persistent reservations under any sequence of commands, and TransportIDs of any bytes."""

from __future__ import annotations

import struct

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tapectl.scsi.logical_unit import LogicalUnit, Status
from tapectl.scsi.nonvolatile import VolatileMemory
from tapectl.scsi.transport_id import decode_transport_id, encode_transport_id, initiator_port
from tests.support.units import make_changer

APTPL = 1
HOSTS = [f"iqn.2025-01.test:h{n},i,0x80000000000{n},iqn.2025-01.test:t,t,0x1" for n in range(3)]
KINDS = (1, 3, 5, 6, 7, 8)

KEYS = st.integers(0, 3)
OUT = st.tuples(
    st.sampled_from(HOSTS), st.integers(0, 6), st.sampled_from((*KINDS, 0, 2)), KEYS, KEYS
)
MOVE = st.tuples(st.sampled_from(HOSTS), st.sampled_from(HOSTS), KEYS, KEYS, st.booleans())
OTHERS = st.tuples(st.sampled_from(HOSTS), st.sampled_from([b"\x16", b"\x17", bytes(6), b"\x4c"]))


def send(unit: LogicalUnit, nexus: str, cdb: bytes, data: bytes = b"") -> tuple[Status, bytes]:
    reply = unit.execute(nexus, cdb.ljust(16, b"\0"), memoryview(data))
    return reply.status, bytes(reply.data_in)


def view(unit: LogicalUnit) -> tuple[bytes, bytes] | None:
    """Return the keys and the reservation, None while RESERVE keeps them from being read."""
    found = [send(unit, HOSTS[0], bytes((0x5E, sa, 0, 0, 0, 0, 0, 0xFF, 0xFF))) for sa in (0, 1)]
    while any(status is Status.CHECK_CONDITION for status, _ in found):
        return view(unit)
    if any(status is not Status.GOOD for status, _ in found):
        return None
    return found[0][1][8:], found[1][1][8:]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(OUT, MOVE, OTHERS), max_size=30))
def test_what_is_kept_is_what_there_is(steps):
    memory = VolatileMemory()
    unit = make_changer(memory)
    for nexus in HOSTS:
        unit.nexus_established(nexus)
    for step in steps:
        before = view(unit)
        if len(step) == 2:
            status, _ = send(unit, *step)
        elif isinstance(step[1], int):
            nexus, action, kind, key, new = step
            data = struct.pack(">QQ4xB3x", key, new, APTPL)
            status, _ = send(unit, nexus, struct.pack(">BBB2xI", 0x5F, action, kind, 24), data)
        else:
            nexus, other, key, new, unregister = step
            port = encode_transport_id(initiator_port(other))
            data = struct.pack(">QQxBHI", key, new, unregister << 1 | APTPL, 1, len(port)) + port
            status, _ = send(unit, nexus, struct.pack(">BBB2xI", 0x5F, 7, 3, len(data)), data)
        after = view(unit)
        assert status in (Status.GOOD, Status.CHECK_CONDITION, Status.RESERVATION_CONFLICT)
        if status is not Status.GOOD and before is not None and after is not None:
            assert after == before
        if after is None:
            continue
        keys, reservation = after
        if reservation:
            held_by, kind = struct.unpack(">Q5xB2x", reservation)
            assert keys, "a reservation without a registration"
            assert kind in KINDS
            registered = struct.unpack(f">{len(keys) // 8}Q", keys)
            assert held_by == 0 if kind in (7, 8) else held_by in registered
        # Power is lost here, and another device server finds what this one kept.
        assert view(make_changer(memory)) == after


@given(st.binary(max_size=80))
@example(bytes.fromhex("45000014") + b"a,i,0x1".ljust(20, b"\0"))
@example(bytes.fromhex("05000014") + b"iqn".ljust(20, b"\0"))
def test_a_transport_id_names_a_port_or_is_refused(data):
    try:
        name, length = decode_transport_id(data)
    except ValueError:
        return
    assert length <= len(data)
    assert decode_transport_id(encode_transport_id(name))[0] == name
