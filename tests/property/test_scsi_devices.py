"""What was written comes back, object by object."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tapectl.scsi.logical_unit import Status
from tapectl.scsi.personality import DRIVE_PERSONALITIES
from tapectl.scsi.ssc import TapeDrive
from tests.support.memory_cartridge import MemoryCartridge

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
