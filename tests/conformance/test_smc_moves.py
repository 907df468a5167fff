"""Moves, exchanges, positions and inventories on request (SMC-3 6.4 to 6.9)."""

from __future__ import annotations

import pytest

from tests.conformance import commands as c
from tests.conformance.device import Device
from tests.conformance.library import (
    ALL,
    DATA_TRANSFER,
    STORAGE,
    TRANSPORT,
    Library,
    exchange_medium,
    initialize_element_status,
    initialize_range,
    move_medium,
    position_to_element,
    read_element_status,
)
from tests.conformance.requirements import requires
from tests.conformance.sense import (
    DESTINATION_ELEMENT_FULL,
    INVALID_ELEMENT_ADDRESS,
    INVALID_FIELD_IN_CDB,
    MEDIUM_REMOVAL_PREVENTED,
    SOURCE_ELEMENT_EMPTY,
    FieldPointer,
    SenseData,
)
from tests.conformance.target import Target

moves = requires("MOVE MEDIUM")
exchanges = requires("EXCHANGE MEDIUM")
positions = requires("POSITION TO ELEMENT")


def points_at(sense: SenseData, byte: int) -> bool:
    """Whether the sense names this byte of the CDB, or none at all."""
    pointer = sense.field_pointer
    return pointer is None or pointer == FieldPointer(True, byte, pointer.bit)


@moves
def test_a_volume_is_moved_from_its_source_to_its_destination(library: Library) -> None:
    """SMC-3 6.5: a unit of media is moved from the source to the destination element."""
    (full,), (empty,) = library.full_slots(), library.empty_slots()
    tag = library.at(full).volume_tag
    library.changer.good(move_medium(full, empty))
    assert (library.at(full).full, library.at(empty).volume_tag) == (False, tag)


@moves
def test_the_default_transport_moves_what_the_first_one_does(library: Library) -> None:
    """TRANSPORT ELEMENT ADDRESS zero: the default transport; else the one that is named."""
    (full,), (empty,) = library.full_slots(), library.empty_slots()
    library.changer.good(move_medium(full, empty, transport=0))
    library.changer.good(move_medium(empty, full, transport=library.addresses[TRANSPORT][0]))


@moves
def test_a_transport_that_is_none_is_refused(library: Library) -> None:
    """An element address of another type: ILLEGAL REQUEST, INVALID ELEMENT ADDRESS."""
    (full,), (empty,) = library.full_slots(), library.empty_slots()
    command = move_medium(full, empty, transport=library.addresses[STORAGE][0])
    assert points_at(library.changer.check(command, INVALID_ELEMENT_ADDRESS), 2)


@moves
def test_a_source_that_is_no_element_is_refused(library: Library) -> None:
    """Invalid element address."""
    (empty,) = library.empty_slots()
    command = move_medium(library.addresses.none, empty)
    assert points_at(library.changer.check(command, INVALID_ELEMENT_ADDRESS), 4)


@moves
def test_a_destination_that_is_no_element_is_refused(library: Library) -> None:
    """Invalid element address; nothing has moved."""
    (full,) = library.full_slots()
    command = move_medium(full, library.addresses.none)
    assert points_at(library.changer.check(command, INVALID_ELEMENT_ADDRESS), 6)
    assert library.at(full).full


@moves
def test_the_transport_holds_no_volume(library: Library) -> None:
    """Mode page 1Fh, STORMT clear: a volume cannot be moved to the transport."""
    (full,) = library.full_slots()
    command = move_medium(full, library.addresses[TRANSPORT][0])
    library.changer.check(command, INVALID_ELEMENT_ADDRESS)


@moves
def test_an_empty_source_is_refused(library: Library) -> None:
    """ "If the source element is empty": MEDIUM SOURCE ELEMENT EMPTY."""
    source, destination = library.empty_slots(2)
    library.changer.check(move_medium(source, destination), SOURCE_ELEMENT_EMPTY)


@moves
def test_a_full_destination_is_refused(library: Library) -> None:
    """ "If the destination element is full": MEDIUM DESTINATION ELEMENT FULL."""
    source, destination = library.full_slots(2)
    before = library.tags()
    library.changer.check(move_medium(source, destination), DESTINATION_ELEMENT_FULL)
    assert library.tags() == before


@moves
def test_a_drive_that_is_full_is_refused(library: Library, drive_element: int) -> None:
    """A data transfer element is full while a volume is in it."""
    first, second = library.full_slots(2)
    library.changer.good(move_medium(first, drive_element))
    library.changer.check(move_medium(second, drive_element), DESTINATION_ELEMENT_FULL)


@moves
def test_a_drive_that_is_empty_gives_nothing(library: Library, drive_element: int) -> None:
    """A data transfer element without a volume is an empty source."""
    (empty,) = library.empty_slots()
    library.changer.check(move_medium(drive_element, empty), SOURCE_ELEMENT_EMPTY)


@moves
def test_a_move_onto_itself_is_good(library: Library) -> None:
    """Source and destination may be the same; the volume is there."""
    (full,) = library.full_slots()
    before = library.tags()
    library.changer.good(move_medium(full, full))
    assert library.tags() == before


