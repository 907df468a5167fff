"""Persistent reservations, and RESERVE and RELEASE (SPC-5 5.14, 6.15, 6.16; SPC-2 5.5)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conformance import commands as c
from tests.conformance.commands import (
    CLEAR,
    EXCLUSIVE_ACCESS,
    EXCLUSIVE_ACCESS_ALL_REGISTRANTS,
    EXCLUSIVE_ACCESS_REGISTRANTS_ONLY,
    PREEMPT,
    PREEMPT_AND_ABORT,
    READ_FULL_STATUS,
    READ_KEYS,
    READ_RESERVATION,
    REGISTER,
    REGISTER_AND_IGNORE,
    RELEASE,
    REPORT_CAPABILITIES,
    RESERVE,
    WRITE_EXCLUSIVE,
    WRITE_EXCLUSIVE_ALL_REGISTRANTS,
    WRITE_EXCLUSIVE_REGISTRANTS_ONLY,
    Command,
)
from tests.conformance.device import CHECK_CONDITION, GOOD, RESERVATION_CONFLICT, Device
from tests.conformance.pages import logical_unit_reset
from tests.conformance.recording import record
from tests.conformance.requirements import requires
from tests.conformance.sense import (
    INVALID_FIELD_IN_CDB,
    INVALID_RELEASE_OF_PERSISTENT_RESERVATION,
    PARAMETER_LIST_LENGTH_ERROR,
    REGISTRATIONS_PREEMPTED,
    RESERVATIONS_PREEMPTED,
    RESERVATIONS_RELEASED,
)

persistent = requires("PERSISTENT RESERVE IN", "PERSISTENT RESERVE OUT")
OURS, THEIRS = 0x1111, 0x2222
TYPES = {
    WRITE_EXCLUSIVE: "write-exclusive",
    EXCLUSIVE_ACCESS: "exclusive-access",
    WRITE_EXCLUSIVE_REGISTRANTS_ONLY: "write-exclusive-registrants-only",
    EXCLUSIVE_ACCESS_REGISTRANTS_ONLY: "exclusive-access-registrants-only",
    WRITE_EXCLUSIVE_ALL_REGISTRANTS: "write-exclusive-all-registrants",
    EXCLUSIVE_ACCESS_ALL_REGISTRANTS: "exclusive-access-all-registrants",
}
SINGLE_HOLDER = (WRITE_EXCLUSIVE, EXCLUSIVE_ACCESS)
WRITES_ONLY = (
    WRITE_EXCLUSIVE,
    WRITE_EXCLUSIVE_REGISTRANTS_ONLY,
    WRITE_EXCLUSIVE_ALL_REGISTRANTS,
)
each_type = pytest.mark.parametrize("kind", TYPES, ids=TYPES.get)


def register(device: Device, key: int) -> None:
    device.good(c.persistent_reserve_out(REGISTER, service_action_key=key))


def reserve(device: Device, key: int, kind: int) -> None:
    device.good(c.persistent_reserve_out(RESERVE, key=key, kind=kind))


def keys(device: Device) -> list[int]:
    data = device.good(c.persistent_reserve_in(READ_KEYS))
    assert int.from_bytes(data[4:8], "big") == len(data) - 8
    return [int.from_bytes(data[at : at + 8], "big") for at in range(8, len(data), 8)]


def generation(device: Device) -> int:
    return int.from_bytes(device.good(c.persistent_reserve_in(READ_KEYS))[:4], "big")


def reservation(device: Device) -> tuple[int, int] | None:
    """Return key and type of the reservation, None where there is none."""
    data = device.good(c.persistent_reserve_in(READ_RESERVATION))
    if len(data) == 8:
        return None
    assert len(data) == 24
    return int.from_bytes(data[8:16], "big"), data[21] & 0x0F


# -- registration ----------------------------------------------------------------------------
@persistent
def test_there_are_no_keys_before_a_registration(drive: Device) -> None:
    """SPC-5 6.15.2: ADDITIONAL LENGTH zero."""
    assert keys(drive) == []


@persistent
@pytest.mark.parametrize("action", [REGISTER, REGISTER_AND_IGNORE])
def test_a_registered_key_is_read_back(drive: Device, action: int) -> None:
    """SPC-5 5.14.7: REGISTER, and REGISTER AND IGNORE EXISTING KEY."""
    drive.good(c.persistent_reserve_out(action, service_action_key=OURS))
    assert keys(drive) == [OURS]


@persistent
def test_each_nexus_has_its_own_registration(drive: Device, other: Device) -> None:
    """SPC-5 5.14.7: one registration an I_T nexus; READ KEYS lists all."""
    register(drive, OURS)
    register(other, THEIRS)
    assert sorted(keys(drive)) == [OURS, THEIRS]


@persistent
def test_a_registration_with_the_wrong_key_conflicts(drive: Device) -> None:
    """SPC-5 5.14.7: RESERVATION KEY not that of the registered nexus: RESERVATION CONFLICT."""
    register(drive, OURS)
    drive.conflict(c.persistent_reserve_out(REGISTER, key=0x99, service_action_key=THEIRS))
    assert keys(drive) == [OURS]


@persistent
def test_an_unregistered_nexus_registers_with_key_zero_only(drive: Device) -> None:
    """SPC-5 table 66: unregistered, RESERVATION KEY not zero: RESERVATION CONFLICT."""
    drive.conflict(c.persistent_reserve_out(REGISTER, key=0x99, service_action_key=OURS))


@persistent
def test_a_registration_can_be_changed(drive: Device) -> None:
    """SPC-5 5.14.7: the key becomes SERVICE ACTION RESERVATION KEY."""
    register(drive, OURS)
    drive.good(c.persistent_reserve_out(REGISTER, key=OURS, service_action_key=0x77))
    assert keys(drive) == [0x77]


@persistent
def test_a_registration_of_zero_unregisters(drive: Device) -> None:
    """SPC-5 5.14.11.3: SERVICE ACTION RESERVATION KEY zero."""
    register(drive, OURS)
    drive.good(c.persistent_reserve_out(REGISTER, key=OURS))
    assert keys(drive) == []


@persistent
def test_the_generation_grows_with_each_registration(drive: Device) -> None:
    """SPC-5 6.15.2: PRGENERATION is incremented by REGISTER."""
    before = generation(drive)
    register(drive, OURS)
    drive.good(c.persistent_reserve_out(REGISTER_AND_IGNORE, service_action_key=0x77))
    assert generation(drive) == before + 2


@persistent
def test_the_generation_does_not_grow_with_a_reservation(drive: Device) -> None:
    """SPC-5 6.15.2: ... shall not be incremented by RESERVE or RELEASE."""
    register(drive, OURS)
    before = generation(drive)
    reserve(drive, OURS, WRITE_EXCLUSIVE)
    drive.good(c.persistent_reserve_out(RELEASE, key=OURS, kind=WRITE_EXCLUSIVE))
    assert generation(drive) == before


@persistent
def test_a_registration_outlives_its_session(
    drive: Device, other: Device, relogin: Callable[[Device], Device]
) -> None:
    """SPC-5 5.14.1: registrations survive an I_T nexus loss."""
    register(other, THEIRS)
    other.session.logout()
    relogin(other)
    assert keys(drive) == [THEIRS]


@persistent
def test_a_registration_outlives_a_reset(drive: Device) -> None:
    """SPC-5 5.14.1: ... and a logical unit reset."""
    register(drive, OURS)
    reserve(drive, OURS, WRITE_EXCLUSIVE)
    logical_unit_reset(drive)
    assert keys(drive) == [OURS]
    assert reservation(drive) == (OURS, WRITE_EXCLUSIVE)


# -- reservation -----------------------------------------------------------------------------
@persistent
@each_type
def test_a_reservation_is_read_back(drive: Device, kind: int) -> None:
    """SPC-5 6.15.3: key of the holder (0 for all registrants), scope 0 and type."""
    register(drive, OURS)
    reserve(drive, OURS, kind)
    key = 0 if kind >= WRITE_EXCLUSIVE_ALL_REGISTRANTS else OURS
    assert reservation(drive) == (key, kind)


@persistent
def test_an_unregistered_nexus_cannot_reserve(drive: Device) -> None:
    """SPC-5 5.14.9: RESERVATION CONFLICT."""
    drive.conflict(c.persistent_reserve_out(RESERVE, key=OURS, kind=WRITE_EXCLUSIVE))


@persistent
def test_the_holder_may_reserve_the_same_again(drive: Device) -> None:
    """SPC-5 5.14.9: same scope and type from the holder: GOOD."""
    register(drive, OURS)
    reserve(drive, OURS, WRITE_EXCLUSIVE)
    reserve(drive, OURS, WRITE_EXCLUSIVE)


@persistent
def test_the_holder_cannot_reserve_another_type(drive: Device) -> None:
    """SPC-5 5.14.9: another type while there is one: RESERVATION CONFLICT."""
    register(drive, OURS)
    reserve(drive, OURS, WRITE_EXCLUSIVE)
    drive.conflict(c.persistent_reserve_out(RESERVE, key=OURS, kind=EXCLUSIVE_ACCESS))


@persistent
def test_another_registrant_cannot_reserve(drive: Device, other: Device) -> None:
    """SPC-5 5.14.9: a reservation held by another nexus: RESERVATION CONFLICT."""
    register(drive, OURS)
    register(other, THEIRS)
    reserve(drive, OURS, WRITE_EXCLUSIVE)
    other.conflict(c.persistent_reserve_out(RESERVE, key=THEIRS, kind=WRITE_EXCLUSIVE))


@persistent
@each_type
@pytest.mark.parametrize("registered", [False, True], ids=["stranger", "registrant"])
@pytest.mark.parametrize("writing", [False, True], ids=["READ", "WRITE"])
def test_medium_access_of_another_nexus(
    tape: Device, other: Device, kind: int, registered: bool, writing: bool
) -> None:
    """SPC-5 tables 64, 65: who may read and write beside a persistent reservation."""
    record(tape, 0)
    register(tape, OURS)
    if registered:
        register(other, THEIRS)
    other.attentions()
    reserve(tape, OURS, kind)
    command = c.write(b"mine now") if writing else c.read(1024)
    allowed = (registered and kind not in SINGLE_HOLDER) or (not writing and kind in WRITES_ONLY)
    assert other.run(command).status == (GOOD if allowed else RESERVATION_CONFLICT)


@persistent
@pytest.mark.parametrize(
    "command",
    [c.inquiry(), c.test_unit_ready(), c.request_sense(), c.report_luns(), c.log_sense(0)],
    ids=lambda command: command.name,
)
def test_what_is_allowed_beside_write_exclusive(
    tape: Device, other: Device, command: Command
) -> None:
    """SPC-5 table 64: commands that anybody may send while another nexus reserves writing."""
    register(tape, OURS)
    reserve(tape, OURS, WRITE_EXCLUSIVE)
    other.good(command)


@persistent
@pytest.mark.parametrize(
    "command",
    [
        c.mode_select_6(bytes((0, 0, 0x10, 0))),
        c.rewind(),
        c.space_6(c.BLOCKS, 0),
        c.erase(),
        c.write_filemarks(1),
        c.load_unload(0),
        c.prevent_allow(1),
    ],
    ids=lambda command: command.name,
)
def test_what_conflicts_with_exclusive_access(
    tape: Device, other: Device, command: Command
) -> None:
    """SPC-5 table 64, SSC-5 table 14: RESERVATION CONFLICT for all but the holder."""
    register(tape, OURS)
    reserve(tape, OURS, EXCLUSIVE_ACCESS)
    other.conflict(command)


@persistent
def test_the_holder_has_access(tape: Device) -> None:
    """SPC-5 5.14: commands of the reservation's holder are performed."""
    register(tape, OURS)
    reserve(tape, OURS, EXCLUSIVE_ACCESS)
    record(tape, 0)


