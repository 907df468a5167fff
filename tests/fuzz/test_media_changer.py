"""Any CDB with any data, from several nexuses, on a library that others change meanwhile."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tapectl.scsi.changer_personality import CHANGER_PERSONALITIES
from tapectl.scsi.library import ElementType, MoveRefusal
from tapectl.scsi.logical_unit import Status
from tapectl.scsi.mode_pages import ALL_PAGES, ALL_SUBPAGES, PageControl
from tapectl.scsi.sense import SenseKey
from tapectl.scsi.smc import MediaChanger
from tapectl.scsi.smc.commands import COMMANDS
from tests.fuzz.cases import TIMEOUT, fuzz
from tests.fuzz.commands import NEXUSES, Field, Step, Theme, Vocabulary, steps
from tests.fuzz.learning import asking, learn_spc
from tests.fuzz.replies import check_reply
from tests.support.memory_library import MemoryLibrary

pytestmark = TIMEOUT

DRIVES, SLOTS, MAILBOX = 2, 4, 2
_COUNTS = (0, 1, 2, 100, 0xFFFF)
_EVENTS = ("nexus lost", "reset", "appears", "vanishes", "move refused", "look")
_REFUSALS = tuple(MoveRefusal)


def new_changer(personality: str) -> tuple[MediaChanger, MemoryLibrary, list[int]]:
    """Return a changer, its library, and the addresses of all elements, in order."""
    identity = CHANGER_PERSONALITIES[personality]
    library = MemoryLibrary(identity.ranges(DRIVES, SLOTS, MAILBOX))
    addresses = [
        address
        for span in library.ranges()
        for address in range(span.first, span.first + span.count)
    ]
    holders = [a for a in addresses if library.at(a).element_type is ElementType.STORAGE]
    for number, address in enumerate(holders[:3]):
        library.put(address, f"TAP{number:03}L5")
    changer = MediaChanger(
        identity, library, serial="MC00000001", target_name="iqn.2000-01.test:mc"
    )
    return changer, library, addresses


def vocabulary(personality: str) -> Vocabulary:
    changer, _, addresses = new_changer(personality)
    codes, lists = learn_spc(asking(changer))
    address = [*addresses, 0, addresses[-1] + 1, 0xFFFF]
    transport = [addresses[0], 0, addresses[0] + 1]
    fields = {
        0x1B: [Field(2, 2, address)],
        0x2B: [Field(2, 2, transport), Field(4, 2, address)],
        0x37: [Field(2, 2, address), Field(6, 2, _COUNTS)],
        0xA5: [Field(2, 2, transport), Field(4, 2, address), Field(6, 2, address)],
        0xA6: [Field(2, 2, transport), *(Field(at, 2, address) for at in (4, 6, 8))],
        0xB5: [Field(2, 2, [0, *address]), Field(4, 2, _COUNTS)],
        0xB6: [Field(2, 2, [0, *address])],
        0xB8: [Field(2, 2, [0, *address]), Field(4, 2, _COUNTS)],
        0xE7: [Field(2, 2, address), Field(6, 2, _COUNTS)],
    }
    codes[0xB8] = [
        {1: voltag | kind, 6: flags}
        for voltag in (0, 0x10)
        for kind in range(6)
        for flags in range(4)
    ]
    codes[0xB5] = [{1: voltag | kind} for voltag in (0, 0x10) for kind in range(5)]
    codes[0xB6] = [{1: kind, 5: action} for kind in range(5) for action in (0, 1, 2, 4, 5, 6, 8)]
    tags = [tag.ljust(32) + bytes(8) for tag in (b"*", b"TAP*", b"TAP00?L5", b"TAP001L5", b"")]
    lists[0xB6] = tags
    return Vocabulary(COMMANDS.rows, fields, codes, lists)


VOCABULARIES = {name: vocabulary(name) for name in CHANGER_PERSONALITIES}
_ROBOTICS = (0x01, 0x07, 0x1B, 0x1E, 0x2B, 0x37, 0xA5, 0xA6, 0xB5, 0xB6, 0xB8)
THEMES = {
    name: tuple(
        Theme(vocabulary, _EVENTS, *opcodes)
        for opcodes in (
            (),
            _ROBOTICS,
            (0x00, 0x03, 0x15, 0x16, 0x17, 0x1E, 0x5E, 0x5F, 0xA5, 0xB8),
            (0x03, 0x15, 0x1A, 0x4C, 0x4D, 0x55, 0x5A),
        )
    )
    for name, vocabulary in VOCABULARIES.items()
}


def state(changer: MediaChanger, library: MemoryLibrary, addresses: list[int]) -> Any:
    server = changer.server
    pages = [
        server.mode_pages.sense(ALL_PAGES, ALL_SUBPAGES, PageControl.CURRENT, nexus)
        for nexus in NEXUSES
    ]
    elements = [library.at(address) for address in addresses]
    reserved = server.reservations.legacy_holder, server.reservations.persistent
    return elements, changer.import_export_open, pages, reserved, set(server.removal_preventers)


def happen(
    changer: MediaChanger, library: MemoryLibrary, addresses: list[int], event: str, step: Step
) -> None:
    address = addresses[step.noise[0] % len(addresses)]
    match event:
        case "nexus lost":
            changer.nexus_lost(step.nexus)
        case "reset":
            changer.logical_unit_reset()
        case "appears" if library.at(address).element_type is not ElementType.MEDIUM_TRANSPORT:
            library.put(address, f"NEW{step.noise[1]:03}L5")
        case "vanishes":
            library.take(address)
        case "move refused":
            library.refusal = _REFUSALS[step.noise[1] % len(_REFUSALS)]
        case "look":
            changer.look_at_inventory()


@fuzz()
@given(steps(), st.integers(0, 3), st.sampled_from(sorted(CHANGER_PERSONALITIES)))
def test_every_reply_is_legal_and_a_refusal_changes_nothing(
    sequence: list[Step], theme: int, personality: str
) -> None:
    changer, library, addresses = new_changer(personality)
    cartridges = sum(1 for address in addresses if library.at(address).volume_tag)
    for step in sequence:
        row = THEMES[personality][theme].choose(step.what)
        if isinstance(row, str):
            happen(changer, library, addresses, row, step)
            cartridges = sum(1 for address in addresses if library.at(address).volume_tag)
            continue
        words = VOCABULARIES[personality]
        cdb, data_out = words.assemble(row, step.style, step.noise, step.mutation)
        before = state(changer, library, addresses)
        lun = 1 if step.noise[17] == 0xFF else 0
        reply = changer.execute(step.nexus, cdb, memoryview(data_out), lun)
        key = check_reply(cdb, reply)
        if key == SenseKey.ILLEGAL_REQUEST or reply.status is Status.RESERVATION_CONFLICT:
            after = state(changer, library, addresses)
            assert after == before, f"{row.name} was refused and has changed something: {cdb.hex()}"
        left = sum(1 for address in addresses if library.at(address).volume_tag)
        assert left == cartridges, f"{row.name} lost or made a cartridge: {cdb.hex()}"


@fuzz(0.2)
@given(st.lists(st.tuples(st.binary(min_size=16, max_size=16), st.binary(max_size=64))))
def test_bytes_without_any_bias(commands: list[tuple[bytes, bytes]]) -> None:
    changer, _, _ = new_changer("STK-L700")
    for cdb, data_out in commands:
        check_reply(cdb, changer.execute("any", cdb, memoryview(data_out)))
