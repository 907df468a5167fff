"""Any command to any drive with any cartridge is answered, and changes only what it may."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tapectl.scsi.logical_unit import Status
from tapectl.scsi.media import LTO_MEDIA
from tapectl.scsi.personality import DRIVE_PERSONALITIES, Access
from tapectl.scsi.ssc import TapeDrive
from tapectl.scsi.ssc.commands import commands_of
from tests.support.memory_cartridge import MemoryCartridge

KNOWN = st.sampled_from(commands_of(max(LTO_MEDIA)).rows).map(
    lambda row: bytes((row.operation_code, row.service_action or 0))
)
CDBS = st.builds(
    lambda head, rest, masks: head + bytes(a & b for a, b in zip(rest, masks, strict=True)),
    KNOWN | st.binary(min_size=2, max_size=2),
    st.binary(min_size=14, max_size=14),
    # Mostly zeros, as real commands are.
    st.lists(st.sampled_from((0, 0, 0, 1, 0x0F, 0xFF)), min_size=14, max_size=14),
)
DATA = st.sampled_from((b"", b"x" * 64, bytes(64)))


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(DRIVE_PERSONALITIES)),
    st.sampled_from(sorted(LTO_MEDIA)),
    st.booleans(),
    st.lists(st.tuples(CDBS, DATA), max_size=25),
)
def test_no_command_writes_what_the_drive_cannot_write(name, generation, cleaning, commands):
    personality = DRIVE_PERSONALITIES[name]
    tape = MemoryCartridge(capacity_bytes=1 << 20, generation=generation, cleaning=cleaning)
    tape.objects.append(b"data")
    drive = TapeDrive(personality, serial="TD00000001", target_name="n")
    drive.load(tape)
    usable = not cleaning and personality.generation.access(generation) in (
        Access.READ_WRITE,
        Access.READ_ONLY,
    )
    assert drive.threaded == usable
    for cdb, data in commands:
        reply = drive.execute("one", cdb, memoryview(data))
        assert reply.status in Status
        assert bool(reply.sense) == (reply.status is Status.CHECK_CONDITION)
        assert usable or not drive.threaded
    if personality.generation.access(generation) is not Access.READ_WRITE or cleaning:
        assert tape.partition_objects == [[b"data"]]
        assert len(tape.sizes) == 1
    assert drive.unload() is tape