# -- release, clear, preempt -----------------------------------------------------------------
@persistent
@each_type
def test_a_release_ends_the_reservation(drive: Device, kind: int) -> None:
    """SPC-5 5.14.11.2: RELEASE by a holder with its scope and type."""
    register(drive, OURS)
    reserve(drive, OURS, kind)
    drive.good(c.persistent_reserve_out(RELEASE, key=OURS, kind=kind))
    assert reservation(drive) is None
    assert keys(drive) == [OURS]


@persistent
def test_a_release_with_another_type_is_refused(drive: Device) -> None:
    """SPC-5 5.14.11.2: INVALID RELEASE OF PERSISTENT RESERVATION."""
    register(drive, OURS)
    reserve(drive, OURS, WRITE_EXCLUSIVE)
    drive.check(
        c.persistent_reserve_out(RELEASE, key=OURS, kind=EXCLUSIVE_ACCESS),
        INVALID_RELEASE_OF_PERSISTENT_RESERVATION,
    )


@persistent
def test_a_release_without_a_reservation_is_good(drive: Device) -> None:
    """SPC-5 5.14.11.2: a registered nexus that holds none: GOOD, nothing is done."""
    register(drive, OURS)
    drive.good(c.persistent_reserve_out(RELEASE, key=OURS, kind=WRITE_EXCLUSIVE))


