"""PERSISTENT RESERVE IN and OUT (SPC-5 5.14), alike on drive and changer."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from tapectl.scsi.logical_unit import LogicalUnit, Status
from tapectl.scsi.nonvolatile import NonvolatileMemory, NonvolatileMemoryError, VolatileMemory
from tests.support.scsi_initiator import Initiator
from tests.support.units import TARGET, make_changer, make_drive

Make = Callable[..., LogicalUnit]

REGISTER, RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_AND_ABORT, IGNORE, MOVE, REPLACE_LOST = range(9)
WE, EA, WE_RO, EA_RO, WE_AR, EA_AR = 1, 3, 5, 6, 7, 8
APTPL, ALL_TG_PT, SPEC_I_PT = 1, 4, 8
LOG_SELECT, TEST_UNIT_READY = "4c", "00"


@pytest.fixture(params=[make_drive, make_changer], ids=["drive", "changer"])
def make(request: pytest.FixtureRequest) -> Make:
    made: Make = request.param
    return made


@pytest.fixture
def unit(make: Make) -> LogicalUnit:
    return make()


class Host(Initiator):
    """An initiator port with an ISID, and the names that reservations have for it."""

    def __init__(self, unit: LogicalUnit, number: int) -> None:
        self.node = f"iqn.2025-01.test:host-{number}"
        self.port = f"{self.node},i,0x00023d{number:06x}"
        super().__init__(unit, f"{self.port},{TARGET},t,0x1")

    @property
    def transport_id(self) -> bytes:
        return transport_id(0x45, self.port)

    def out(self, action: int, *, kind: int = EA, key: int = 0, new: int = 0, flags: int = 0):
        return self.send(*prout(action, kind=kind, key=key, new=new, flags=flags))

    def do(self, action: int, *, kind: int = EA, key: int = 0, new: int = 0, flags: int = 0):
        assert self.out(action, kind=kind, key=key, new=new, flags=flags).status is Status.GOOD

    def refused(self, cdb: str | bytes) -> bool:
        return self.send(cdb).status is Status.RESERVATION_CONFLICT

    def keys(self) -> list[int]:
        data = self.good("5e000000000000ffff")
        return list(struct.unpack(f">{(len(data) - 8) // 8}Q", data[8:]))

    def reservation(self) -> tuple[int, int] | None:
        """Return key and type of the reservation."""
        data = self.good("5e010000000000ffff")
        if len(data) == 8:
            return None
        key, kind = struct.unpack(">Q5xB2x", data[8:])
        return key, kind


def transport_id(first: int, name: str) -> bytes:
    raw = name.encode() + b"\0"
    raw = raw.ljust(max(20, (len(raw) + 3) // 4 * 4), b"\0")
    return struct.pack(">BxH", first, len(raw)) + raw


def prout(
    action: int,
    *,
    kind: int = EA,
    key: int = 0,
    new: int = 0,
    flags: int = 0,
    ids: bytes | None = None,
) -> tuple[bytes, bytes]:
    data = struct.pack(">QQ4xB3x", key, new, flags)
    if ids is not None:
        data += struct.pack(">I", len(ids)) + ids
    return struct.pack(">BBB2xIx", 0x5F, action, kind, len(data)), data


def move(
    key: int, new: int, port_id: bytes, *, flags: int = 0, port: int = 1
) -> tuple[bytes, bytes]:
    data = struct.pack(">QQxBHI", key, new, flags, port, len(port_id)) + port_id
    return struct.pack(">BBB2xIx", 0x5F, MOVE, EA, len(data)), data


def hosts(unit: LogicalUnit, count: int = 3) -> list[Host]:
    return [Host(unit, number) for number in range(1, count + 1)]


# Registering.


def test_a_key_is_registered_changed_and_unregistered(unit):
    one, _, _ = hosts(unit)
    one.do(REGISTER, new=0xA)
    assert one.keys() == [0xA]
    assert one.out(REGISTER, new=0xB).status is Status.RESERVATION_CONFLICT  # wrong key
    one.do(REGISTER, key=0xA, new=0xB)
    assert one.keys() == [0xB]
    one.do(REGISTER, key=0xB, new=0)
    assert one.keys() == []


def test_an_unregistered_nexus_must_give_key_zero(unit):
    one, _, _ = hosts(unit)
    assert one.out(REGISTER, key=1, new=2).status is Status.RESERVATION_CONFLICT
    one.do(REGISTER, new=0)  # "do nothing except return GOOD status"
    assert one.good("5e000000000000ffff") == bytes(8)


def test_the_generation_counts_registrations_but_no_reservations(unit):
    one, two, _ = hosts(unit)

    def generation() -> int:
        return int(struct.unpack_from(">I", one.good("5e000000000000ffff"))[0])

    one.do(REGISTER, new=1)
    two.do(IGNORE, key=99, new=2)
    assert generation() == 2
    one.do(RESERVE, key=1)
    one.do(RELEASE, key=1)
    assert generation() == 2
    one.do(PREEMPT, key=1, new=2)
    one.do(CLEAR, key=1)
    assert generation() == 4


@pytest.mark.parametrize("length", [0, 23, 25])
def test_a_parameter_list_has_24_bytes(unit, length):
    one, _, _ = hosts(unit)
    cdb = struct.pack(">BBB2xIx", 0x5F, REGISTER, EA, length)
    assert one.check(cdb, bytes(length)).code == (5, 0x1A, 0)


def test_full_status_names_every_registrant_and_the_holder(unit):
    one, two, _ = hosts(unit)
    one.do(REGISTER, new=1)
    two.do(REGISTER, new=2, flags=ALL_TG_PT)
    two.do(RESERVE, key=2, kind=WE_RO)
    data = one.good("5e030000000000ffff")
    found, at = {}, 8
    while at < len(data):
        key, flags, kind, port, length = struct.unpack_from(">Q4xBB4xHI", data, at)
        found[key] = (flags, kind, port, data[at + 24 : at + 24 + length])
        at += 24 + length
    assert at == len(data) == 8 + struct.unpack_from(">I", data, 4)[0]
    assert found == {1: (0, 0, 1, one.transport_id), 2: (3, WE_RO, 1, two.transport_id)}


def test_capabilities(unit):
    one, _, _ = hosts(unit)
    assert one.good("5e020000000000ffff").hex() == "00081d90ea010000"
    one.do(REGISTER, new=1, flags=APTPL)
    assert one.good("5e020000000000ffff").hex() == "00081d91ea010000"


def test_replies_are_cut_to_their_allocation_length(unit):
    one, _, _ = hosts(unit)
    one.do(REGISTER, new=1)
    assert one.good("5e000000000000000c") == one.good("5e000000000000ffff")[:12]


@pytest.mark.parametrize("action", [REPLACE_LOST, 0x1F])
def test_actions_that_are_not_there(unit, action):
    one, _, _ = hosts(unit)
    assert one.check(prout(action)[0], prout(action)[1]).code == (5, 0x24, 0)
    assert one.check("5e040000000000ffff").code == (5, 0x24, 0)


# SPEC_I_PT.


def test_specified_ports_are_registered_with_the_sender(unit):
    one, two, three = hosts(unit)
    one.good(*prout(REGISTER, new=7, flags=SPEC_I_PT, ids=two.transport_id + three.transport_id))
    assert one.keys() == [7, 7, 7]
    two.do(RESERVE, key=7)
    assert two.reservation() == (7, EA)
    assert one.refused(LOG_SELECT)


def test_a_node_name_stands_for_its_known_ports(unit):
    one, two, _ = hosts(unit)
    one.good(*prout(REGISTER, new=7, flags=SPEC_I_PT, ids=transport_id(0x05, two.node)))
    assert one.keys() == [7, 7]
    two.do(RESERVE, key=7)


@pytest.mark.parametrize(
    "bad",
    [
        transport_id(0x45, "iqn.2025-01.test:host-2"),  # a port without ISID
        transport_id(0x05, "iqn.2025-01.test:host-2,i,0x1"),
        transport_id(0x05, "iqn.2025-01.test:nobody"),
        transport_id(0x46, "iqn.2025-01.test:host-2,i,0x1"),  # SAS
        transport_id(0x45, "iqn.2025-01.test:host-2,i,0x1")[:-4],
        transport_id(0x45, "x" * 500 + ",i,0x1"),
        b"\x45\0",
    ],
)
def test_a_wrong_transport_id_registers_nobody(unit, bad):
    one, two, _ = hosts(unit)
    sense = one.check(*prout(REGISTER, new=7, flags=SPEC_I_PT, ids=two.transport_id + bad))
    assert sense.code == (5, 0x26, 0)
    assert one.keys() == []


def test_ports_are_specified_by_an_unregistered_nexus_that_registers(unit):
    one, two, three = hosts(unit)
    two.do(REGISTER, new=2)
    wrong = prout(REGISTER, new=7, flags=SPEC_I_PT, ids=two.transport_id + three.transport_id)
    assert one.send(*wrong).status is Status.RESERVATION_CONFLICT  # two is registered
    ids = three.transport_id
    assert one.check(*prout(REGISTER, new=0, flags=SPEC_I_PT, ids=ids)).code == (5, 0x26, 0)
    assert two.check(*prout(REGISTER, key=2, new=3, flags=SPEC_I_PT, ids=ids)).code == (5, 0x26, 0)
    assert one.check(*prout(IGNORE, new=3, flags=SPEC_I_PT, ids=ids)).code == (5, 0x26, 0)
    assert one.keys() == [2]


# The types, and who may do what.


@pytest.mark.parametrize("kind", [WE, EA, WE_RO, EA_RO, WE_AR, EA_AR])
def test_what_a_type_lets_others_do(unit, kind):
    holder, registrant, stranger = hosts(unit)
    holder.do(REGISTER, new=1)
    registrant.do(REGISTER, new=2)
    holder.do(RESERVE, key=1, kind=kind)
    holder.good(LOG_SELECT)
    assert registrant.refused(LOG_SELECT) == (kind in (WE, EA))
    assert stranger.refused(LOG_SELECT)
    for other in (registrant, stranger):
        for allowed in (TEST_UNIT_READY, "12000000ff", "4d0040000000 00ffff", "1e0000000000"):
            other.good(allowed)
    assert stranger.refused("1e0000000100")
    assert stranger.refused("1a003f00ff")
    assert stranger.refused("a30c000000000000ffff")
    assert holder.reservation() == (0 if kind in (WE_AR, EA_AR) else 1, kind)


@pytest.mark.parametrize(("kind", "reads"), [(WE, True), (WE_RO, True), (WE_AR, True), (EA, False)])
def test_write_exclusive_lets_others_read_and_move_the_tape(kind, reads):
    unit = make_drive()
    holder, stranger, _ = hosts(unit)
    holder.write(b"data")
    holder.do(REGISTER, new=1)
    holder.do(RESERVE, key=1, kind=kind)
    for cdb in ("01", "110000000100", "2b", "34", "0802000004"):
        assert stranger.refused(cdb) == (not reads), cdb
    for cdb in ("0a0000000100", "100000000100", "1900", "1b", "1500", "55"):
        assert stranger.refused(cdb), cdb
    for cdb in ("05", "4400000000000000ff00"):
        stranger.good(cdb)


@pytest.mark.parametrize("kind", [WE, EA])
def test_nobody_else_moves_cartridges(kind):
    holder, stranger, _ = hosts(make_changer())
    holder.do(REGISTER, new=1)
    holder.do(RESERVE, key=1, kind=kind)
    for cdb in ("07", "a5", "a6", "2b", "37", "b8"):
        assert stranger.refused(cdb), cdb
    stranger.good("b800000000040200 00ff")  # CURDATA


def test_all_registrants_hold_it_until_the_last_is_gone(unit):
    one, two, three = hosts(unit)
    one.do(REGISTER, new=1)
    two.do(REGISTER, new=2)
    one.do(RESERVE, key=1, kind=EA_AR)
    two.do(RESERVE, key=2, kind=EA_AR)  # it holds that already
    assert two.out(RESERVE, key=2, kind=WE_AR).status is Status.RESERVATION_CONFLICT
    one.do(REGISTER, key=1, new=0)
    assert three.refused(LOG_SELECT)
    two.do(REGISTER, key=2, new=0)
    three.good(LOG_SELECT)


def test_reserving_needs_a_registration_a_scope_and_a_type(unit):
    one, two, _ = hosts(unit)
    assert one.out(RESERVE, key=0).status is Status.RESERVATION_CONFLICT
    one.do(REGISTER, new=1)
    for wrong in (0x00, 0x02, 0x04, 0x09, 0x13):
        assert one.check(*prout(RESERVE, key=1, kind=wrong)).code == (5, 0x24, 0)
    assert one.out(RESERVE, key=2).status is Status.RESERVATION_CONFLICT
    one.do(RESERVE, key=1)
    two.do(REGISTER, new=2)
    assert two.out(RESERVE, key=2).status is Status.RESERVATION_CONFLICT
    assert one.out(RESERVE, key=1, kind=WE).status is Status.RESERVATION_CONFLICT


def test_the_holder_keeps_it_under_a_new_key(unit):
    one, _, _ = hosts(unit)
    one.do(REGISTER, new=1)
    one.do(RESERVE, key=1)
    one.do(REGISTER, key=1, new=5)
    assert one.reservation() == (5, EA)


@pytest.mark.parametrize(("kind", "told"), [(WE, False), (EA, False), (WE_RO, True), (EA_RO, True)])
def test_the_end_of_a_reservation_is_told_to_registrants_it_let_in(unit, kind, told):
    for end in ({"action": RELEASE, "kind": kind}, {"action": REGISTER}):
        one, two, three = hosts(unit)
        one.do(IGNORE, new=1)
        two.do(IGNORE, new=2)
        one.do(RESERVE, key=1, kind=kind)
        one.do(key=1, **end)
        assert one.reservation() is None
        if told:
            assert two.check(TEST_UNIT_READY).code == (6, 0x2A, 4)
        two.good(TEST_UNIT_READY)
        three.good(TEST_UNIT_READY)
        one.good(TEST_UNIT_READY)


def test_a_release_of_another_type_is_refused_and_of_anothers_does_nothing(unit):
    one, two, _ = hosts(unit)
    one.do(REGISTER, new=1)
    two.do(REGISTER, new=2)
    one.do(RELEASE, key=1)  # of nothing
    one.do(RESERVE, key=1, kind=EA)
    assert one.check(*prout(RELEASE, key=1, kind=WE)).code == (5, 0x26, 4)
    two.do(RELEASE, key=2, kind=EA)
    assert one.reservation() == (1, EA)


def test_clear_ends_everything_and_tells_the_others(unit):
    one, two, three = hosts(unit)
    for number, host in enumerate((one, two, three), 1):
        host.do(REGISTER, new=number)
    one.do(RESERVE, key=1)
    two.do(CLEAR, key=2)
    assert one.check(TEST_UNIT_READY).code == (6, 0x2A, 3)
    assert three.check(TEST_UNIT_READY).code == (6, 0x2A, 3)
    two.good(TEST_UNIT_READY)
    assert (two.keys(), two.reservation()) == ([], None)


# Preempting.


def test_preempting_the_holder_takes_the_reservation_over(unit):
    one, two, three = hosts(unit)
    for number, host in enumerate((one, two, three), 1):
        host.do(REGISTER, new=number)
    one.do(RESERVE, key=1, kind=WE_RO)
    two.do(PREEMPT, key=2, new=1, kind=EA)
    assert one.check(TEST_UNIT_READY).code == (6, 0x2A, 5)
    assert three.check(TEST_UNIT_READY).code == (6, 0x2A, 4)  # another type
    assert two.reservation() == (2, EA)
    assert two.keys() == [2, 3]


def test_preempting_another_registrant_leaves_the_reservation(unit):
    one, two, three = hosts(unit)
    for number, host in enumerate((one, two, three), 1):
        host.do(REGISTER, new=number)
    one.do(RESERVE, key=1)
    two.do(PREEMPT, key=2, new=3, kind=0)  # the type does not matter then
    assert three.check(TEST_UNIT_READY).code == (6, 0x2A, 5)
    assert two.reservation() == (1, EA)
    assert two.keys() == [1, 2]


def test_preempting_needs_a_key_that_somebody_has(unit):
    one, two, _ = hosts(unit)
    one.do(REGISTER, new=1)
    two.do(REGISTER, new=2)
    assert two.out(PREEMPT, key=2, new=9).status is Status.RESERVATION_CONFLICT
    assert two.check(*prout(PREEMPT, key=2, new=0)).code == (5, 0x26, 0)
    assert one.keys() == [1, 2]


def test_preempting_all_registrants(unit):
    one, two, three = hosts(unit)
    for number, host in enumerate((one, two, three), 1):
        host.do(REGISTER, new=number)
    one.do(RESERVE, key=1, kind=WE_AR)
    two.do(PREEMPT, key=2, new=3, kind=EA)  # only three's registration goes
    assert two.reservation() == (0, WE_AR)
    two.do(PREEMPT, key=2, new=0, kind=EA)
    assert one.check(TEST_UNIT_READY).code == (6, 0x2A, 5)
    assert (two.keys(), two.reservation()) == ([2], (2, EA))


def test_preempting_oneself_changes_the_type(unit):
    one, two, _ = hosts(unit)
    one.do(REGISTER, new=1)
    two.do(REGISTER, new=2)
    one.do(RESERVE, key=1, kind=WE_RO)
    one.do(PREEMPT, key=1, new=1, kind=EA_RO)
    assert two.check(TEST_UNIT_READY).code == (6, 0x2A, 4)
    assert one.reservation() == (1, EA_RO)


def test_preempt_and_abort_aborts_the_tasks_of_who_is_preempted(unit):
    one, two, three = hosts(unit)
    one.do(REGISTER, new=1)
    two.do(REGISTER, new=2)
    three.do(REGISTER, new=3)
    aborted: list[str] = []
    unit.abort_tasks_by(aborted.extend)
    two.do(PREEMPT, key=2, new=3)
    assert aborted == []
    two.do(PREEMPT_AND_ABORT, key=2, new=1)
    assert aborted == [one.nexus]


def test_preempt_and_abort_ends_the_prevention_of_who_is_preempted():
    unit = make_drive()
    one, two, _ = hosts(unit)
    one.do(REGISTER, new=1)
    two.do(REGISTER, new=2)
    one.good("1e0000000100")
    two.do(PREEMPT_AND_ABORT, key=2, new=1)
    two.good("1b")


# REGISTER AND MOVE.


@pytest.mark.parametrize("unregisters", [False, True])
def test_a_reservation_moves_to_another_port(unit, unregisters):
    one, two, _ = hosts(unit)
    one.do(REGISTER, new=1)
    one.do(RESERVE, key=1)
    one.good(*move(1, 2, two.transport_id, flags=2 if unregisters else 0))
    assert two.reservation() == (2, EA)
    assert two.keys() == ([2] if unregisters else [1, 2])
    assert one.refused(LOG_SELECT)
    two.good(LOG_SELECT)


def test_moves_that_are_refused(unit):
    one, two, three = hosts(unit)
    one.do(REGISTER, new=1)
    two.do(REGISTER, new=2)
    assert one.check(*move(1, 2, two.transport_id)).code == (5, 0x24, 0)  # nothing is reserved
    one.do(RESERVE, key=1)
    assert one.send(*move(9, 2, two.transport_id)).status is Status.RESERVATION_CONFLICT
    assert three.send(*move(0, 2, two.transport_id)).status is Status.RESERVATION_CONFLICT
    assert two.check(*move(2, 2, three.transport_id)).code == (5, 0x24, 0)  # not the holder
    assert one.check(*move(1, 0, two.transport_id)).code == (5, 0x26, 0)
    assert one.check(*move(1, 2, one.transport_id)).code == (5, 0x26, 0)
    assert one.check(*move(1, 2, two.transport_id, port=2)).code == (5, 0x26, 0)
    ids = two.transport_id + three.transport_id
    assert one.check(*move(1, 2, ids)).code == (5, 0x26, 0)
    one.do(RELEASE, key=1)
    one.do(RESERVE, key=1, kind=WE_AR)
    assert one.send(*move(1, 2, two.transport_id)).status is Status.RESERVATION_CONFLICT
    assert one.keys() == [1, 2]


# What ends and what outlives it.


def test_nexus_loss_and_reset_end_nothing(unit):
    one, two, _ = hosts(unit)
    one.do(REGISTER, new=1)
    one.do(RESERVE, key=1)
    unit.nexus_lost(one.nexus)
    unit.logical_unit_reset()
    two.check(TEST_UNIT_READY)
    assert two.refused(LOG_SELECT)


@pytest.mark.parametrize("activates", [True, False])
def test_power_loss_ends_what_aptpl_does_not_keep(make, activates):
    memory = VolatileMemory()
    one, two, _ = hosts(make(memory))
    one.do(REGISTER, new=1, flags=APTPL if activates else 0)
    two.do(REGISTER, new=2, flags=APTPL if activates else 0)
    one.do(RESERVE, key=1, kind=WE_RO)

    one, two, three = hosts(make(memory))
    assert one.keys() == ([1, 2] if activates else [])
    assert one.reservation() == ((1, WE_RO) if activates else None)
    assert three.refused(LOG_SELECT) == activates
    assert one.good("5e000000000000ffff")[:4] == bytes(4)  # PRGENERATION
    if activates:
        two.good(LOG_SELECT)
        one.do(RELEASE, key=1, kind=WE_RO)
        assert hosts(make(memory))[0].reservation() is None


def test_the_last_registration_decides_about_power_loss(make):
    memory = VolatileMemory()
    one, _, _ = hosts(make(memory))
    one.do(REGISTER, new=1, flags=APTPL)
    one.do(REGISTER, key=1, new=2)
    assert hosts(make(memory))[0].keys() == []


class FullMemory(VolatileMemory):
    full = False

    def put(self, name: str, value: bytes | None) -> None:
        if self.full:
            raise NonvolatileMemoryError(name)
        super().put(name, value)


def test_what_cannot_be_kept_has_not_happened(make):
    memory = FullMemory()
    memory_protocol: NonvolatileMemory = memory
    one, two, _ = hosts(make(memory_protocol))
    one.do(REGISTER, new=1, flags=APTPL)
    two.do(REGISTER, new=2, flags=APTPL)
    memory.full = True
    assert one.check(*prout(RESERVE, key=1)).code == (4, 0x44, 0)
    assert one.check(*prout(CLEAR, key=1)).code == (4, 0x44, 0)
    assert (one.keys(), one.reservation()) == ([1, 2], None)
    two.good(TEST_UNIT_READY)


# RESERVE and RELEASE beside them (SPC-2 5.5, SPC-5 5.14.3).


def test_reserve_and_registrations_exclude_each_other(unit):
    one, two, _ = hosts(unit)
    one.good("16")
    for cdb in (prout(REGISTER, new=1), ("5e000000000000ffff", b"")):
        assert one.send(*cdb).status is Status.RESERVATION_CONFLICT
    one.good("17")
    one.do(REGISTER, new=1)
    assert one.refused("16")
    assert two.refused("16")
    assert two.refused("17")


def test_reserve_of_who_is_let_in_anyway_does_nothing(unit):
    one, two, three = hosts(unit)
    one.do(REGISTER, new=1)
    two.do(REGISTER, new=2)
    one.do(RESERVE, key=1, kind=EA)
    one.good("16")
    one.good("57")
    assert two.refused("16")
    one.do(RELEASE, key=1, kind=EA)
    one.do(RESERVE, key=1, kind=EA_RO)
    two.good("56")
    two.good("17")
    assert three.refused("16")
    assert one.reservation() == (1, EA_RO)


def test_registrations_are_bounded(unit):
    one, _, _ = hosts(unit)
    ids = b"".join(transport_id(0x45, f"{one.node},i,0x{n:x}") for n in range(256))
    one_more = prout(REGISTER, new=1, flags=SPEC_I_PT, ids=ids)
    assert one.check(*one_more).code == (5, 0x55, 4)
    assert one.keys() == []
