"""What initiators are told of changes that others make (SMC-3 5.8; SAM-5 5.14)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.device import Device
from tests.conformance.library import (
    IMPORT_EXPORT,
    Library,
    move_medium,
    read_element_status,
)
from tests.conformance.requirements import requires
from tests.conformance.sense import IMPORT_OR_EXPORT_ELEMENT_ACCESSED, NOT_READY_TO_READY
from tests.conformance.target import Target
from tests.support.gateway import Gateway

pytestmark = requires("READ ELEMENT STATUS", "MOVE MEDIUM")
NEW = ("--size", "1GiB", "--allow-small", "--wait")


@pytest.fixture
def person(target: Target) -> Gateway:
    """Somebody who moves tapes by hand; there is nobody at a target that is not our own."""
    if target.gateway is None:
        pytest.skip("nobody is there to move a tape by hand")
    return target.gateway


@pytest.fixture
def new_tape(person: Gateway, library: Library) -> Iterator[str]:
    """A tape that a person has brought, and that is gone after the test."""
    barcode = person.json("tape", "create", "--count", "1", "--prefix", "CU", *NEW)[0]
    yield barcode["TapeBarcode"]
    person.run("tape", "delete", barcode["TapeBarcode"], "--yes", "--wait")
    library.changer.attentions()


def test_a_tape_that_a_person_brings_is_told_once(
    changer: Device, person: Gateway, new_tape: str
) -> None:
    """IMPORT OR EXPORT ELEMENT ACCESSED, and after it nothing more."""
    del person, new_tape
    assert changer.attentions() == [IMPORT_OR_EXPORT_ELEMENT_ACCESSED]
    assert changer.attentions() == []


def test_every_initiator_is_told(
    changer: Device, other_changer: Device, person: Gateway, library: Library
) -> None:
    """The condition is established for every I_T nexus."""
    (full,), (empty,) = library.full_slots(), library.empty_slots()
    person.cli("tape", "move", library.at(full).volume_tag, str(empty))
    assert changer.attentions() == [NOT_READY_TO_READY]
    assert other_changer.attentions() == [NOT_READY_TO_READY]
    assert changer.attentions() == other_changer.attentions() == []


def test_a_tape_that_a_person_moves_in_the_library_is_told(
    person: Gateway, library: Library
) -> None:
    """NOT READY TO READY CHANGE, MEDIUM MAY HAVE CHANGED: a move that no host has asked for."""
    (full,), (empty,) = library.full_slots(), library.empty_slots()
    person.cli("tape", "move", library.at(full).volume_tag, str(empty))
    assert library.changer.attentions() == [NOT_READY_TO_READY]


def test_a_tape_that_a_person_takes_out_of_the_mailbox_is_told(
    person: Gateway, library: Library, new_tape: str
) -> None:
    """IMPORT OR EXPORT ELEMENT ACCESSED."""
    library.changer.attentions()
    (slot,) = library.empty_slots()
    person.cli("tape", "move", new_tape, str(slot))
    assert library.changer.attentions() == [IMPORT_OR_EXPORT_ELEMENT_ACCESSED]


def test_a_tape_that_vanishes_is_told(person: Gateway, library: Library, new_tape: str) -> None:
    """A tape that is deleted leaves its slot."""
    library.changer.attentions()
    (slot,) = library.empty_slots()
    mail = next(row.address for row in library.elements(IMPORT_EXPORT) if row.full)
    library.changer.good(move_medium(mail, slot))
    person.cli("tape", "delete", new_tape, "--yes")
    assert library.changer.attentions() == [NOT_READY_TO_READY]
    assert library.changer.attentions() == []


def test_a_change_is_told_before_it_can_be_seen(
    changer: Device, person: Gateway, library: Library
) -> None:
    """SAM-5 5.14: it is reported with the first command that may report it."""
    (full,), (empty,) = library.full_slots(), library.empty_slots()
    person.cli("tape", "move", library.at(full).volume_tag, str(empty))
    changer.check(read_element_status(), NOT_READY_TO_READY)
    assert library.at(empty).full


def test_who_logs_in_later_is_not_told(target: Target, person: Gateway, library: Library) -> None:
    """A nexus that did not know the library before has nothing to be told of."""
    assert target.changer is not None
    (full,), (empty,) = library.full_slots(), library.empty_slots()
    person.cli("tape", "move", library.at(full).volume_tag, str(empty))
    late = target.connect(target.changer, initiator="iqn.2000-01.example.test:late")
    assert late.attentions() == []
    late.session.close()


def test_another_initiators_move_is_not_told(library: Library, other_changer: Device) -> None:
    """Moves that hosts ask for raise no unit attention, whoever asks."""
    (full,), (empty,) = library.full_slots(), library.empty_slots()
    other_changer.good(move_medium(full, empty))
    assert library.changer.attentions() == []
    assert other_changer.attentions() == []
