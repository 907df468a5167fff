"""Whatever an initiator sends: an answer, of at most the length it allowed."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tapectl.scsi.changer_personality import CHANGER_PERSONALITIES
from tapectl.scsi.logical_unit import LogicalUnit, Status
from tapectl.scsi.personality import DRIVE_PERSONALITIES
from tapectl.scsi.smc import MediaChanger
from tapectl.scsi.smc.commands import COMMANDS as CHANGER_COMMANDS
from tapectl.scsi.ssc import TapeDrive
from tapectl.scsi.ssc.commands import COMMANDS as DRIVE_COMMANDS
from tests.support.memory_cartridge import MemoryCartridge
from tests.support.memory_library import MemoryLibrary

# Where the allocation length of a command is: first byte and bytes.
ALLOCATION_LENGTH = {
    0x03: (4, 1),
    0x12: (3, 2),
    0x1A: (4, 1),
    0x44: (7, 2),
    0x4D: (7, 2),
    0x5A: (7, 2),
    0x5E: (7, 2),
    0x8C: (10, 4),
    0xA0: (6, 4),
    0xA3: (6, 4),
    0xAB: (6, 4),
    0xB8: (7, 3),
}


def cdbs(rows: object) -> st.SearchStrategy[bytes]:
    """CDBs of known commands with small or any values in their fields, and some of no command."""
    known = st.sampled_from([(row.operation_code, row.service_action) for row in rows])  # type: ignore[attr-defined]
    fields = st.one_of(
        st.binary(min_size=15, max_size=15),
        st.lists(st.sampled_from((0, 0, 0, 1, 2, 8, 0x3F, 0xFF)), min_size=15, max_size=15).map(
            bytes
        ),
    )

    def assemble(command: tuple[int, int | None], rest: bytes) -> bytes:
        opcode, action = command
        second = rest[0] if action is None else rest[0] & 0xE0 | action
        return bytes((opcode, second)) + rest[1:]

    return st.one_of(st.builds(assemble, known, fields), st.binary(min_size=16, max_size=16))


def check_answer(unit: LogicalUnit, nexus: str, cdb: bytes, data_out: bytes, lun: int) -> None:
    reply = unit.execute(nexus, cdb, memoryview(data_out), lun)
    assert reply.status in (Status.GOOD, Status.CHECK_CONDITION, Status.RESERVATION_CONFLICT)
    assert bool(reply.sense) == (reply.status is Status.CHECK_CONDITION)
    where = ALLOCATION_LENGTH.get(cdb[0])
    if where is not None:
        at, size = where
        assert len(reply.data_in) <= int.from_bytes(cdb[at : at + size], "big")


COMMAND = st.tuples(
    st.sampled_from(("one", "two,i,0x01")),
    cdbs(DRIVE_COMMANDS.rows),
    st.binary(max_size=64),
    st.sampled_from((0, 0, 0, 1)),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(COMMAND, min_size=1, max_size=12), st.booleans(), st.booleans())
def test_a_drive_answers_whatever_it_is_sent(commands, loaded, write_protected):
    drive = TapeDrive(DRIVE_PERSONALITIES["IBM-ULT3580-TD5"], serial="TD00000001", target_name="n")
    if loaded:
        tape = MemoryCartridge(capacity_bytes=4096, write_protected=write_protected)
        tape.objects = [b"x" * 100, None, b"y" * 512]
        drive.load(tape)
    for nexus, cdb, data_out, lun in commands:
        if cdb[0] == 0x10:  # as many filemarks as asked for are objects in memory
            cdb = cdb[:2] + b"\0" + cdb[3:]
        check_answer(drive, nexus, cdb, data_out, lun)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(("one", "two")),
            cdbs(CHANGER_COMMANDS.rows),
            st.binary(max_size=64),
            st.sampled_from((0, 0, 0, 1)),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_a_changer_answers_whatever_it_is_sent(commands):
    personality = CHANGER_PERSONALITIES["STK-L700"]
    library = MemoryLibrary(personality.ranges(2, 4, 2))
    library.put(1000, "TAP001L5")
    changer = MediaChanger(personality, library, serial="MC00000001")
    for nexus, cdb, data_out, lun in commands:
        check_answer(changer, nexus, cdb, data_out, lun)


BLOCKS = st.lists(st.one_of(st.none(), st.binary(min_size=1, max_size=40)), max_size=20)


@settings(max_examples=200, deadline=None)
@given(BLOCKS)
def test_what_is_written_is_read_back_object_by_object(objects):
    drive = TapeDrive(DRIVE_PERSONALITIES["IBM-ULT3580-TD5"], serial="TD00000001")
    drive.load(MemoryCartridge())

    def send(cdb: bytes, data: bytes = b""):
        return drive.execute("one", cdb.ljust(16, b"\0"), memoryview(data))

    for item in objects:
        if item is None:
            assert send(b"\x10\0\0\0\x01").status is Status.GOOD
        else:
            cdb = b"\x0a\0" + len(item).to_bytes(3, "big")
            assert send(cdb, item).status is Status.GOOD
    assert send(b"\x01").status is Status.GOOD
    for item in objects:
        reply = send(b"\x08\x02\0\0\x40")
        if item is None:
            assert reply.sense[2] & 0x80
        else:
            assert bytes(reply.data_in) == item
    assert send(b"\x08\x02\0\0\x40").sense[2] == 0x08
