"""Import/export elements, their mailbox, and PREVENT ALLOW MEDIUM REMOVAL (SMC-3 5.4, 6.8)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance import commands as c
from tests.conformance.device import Device
from tests.conformance.library import (
    ACCESS,
    CLOSE,
    EX_ENAB,
    IMP_EXP,
    IMPORT_EXPORT,
    IN_ENAB,
    OPEN,
    STORAGE,
    Library,
    exchange_medium,
    move_medium,
    open_close,
)
from tests.conformance.requirements import requires
from tests.conformance.sense import (
    IMPORT_OR_EXPORT_ELEMENT_ACCESSED,
    INVALID_ELEMENT_ADDRESS,
    INVALID_FIELD_IN_CDB,
    MEDIUM_REMOVAL_PREVENTED,
    Code,
)
from tests.conformance.target import Target
from tests.support.gateway import Gateway

MAGAZINE_NOT_ACCESSIBLE: Code = (0x5, 0x3B, 0x11)
mailbox_opens = requires("OPEN/CLOSE IMPORT/EXPORT ELEMENT")


@pytest.fixture
def mail(library: Library) -> Iterator[int]:
    """An import/export element, of a mailbox that is closed before and after the test."""
    addresses = library.addresses[IMPORT_EXPORT]
    if not addresses:
        pytest.skip("the library has no import/export elements")
    yield addresses[0]
    library.changer.run(c.prevent_allow(0))
    library.changer.run(open_close(addresses[0], CLOSE))


@mailbox_opens
def test_an_import_export_element_opens_and_closes(library: Library, mail: int) -> None:
    """ACTION CODE 00h opens, 01h closes."""
    library.changer.good(open_close(mail, OPEN))
    library.changer.good(open_close(mail, CLOSE))


@mailbox_opens
@pytest.mark.parametrize("action", [OPEN, CLOSE])
def test_what_is_so_already_stays_so(library: Library, mail: int, action: int) -> None:
    """Opening what is open and closing what is closed is no error."""
    library.changer.good(open_close(mail, action))
    library.changer.good(open_close(mail, action))


@mailbox_opens
def test_an_open_element_is_out_of_the_transports_reach(library: Library, mail: int) -> None:
    """ACCESS clear: access by the medium transport element is denied."""
    library.changer.good(open_close(mail, OPEN))
    assert not library.at(mail).flags & ACCESS
    library.changer.good(open_close(mail, CLOSE))
    assert library.at(mail).flags & ACCESS


@mailbox_opens
def test_an_open_element_still_imports_and_exports(library: Library, mail: int) -> None:
    """INENAB and EXENAB say what the element can do, whatever its door."""
    library.changer.good(open_close(mail, OPEN))
    assert library.at(mail).flags & (IN_ENAB | EX_ENAB) == IN_ENAB | EX_ENAB


@mailbox_opens
@requires("MOVE MEDIUM")
def test_nothing_is_moved_into_an_open_element(library: Library, mail: int) -> None:
    """ILLEGAL REQUEST, nothing has moved."""
    (full,) = library.full_slots()
    library.changer.good(open_close(mail, OPEN))
    library.changer.check(move_medium(full, mail), MAGAZINE_NOT_ACCESSIBLE)
    assert library.at(full).full


@mailbox_opens
@requires("MOVE MEDIUM")
def test_nothing_is_moved_out_of_an_open_element(library: Library, mail: int) -> None:
    """ILLEGAL REQUEST."""
    (empty,) = library.empty_slots()
    library.changer.good(open_close(mail, OPEN))
    library.changer.check(move_medium(mail, empty), MAGAZINE_NOT_ACCESSIBLE)


@mailbox_opens
@requires("EXCHANGE MEDIUM")
def test_nothing_is_exchanged_with_an_open_element(library: Library, mail: int) -> None:
    """Each of the three elements must be accessible."""
    first, second = library.full_slots(2)
    library.changer.good(open_close(mail, OPEN))
    library.changer.check(exchange_medium(first, second, mail), MAGAZINE_NOT_ACCESSIBLE)


@mailbox_opens
@requires("MOVE MEDIUM")
def test_the_rest_of_the_library_works_while_the_mailbox_is_open(
    library: Library, mail: int
) -> None:
    """Only the import/export elements are out of reach."""
    (full,), (empty,) = library.full_slots(), library.empty_slots()
    library.changer.good(open_close(mail, OPEN))
    library.changer.good(move_medium(full, empty))


@mailbox_opens
def test_an_element_of_another_type_does_not_open(library: Library) -> None:
    """INVALID ELEMENT ADDRESS."""
    command = open_close(library.addresses[STORAGE][0], OPEN)
    sense = library.changer.check(command, INVALID_ELEMENT_ADDRESS)
    assert sense.field_pointer is None or sense.field_pointer.byte == 2


@mailbox_opens
def test_a_reserved_action_is_refused(library: Library, mail: int) -> None:
    """ACTION CODE: 02h to 1Fh are reserved."""
    sense = library.changer.check(open_close(mail, 0x1F), INVALID_FIELD_IN_CDB)
    assert sense.field_pointer is None or sense.field_pointer.byte == 4


@mailbox_opens
@requires("PREVENT ALLOW MEDIUM REMOVAL")
def test_the_mailbox_stays_closed_while_removal_is_prevented(library: Library, mail: int) -> None:
    """PREVENT set: "medium removal shall be prohibited"; MEDIUM REMOVAL PREVENTED."""
    library.changer.good(c.prevent_allow(1))
    library.changer.check(open_close(mail, OPEN), MEDIUM_REMOVAL_PREVENTED)
    library.changer.good(c.prevent_allow(0))
    library.changer.good(open_close(mail, OPEN))


@mailbox_opens
@requires("PREVENT ALLOW MEDIUM REMOVAL")
def test_removal_is_prevented_while_any_initiator_prevents_it(
    library: Library, mail: int, other_changer: Device
) -> None:
    """SPC-5 6.14: until every I_T nexus that prevented it has allowed it, or was lost."""
    library.changer.good(c.prevent_allow(1))
    other_changer.good(c.prevent_allow(1))
    library.changer.good(c.prevent_allow(0))
    library.changer.check(open_close(mail, OPEN), MEDIUM_REMOVAL_PREVENTED)
    other_changer.session.close()
    library.changer.wait(open_close(mail, OPEN), lambda response: response.status == 0, 10)


@requires("PREVENT ALLOW MEDIUM REMOVAL")
def test_a_prevention_that_is_reserved_is_refused(changer: Device) -> None:
    """PREVENT 10b and 11b are obsolete."""
    changer.check(c.prevent_allow(3), INVALID_FIELD_IN_CDB)


@mailbox_opens
def test_who_did_not_close_the_mailbox_is_told_once(
    library: Library, mail: int, other_changer: Device
) -> None:
    """IMPORT OR EXPORT ELEMENT ACCESSED: an operator may have been there."""
    library.changer.good(open_close(mail, OPEN))
    library.changer.good(open_close(mail, CLOSE))
    assert library.changer.attentions() == []
    assert other_changer.attentions() == [IMPORT_OR_EXPORT_ELEMENT_ACCESSED]


@pytest.fixture(scope="module")
def patient(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A target that leaves exported volumes where they are: our own, with a long hold."""
    if not target.own:
        yield target
        return
    gateway = Gateway(tmp_path_factory.mktemp("patient"), hold_s="600")
    try:
        gateway.activate("--drives", "1", "--slots", "4", "--import-export", "2")
        gateway.serve()
        gateway.create_tapes("--count", "2", "--allow-small", size="1GiB")
        name = gateway.targets()["mediachanger"]
        yield Target(portal=gateway.portal, drive=(name, 0), changer=(name, 0), gateway=gateway)
    finally:
        gateway.close()


