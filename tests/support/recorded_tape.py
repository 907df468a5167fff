"""What a tape must hold, object by object: every block says which tape and place it belongs to.

A block can be made again from its number alone, so a test keeps no copy of what it wrote.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterator

from tests.support.tape_client import EndOfDataError, FilemarkError, TapeDrive

STAMP = struct.Struct(">8s16sQI")  # magic, barcode, object number, CRC-32 of what follows
MAGIC = b"TAPETEST"
BASE_BYTES = 1 << 24


class RecordedTape:
    """The content meant for one tape: a filemark after each `blocks_per_file` blocks.

    Objects are numbered from 0, blocks and filemarks alike, as READ POSITION numbers them.
    """

    def __init__(self, barcode: str, *, block_bytes: int, blocks_per_file: int) -> None:
        self.barcode = barcode
        self.block_bytes = block_bytes
        self._objects_per_file = blocks_per_file + 1
        self._base = random.Random(barcode).randbytes(BASE_BYTES)

    def is_filemark(self, number: int) -> bool:
        return number % self._objects_per_file == self._objects_per_file - 1

    def block(self, number: int) -> bytes:
        """Make the block with that object number."""
        payload_bytes = self.block_bytes - STAMP.size
        start = number * 4093 % (BASE_BYTES - payload_bytes)
        payload = self._base[start : start + payload_bytes]
        stamp = STAMP.pack(MAGIC, self.barcode.encode(), number, zlib.crc32(payload))
        return stamp + payload

    def write(self, drive: TapeDrive, number: int) -> None:
        """Write one object; when this returns it was answered with GOOD."""
        if self.is_filemark(number):
            drive.write_filemarks(1)
        else:
            drive.write_block(self.block(number))

    def read_all(self, drive: TapeDrive, first: int = 0) -> int:
        """Read from object `first` to the end of data, check each, return the count from 0."""
        drive.locate(first)
        number = first
        for found in self._objects(drive):
            assert found == (None if self.is_filemark(number) else self.block(number)), (
                f"object {number} of {self.barcode} is {self.describe(found)}"
            )
            number += 1
        return number

    def _objects(self, drive: TapeDrive) -> Iterator[bytes | None]:
        """Yield blocks, and None for a filemark, until the end of data."""
        while True:
            try:
                block: bytes | None = drive.read_block(self.block_bytes)
            except FilemarkError:
                block = None
            except EndOfDataError:
                return
            yield block

    @staticmethod
    def describe(found: bytes | None) -> str:
        """Say what was found in place of an object, by its own stamp."""
        if found is None:
            return "a filemark"
        if len(found) < STAMP.size:
            return f"a block of {len(found)} bytes"
        magic, barcode, number, crc = STAMP.unpack_from(found)
        if magic != MAGIC:
            return "a block that was never written"
        whole = "whole" if zlib.crc32(found[STAMP.size :]) == crc else "damaged"
        return f"object {number} of {barcode.rstrip(bytes(1)).decode()}, {whole}"
