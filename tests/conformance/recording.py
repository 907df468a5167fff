"""Blocks that tell their number, tapes recorded with them, and what follows a position."""

from __future__ import annotations

from tests.conformance import commands as c
from tests.conformance.device import CHECK_CONDITION, GOOD, Device
from tests.conformance.sense import BLANK_CHECK, SenseData

FILEMARK = "filemark"
END = "end of data"
BLOCK_BYTES = 1024


def block(number: int, size_bytes: int = BLOCK_BYTES) -> bytes:
    """Return a block whose first four bytes are its number and whose rest differs from others."""
    head = number.to_bytes(4, "big")
    return head + bytes((number * 7 + i) & 0xFF for i in range(size_bytes - 4))


def record(tape: Device, *objects: int | str) -> None:
    """Record numbered blocks and filemarks from the beginning, and rewind."""
    tape.good(c.rewind())
    for item in objects:
        tape.good(c.write_filemarks() if item == FILEMARK else c.write(block(int(item))))
    tape.good(c.write_filemarks(0))
    tape.good(c.rewind())


def follows(tape: Device) -> int | str:
    """Read what is at the position: the number of a block, FILEMARK or END.

    By the sense key and the FILEMARK bit alone: the rest of the sense has tests of its own.
    """
    response = tape.run(c.read(BLOCK_BYTES, sili=True))
    if response.status == GOOD:
        return int.from_bytes(response.data[:4], "big")
    assert response.status == CHECK_CONDITION, f"status {response.status:02X}h"
    sense = SenseData.decode(response.sense)
    assert sense.filemark or sense.key == BLANK_CHECK, sense
    return FILEMARK if sense.filemark else END


def object_number(tape: Device) -> int:
    """READ POSITION, short form: the number of the object that follows."""
    return int.from_bytes(tape.good(c.read_position())[4:8], "big")


def set_block_length(tape: Device, block_bytes: int, *, buffered: bool = True) -> None:
    """MODE SELECT(6): header and block descriptor alone; 0 is for blocks of variable length."""
    descriptor = bytes(5) + block_bytes.to_bytes(3, "big")
    tape.good(c.mode_select_6(bytes((0, 0, buffered << 4, 8)) + descriptor))