@persistent
def test_a_release_by_another_registrant_changes_nothing(drive: Device, other: Device) -> None:
    """SPC-5 5.14.11.2: it is not the holder: GOOD, and the reservation stays."""
    register(drive, OURS)
    register(other, THEIRS)
    reserve(drive, OURS, WRITE_EXCLUSIVE)
    other.good(c.persistent_reserve_out(RELEASE, key=THEIRS, kind=WRITE_EXCLUSIVE))
    assert reservation(drive) == (OURS, WRITE_EXCLUSIVE)


@persistent
def test_a_release_of_registrants_only_tells_the_registrants(drive: Device, other: Device) -> None:
    """SPC-5 5.14.11.2: unit attention RESERVATIONS RELEASED for the other registrants."""
    register(drive, OURS)
    register(other, THEIRS)
    kind = WRITE_EXCLUSIVE_REGISTRANTS_ONLY
    reserve(drive, OURS, kind)
    other.attentions()
    drive.good(c.persistent_reserve_out(RELEASE, key=OURS, kind=kind))
    assert other.attentions() == [RESERVATIONS_RELEASED]


@persistent
def test_a_holder_that_unregisters_releases(drive: Device, other: Device) -> None:
    """SPC-5 5.14.11.3: the reservation goes with the holder's registration."""
    register(drive, OURS)
    register(other, THEIRS)
    reserve(drive, OURS, WRITE_EXCLUSIVE)
    drive.good(c.persistent_reserve_out(REGISTER, key=OURS))
    assert reservation(other) is None
    assert keys(other) == [THEIRS]