@moves
def test_a_transport_that_cannot_turn_refuses_invert(library: Library) -> None:
    """INVERT set, ROTATE of mode page 1Eh clear: INVALID FIELD IN CDB."""
    (full,), (empty,) = library.full_slots(), library.empty_slots()
    command = move_medium(full, empty).but(10, 0x01)
    assert points_at(library.changer.check(command, INVALID_FIELD_IN_CDB), 10)


@moves
def test_a_drive_has_its_volume_after_a_load(
    library: Library, drive_element: int, target: Target
) -> None:
    """The drive becomes ready, and says so with a unit attention (SSC-5 4.2.2)."""
    (full,) = library.full_slots()
    drive = target.connect(target.drive)
    drive.attentions()
    library.changer.good(move_medium(full, drive_element))
    assert (0x6, 0x28, 0x00) in drive.attentions()
    drive.wait(c.test_unit_ready(), lambda response: response.status == 0, 60)
    drive.session.close()


@moves
@requires("PREVENT ALLOW MEDIUM REMOVAL")
def test_a_volume_that_its_drive_keeps_is_not_moved(
    library: Library, drive_element: int, target: Target
) -> None:
    """PREVENT set in the data transfer device: MEDIUM REMOVAL PREVENTED, nothing has moved."""
    (full,), (empty,) = library.full_slots(), library.empty_slots()
    library.changer.good(move_medium(full, drive_element))
    drive = target.connect(target.drive)
    drive.attentions()
    drive.good(c.prevent_allow(1))
    library.changer.check(move_medium(drive_element, empty), MEDIUM_REMOVAL_PREVENTED)
    assert library.at(drive_element).full
    drive.good(c.prevent_allow(0))
    drive.good(c.load_unload(0))
    drive.session.close()
    library.changer.good(move_medium(drive_element, full))


@moves
@requires("PREVENT ALLOW MEDIUM REMOVAL")
def test_prevention_at_the_changer_does_not_keep_the_transport_from_moving(
    library: Library,
) -> None:
    """SMC-3 5.4: it keeps volumes from leaving the library, not from moving in it."""
    (full,), (empty,) = library.full_slots(), library.empty_slots()
    library.changer.good(c.prevent_allow(1))
    library.changer.good(move_medium(full, empty))
    library.changer.good(c.prevent_allow(0))


@moves
def test_a_move_is_no_news_to_who_made_it(library: Library) -> None:
    """A unit attention is for what the application client has not done itself."""
    (full,), (empty,) = library.full_slots(), library.empty_slots()
    library.changer.good(move_medium(full, empty))
    assert library.changer.attentions() == []


@moves
@requires("RESERVE(6)", "RELEASE(6)")
def test_a_move_conflicts_with_a_reservation(library: Library, other_changer: Device) -> None:
    """SPC-2 5.5.1: RESERVATION CONFLICT; nothing has moved."""
    (full,), (empty,) = library.full_slots(), library.empty_slots()
    other_changer.good(c.reserve_6())
    library.changer.conflict(move_medium(full, empty))
    other_changer.good(c.release_6())
    assert library.at(full).full


@exchanges
def test_two_volumes_are_exchanged(library: Library) -> None:
    """SMC-3 6.4: source to first destination, and what was there to the second, the source."""
    first, second = library.full_slots(2)
    tags = library.at(first).volume_tag, library.at(second).volume_tag
    library.changer.good(exchange_medium(first, second, first))
    assert (library.at(second).volume_tag, library.at(first).volume_tag) == tags
    library.changer.good(exchange_medium(first, second, first))


@exchanges
def test_an_exchange_may_have_a_second_destination_of_its_own(library: Library) -> None:
    """The second destination is where the first one's volume goes; the source is empty then."""
    (first, second), (third,) = library.full_slots(2), library.empty_slots()
    tags = library.at(first).volume_tag, library.at(second).volume_tag
    library.changer.good(exchange_medium(first, second, third))
    assert (library.at(second).volume_tag, library.at(third).volume_tag) == tags
    assert not library.at(first).full
    library.changer.good(move_medium(second, first))
    library.changer.good(move_medium(third, second))


@exchanges
def test_a_loaded_volume_is_exchanged_for_another(library: Library, drive_element: int) -> None:
    """A data transfer element may be the first destination."""
    first, second = library.full_slots(2)
    tag = library.at(second).volume_tag
    library.changer.good(move_medium(first, drive_element))
    library.changer.good(exchange_medium(second, drive_element, first))
    assert library.at(drive_element).volume_tag == tag
    assert library.at(first).full


@exchanges
def test_an_exchange_from_an_empty_source_is_refused(library: Library) -> None:
    """MEDIUM SOURCE ELEMENT EMPTY."""
    (full,), (empty, other) = library.full_slots(), library.empty_slots(2)
    library.changer.check(exchange_medium(empty, full, other), SOURCE_ELEMENT_EMPTY)


