"""One READ(6) by SG_IO.

    read_block.py DEVICE FILE LENGTH FLAGS STATUS RESIDUAL INFORMATION OFFSET COUNT

The outcome must be that status, residual count and INFORMATION, and COUNT bytes of the file from
OFFSET on; what comes after them sg makes up. LENGTH counts blocks where FLAGS has FIXED set.
"""

import ctypes
import fcntl
import struct
import sys

SG_IO, FROM_DEVICE = 0x2285, -3
HEADER = struct.Struct("@iiBBHIPPPIIiPBBBBHHiII4x")


def main() -> int:
    device, reference, *numbers = sys.argv[1:]
    length, flags, status, residual, information, offset, count = map(int, numbers)
    with open(device, "rb+", buffering=0) as unit:
        room = length
        if flags & 1:
            sense = ctypes.create_string_buffer(64)
            mode = ctypes.create_string_buffer(12)
            run(unit, bytes((0x1A, 0, 0, 0, 12, 0)), mode, sense)
            room = length * int.from_bytes(mode.raw[9:12], "big")
        data = ctypes.create_string_buffer(room)
        sense = ctypes.create_string_buffer(64)
        cdb = bytes((0x08, flags)) + length.to_bytes(3, "big") + b"\0"
        found_status, found_residual = run(unit, cdb, data, sense)
    found_information = int.from_bytes(sense.raw[3:7], "big", signed=True) if found_status else 0
    with open(reference, "rb") as file:
        file.seek(offset)
        right = data.raw[:count] == file.read(count)
    found = (found_status, found_residual, found_information, right)
    print("status, residual, information, right bytes:", found, "sense", sense.raw[:14].hex())
    return 0 if found == (status, residual, information, True) else 1


def run(unit, cdb, data, sense):
    """Return status and residual count."""
    command = ctypes.create_string_buffer(cdb, len(cdb))
    header = bytearray(
        HEADER.pack(
            ord("S"), FROM_DEVICE, len(cdb), len(sense), 0, len(data),
            ctypes.addressof(data), ctypes.addressof(command), ctypes.addressof(sense),
            60_000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        )
    )  # fmt: skip
    fcntl.ioctl(unit, SG_IO, header)
    fields = HEADER.unpack(header)
    return fields[13], fields[19]


sys.exit(main())