@persistent
def test_all_registrants_keep_it_until_the_last_unregisters(drive: Device, other: Device) -> None:
    """SPC-5 5.14.11.3: every registrant is a holder."""
    register(drive, OURS)
    register(other, THEIRS)
    reserve(drive, OURS, WRITE_EXCLUSIVE_ALL_REGISTRANTS)
    drive.good(c.persistent_reserve_out(REGISTER, key=OURS))
    assert reservation(other) == (0, WRITE_EXCLUSIVE_ALL_REGISTRANTS)
    other.good(c.persistent_reserve_out(REGISTER, key=THEIRS))
    assert reservation(other) is None


@persistent
def test_clear_removes_the_reservation_and_all_registrations(drive: Device, other: Device) -> None:
    """SPC-5 5.14.11.6: by any registrant."""
    register(drive, OURS)
    register(other, THEIRS)
    reserve(drive, OURS, WRITE_EXCLUSIVE)
    other.good(c.persistent_reserve_out(CLEAR, key=THEIRS))
    drive.attentions()
    assert keys(drive) == []
    assert reservation(drive) is None


@persistent
def test_clear_tells_the_other_registrants(drive: Device, other: Device) -> None:
    """SPC-5 5.14.11.6: unit attention RESERVATIONS PREEMPTED."""
    register(drive, OURS)
    register(other, THEIRS)
    other.attentions()
    drive.good(c.persistent_reserve_out(CLEAR, key=OURS))
    assert other.attentions() == [RESERVATIONS_PREEMPTED]


@persistent
@pytest.mark.parametrize("action", [PREEMPT, PREEMPT_AND_ABORT])
def test_preempt_takes_the_reservation_over(drive: Device, other: Device, action: int) -> None:
    """SPC-5 5.14.11.4: the holder's registration goes, the preempting nexus holds."""
    register(drive, OURS)
    register(other, THEIRS)
    reserve(drive, OURS, WRITE_EXCLUSIVE)
    other.good(
        c.persistent_reserve_out(action, key=THEIRS, service_action_key=OURS, kind=EXCLUSIVE_ACCESS)
    )
    assert reservation(other) == (THEIRS, EXCLUSIVE_ACCESS)
    assert keys(other) == [THEIRS]


@persistent
def test_preempt_tells_the_preempted(drive: Device, other: Device) -> None:
    """SPC-5 5.14.11.4: unit attention REGISTRATIONS PREEMPTED."""
    register(drive, OURS)
    register(other, THEIRS)
    reserve(drive, OURS, WRITE_EXCLUSIVE)
    drive.attentions()
    other.good(
        c.persistent_reserve_out(PREEMPT, key=THEIRS, service_action_key=OURS, kind=WRITE_EXCLUSIVE)
    )
    assert drive.attentions() == [REGISTRATIONS_PREEMPTED]