@pytest.fixture
def exported(patient: Target) -> Iterator[tuple[Library, int, int]]:
    """A library, the import/export element that a volume was moved to, and the slot it left."""
    if patient.changer is None:
        pytest.skip("no changer was named")
    changer = patient.connect(patient.changer)
    changer.attentions()
    library = Library(changer)
    (slot,) = library.full_slots()
    empty = [row.address for row in library.elements(IMPORT_EXPORT) if not row.full]
    if not empty:
        pytest.skip("no import/export element is empty")
    changer.good(move_medium(slot, empty[0]))
    yield library, empty[0], slot
    changer.attentions()
    if library.at(empty[0]).full:
        changer.good(move_medium(empty[0], slot))
    changer.session.close()


@requires("MOVE MEDIUM")
def test_what_the_transport_placed_was_not_placed_by_an_operator(
    exported: tuple[Library, int, int],
) -> None:
    """IMPEXP clear: the volume was placed there by the medium transport element."""
    library, mail, _ = exported
    assert library.at(mail).flags == IN_ENAB | EX_ENAB | ACCESS | 0x01


@requires("MOVE MEDIUM")
def test_an_exported_volume_tells_where_it_came_from(exported: tuple[Library, int, int]) -> None:
    """SOURCE STORAGE ELEMENT ADDRESS, SVALID set."""
    library, mail, slot = exported
    assert library.at(mail).source == slot


@requires("MOVE MEDIUM")
def test_an_exported_volume_can_be_taken_back(exported: tuple[Library, int, int]) -> None:
    """As long as nobody took it, it is in the library."""
    library, mail, slot = exported
    tag = library.at(mail).volume_tag
    library.changer.good(move_medium(mail, slot))
    assert library.at(slot).volume_tag == tag


@requires("MOVE MEDIUM")
def test_what_an_operator_brings_says_so(patient: Target) -> None:
    """IMPEXP set: the volume was placed there by an operator."""
    if patient.gateway is None:
        pytest.skip("nobody is there to bring a volume")
    assert patient.changer is not None
    changer = patient.connect(patient.changer)
    changer.attentions()
    patient.gateway.cli(
        "tape", "create", "--barcode", "BROUGHT1", "--size", "1GiB", "--allow-small", "--wait"
    )
    assert IMPORT_OR_EXPORT_ELEMENT_ACCESSED in changer.attentions()
    library = Library(changer)
    row = next(row for row in library.elements() if row.volume_tag == "BROUGHT1")
    assert (row.kind, row.flags & IMP_EXP) == (IMPORT_EXPORT, IMP_EXP)
    (slot,) = library.empty_slots()
    changer.good(move_medium(row.address, slot))
    assert library.at(slot).flags == ACCESS | 0x01
    changer.session.close()