@exchanges
def test_an_exchange_into_an_empty_first_destination_is_refused(library: Library) -> None:
    """It is the source of the second move: MEDIUM SOURCE ELEMENT EMPTY."""
    (full,), (empty, other) = library.full_slots(), library.empty_slots(2)
    library.changer.check(exchange_medium(full, empty, other), SOURCE_ELEMENT_EMPTY)


@exchanges
def test_an_exchange_into_a_full_second_destination_is_refused(library: Library) -> None:
    """MEDIUM DESTINATION ELEMENT FULL; nothing has moved."""
    first, second, third = library.full_slots(3)
    before = library.tags()
    library.changer.check(exchange_medium(first, second, third), DESTINATION_ELEMENT_FULL)
    assert library.tags() == before


@exchanges
@pytest.mark.parametrize("byte", [4, 6, 8])
def test_an_exchange_with_an_address_of_no_element_is_refused(library: Library, byte: int) -> None:
    """Each of the three element addresses must be one."""
    first, second = library.full_slots(2)
    addresses = [first, second, first]
    addresses[(byte - 4) // 2] = library.addresses.none
    sense = library.changer.check(exchange_medium(*addresses), INVALID_ELEMENT_ADDRESS)
    assert points_at(sense, byte)


@exchanges
@pytest.mark.parametrize("bit", [0x01, 0x02])
def test_a_transport_that_cannot_turn_refuses_inv1_and_inv2(library: Library, bit: int) -> None:
    """INV1 and INV2 need a transport that rotates."""
    first, second = library.full_slots(2)
    command = exchange_medium(first, second, first).but(10, bit)
    assert points_at(library.changer.check(command, INVALID_FIELD_IN_CDB), 10)


@positions
@pytest.mark.parametrize("kind", [STORAGE, DATA_TRANSFER])
def test_the_transport_is_positioned_at_an_element(library: Library, kind: int) -> None:
    """SMC-3 6.9: the transport is positioned in front of the destination element."""
    library.changer.good(position_to_element(library.addresses[kind][0]))


@positions
def test_a_position_at_no_element_is_refused(library: Library) -> None:
    """Invalid element address."""
    command = position_to_element(library.addresses.none)
    assert points_at(library.changer.check(command, INVALID_ELEMENT_ADDRESS), 4)


@positions
def test_a_position_of_a_transport_that_is_none_is_refused(library: Library) -> None:
    """The transport element address is zero or that of a medium transport."""
    slot = library.addresses[STORAGE][0]
    command = position_to_element(slot, transport=slot)
    assert points_at(library.changer.check(command, INVALID_ELEMENT_ADDRESS), 2)


@positions
def test_positioning_moves_no_volume(library: Library) -> None:
    """Nothing is picked or placed."""
    before = library.tags()
    library.changer.good(position_to_element(library.addresses[STORAGE][0]))
    assert library.tags() == before


@requires("INITIALIZE ELEMENT STATUS")
def test_the_inventory_is_the_same_after_it_was_taken(library: Library) -> None:
    """SMC-3 6.6: all elements are checked for volumes."""
    before = library.tags()
    library.changer.good(initialize_element_status())
    assert library.tags() == before


@requires("INITIALIZE ELEMENT STATUS WITH RANGE")
def test_a_range_of_elements_is_checked(library: Library) -> None:
    """RANGE set: from the starting address on, that many elements."""
    library.changer.good(initialize_range(library.addresses[STORAGE][0], 2))


@requires("INITIALIZE ELEMENT STATUS WITH RANGE")
def test_a_number_of_zero_elements_is_all_from_there_on(library: Library) -> None:
    """NUMBER OF ELEMENTS zero: all elements at or above the starting address."""
    library.changer.good(initialize_range(library.addresses[STORAGE][0], 0))


@requires("INITIALIZE ELEMENT STATUS WITH RANGE")
def test_without_range_the_address_is_ignored(library: Library) -> None:
    """RANGE clear: all elements; address and number are ignored."""
    library.changer.good(initialize_range(library.addresses.none, 1, whole=True))


@requires("INITIALIZE ELEMENT STATUS WITH RANGE")
def test_a_fast_look_is_enough(library: Library) -> None:
    """FAST set: only elements whose state is not known are looked at."""
    library.changer.good(initialize_range(library.addresses[STORAGE][0], 2, fast=True))


@requires("INITIALIZE ELEMENT STATUS WITH RANGE")
def test_a_range_that_begins_at_no_element_is_refused(library: Library) -> None:
    """Invalid element address."""
    command = initialize_range(library.addresses.none, 1)
    assert points_at(library.changer.check(command, INVALID_ELEMENT_ADDRESS), 2)


@moves
@requires("READ ELEMENT STATUS")
def test_every_volume_is_somewhere_after_a_refused_move(library: Library) -> None:
    """A command that fails has moved nothing."""
    before = library.changer.good(read_element_status(ALL))
    full, other = library.full_slots(2)
    library.changer.check(move_medium(full, other), DESTINATION_ELEMENT_FULL)
    assert library.changer.good(read_element_status(ALL)) == before