@persistent
def test_preempt_of_a_registrant_leaves_the_reservation(drive: Device, other: Device) -> None:
    """SPC-5 5.14.11.4: the key is not the holder's: only that registration is removed."""
    register(drive, OURS)
    register(other, THEIRS)
    reserve(drive, OURS, WRITE_EXCLUSIVE)
    drive.good(
        c.persistent_reserve_out(PREEMPT, key=OURS, service_action_key=THEIRS, kind=WRITE_EXCLUSIVE)
    )
    assert keys(drive) == [OURS]
    assert reservation(drive) == (OURS, WRITE_EXCLUSIVE)


@persistent
def test_preempt_of_an_unknown_key_conflicts(drive: Device) -> None:
    """SPC-5 5.14.11.4: RESERVATION CONFLICT where no nexus has that key."""
    register(drive, OURS)
    drive.conflict(
        c.persistent_reserve_out(PREEMPT, key=OURS, service_action_key=0x99, kind=WRITE_EXCLUSIVE)
    )


# -- illegal requests, capabilities, full status ---------------------------------------------
@persistent
def test_a_parameter_list_of_another_length_is_refused(drive: Device) -> None:
    """SPC-5 6.16.1: 24 bytes without SPEC_I_PT: PARAMETER LIST LENGTH ERROR."""
    cdb = bytes.fromhex("5f 00 00 00 00 00 00 00 14 00")
    drive.check(c.raw(cdb, data_out=bytes(20)), PARAMETER_LIST_LENGTH_ERROR)


@persistent
@pytest.mark.parametrize("kind", [0, 2, 4, 9])
def test_a_reserved_type_is_refused(drive: Device, kind: int) -> None:
    """SPC-5 table 68: types 1, 3, 5, 6, 7 and 8."""
    register(drive, OURS)
    drive.check(c.persistent_reserve_out(RESERVE, key=OURS, kind=kind), INVALID_FIELD_IN_CDB)


@persistent
def test_a_scope_other_than_the_logical_unit_is_refused(drive: Device) -> None:
    """SPC-5 6.16.2: LU_SCOPE 0h; all others are obsolete or reserved."""
    register(drive, OURS)
    command = c.persistent_reserve_out(RESERVE, key=OURS, kind=WRITE_EXCLUSIVE, scope=1)
    drive.check(command, INVALID_FIELD_IN_CDB)


@persistent
def test_a_reserved_service_action_is_refused(drive: Device) -> None:
    """SPC-5 6.15.1: INVALID FIELD IN CDB."""
    drive.check(c.persistent_reserve_in(0x1F), INVALID_FIELD_IN_CDB)


@persistent
def test_capabilities_are_eight_bytes_with_a_type_mask(drive: Device) -> None:
    """SPC-5 6.15.4: LENGTH 0008h; TMV one and the types that are supported."""
    data = drive.good(c.persistent_reserve_in(REPORT_CAPABILITIES))
    assert int.from_bytes(data[:2], "big") == len(data) == 8
    assert data[3] & 0x80
    assert data[4] & 0xEA == 0xEA
    assert data[5] & 0x01


@persistent
def test_through_power_loss_needs_aptpl(drive: Device) -> None:
    """SPC-5 6.16.3: APTPL one is taken where PTPL_C says so, else INVALID FIELD."""
    capable = drive.good(c.persistent_reserve_in(REPORT_CAPABILITIES))[2] & 0x01
    response = drive.run(
        c.persistent_reserve_out(REGISTER_AND_IGNORE, service_action_key=OURS, flags=0x01)
    )
    assert (response.status == GOOD) == bool(capable)
    if capable:
        assert drive.good(c.persistent_reserve_in(REPORT_CAPABILITIES))[3] & 0x01
        drive.good(c.persistent_reserve_out(REGISTER_AND_IGNORE, service_action_key=OURS))
        assert not drive.good(c.persistent_reserve_in(REPORT_CAPABILITIES))[3] & 0x01
    else:
        assert response.status == CHECK_CONDITION


@persistent
@requires("PERSISTENT RESERVE IN FULL STATUS")
def test_full_status_names_each_registrant(drive: Device, other: Device) -> None:
    """SPC-5 6.15.5: a descriptor with key, holder, type, port and an iSCSI TransportID."""
    register(drive, OURS)
    register(other, THEIRS)
    reserve(drive, OURS, WRITE_EXCLUSIVE)
    data = drive.good(c.persistent_reserve_in(READ_FULL_STATUS))
    holders: dict[int, bool] = {}
    at = 8
    while at < len(data):
        key = int.from_bytes(data[at : at + 8], "big")
        holders[key] = bool(data[at + 12] & 0x01)
        length = int.from_bytes(data[at + 20 : at + 24], "big")
        assert data[at + 24] & 0x0F == 5
        assert b"iqn." in data[at + 24 : at + 24 + length]
        at += 24 + length
    assert holders == {OURS: True, THEIRS: False}


@persistent
def test_keys_are_cut_to_the_allocation_length(drive: Device) -> None:
    """SPC-5 4.2.5.6: ADDITIONAL LENGTH is not adjusted."""
    register(drive, OURS)
    data = drive.good(c.persistent_reserve_in(READ_KEYS, 8))
    assert len(data) == 8
    assert int.from_bytes(data[4:8], "big") == 8


# -- RESERVE and RELEASE ---------------------------------------------------------------------
FORMS = [
    pytest.param(c.reserve_6(), c.release_6(), marks=requires("RESERVE(6)", "RELEASE(6)"), id="6"),
    pytest.param(
        c.reserve_10(), c.release_10(), marks=requires("RESERVE(10)", "RELEASE(10)"), id="10"
    ),
]
each_form = pytest.mark.parametrize(("take", "give"), FORMS)


@each_form
def test_a_reserve_keeps_others_out(
    tape: Device, other: Device, take: Command, give: Command
) -> None:
    """SPC-2 5.5: RESERVATION CONFLICT for other initiators."""
    tape.good(take)
    other.conflict(c.test_unit_ready())
    other.conflict(c.read(512))
    tape.good(give)
    other.good(c.test_unit_ready())


@each_form
def test_a_reserve_lets_others_ask_who_it_is(
    tape: Device, other: Device, take: Command, give: Command
) -> None:
    """SPC-2 5.5: INQUIRY, REQUEST SENSE and REPORT LUNS are performed."""
    tape.good(take)
    for command in (c.inquiry(), c.request_sense(), c.report_luns()):
        other.good(command)
    tape.good(give)


@each_form
def test_a_second_reserve_of_the_same_nexus_is_good(
    tape: Device, take: Command, give: Command
) -> None:
    """SPC-2 7.21: superseding reservation of the same initiator."""
    tape.good(take)
    tape.good(take)
    tape.good(give)


@each_form
def test_a_reserve_of_another_nexus_conflicts(
    tape: Device, other: Device, take: Command, give: Command
) -> None:
    """SPC-2 7.21: RESERVATION CONFLICT."""
    tape.good(take)
    other.conflict(take)
    tape.good(give)


@each_form
def test_a_release_of_another_nexus_does_nothing(
    tape: Device, other: Device, take: Command, give: Command
) -> None:
    """SPC-2 7.16: it is no error to release what one does not hold."""
    tape.good(take)
    other.good(give)
    other.conflict(c.test_unit_ready())
    tape.good(give)


@each_form
def test_the_end_of_its_session_ends_a_reserve(
    tape: Device, other: Device, take: Command, give: Command
) -> None:
    """SPC-2 5.5: released when the initiator is gone (I_T nexus loss)."""
    other.good(take)
    tape.conflict(c.test_unit_ready())
    other.session.logout()
    tape.wait(c.test_unit_ready(), lambda response: response.status == GOOD, 10.0)
    assert tape.run(give).status == GOOD


@each_form
def test_a_reset_ends_a_reserve(tape: Device, other: Device, take: Command, give: Command) -> None:
    """SPC-2 5.5: released by a logical unit reset."""
    other.good(take)
    logical_unit_reset(tape)
    tape.good(c.test_unit_ready())
    other.attentions()
    other.good(give)


@persistent
@requires("RESERVE(6)")
def test_reserve_conflicts_with_persistent_registrations(drive: Device, other: Device) -> None:
    """SPC-5 table 64: RESERVE while there is a persistent reservation: RESERVATION CONFLICT."""
    register(drive, OURS)
    reserve(drive, OURS, WRITE_EXCLUSIVE)
    other.conflict(c.reserve_6())
