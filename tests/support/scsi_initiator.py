"""The initiator's side of a device server in one process: CDBs out, sense and data back."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tapectl.scsi.logical_unit import LogicalUnit, Reply, Status


@dataclass(frozen=True)
class ReceivedSense:
    """Fixed-format sense, taken apart from its bytes."""

    key: int
    asc: int
    ascq: int
    information: int | None
    filemark: bool
    end_of_medium: bool
    incorrect_length: bool
    specific: bytes

    @classmethod
    def decode(cls, sense: bytes) -> ReceivedSense:
        assert len(sense) == 18
        assert sense[0] & 0x7F == 0x70
        assert sense[7] == 10
        information = struct.unpack_from(">i", sense, 3)[0] if sense[0] & 0x80 else None
        return cls(
            sense[2] & 0x0F,
            sense[12],
            sense[13],
            information,
            bool(sense[2] & 0x80),
            bool(sense[2] & 0x40),
            bool(sense[2] & 0x20),
            sense[15:18],
        )

    @property
    def code(self) -> tuple[int, int, int]:
        return self.key, self.asc, self.ascq


class Initiator:
    """Sends commands of one I_T nexus to one logical unit."""

    def __init__(self, unit: LogicalUnit, nexus: str = "iqn.2025-01.test:one,i,0x01") -> None:
        self.unit = unit
        self.nexus = nexus
        unit.nexus_established(nexus)

    def send(self, cdb: str | bytes, data_out: bytes = b"", lun: int = 0) -> Reply:
        """Run a command given in hex or bytes, padded to 16 bytes."""
        raw = bytes.fromhex(cdb) if isinstance(cdb, str) else cdb
        reply = self.unit.execute(self.nexus, raw.ljust(16, b"\0"), memoryview(data_out), lun)
        if reply.afterwards is not None:
            reply.afterwards()
        return reply

    def good(self, cdb: str | bytes, data_out: bytes = b"", lun: int = 0) -> bytes:
        """Run a command that must succeed; return a copy of its data."""
        reply = self.send(cdb, data_out, lun)
        assert reply.status is Status.GOOD, reply.sense.hex()
        return bytes(reply.data_in)

    def check(self, cdb: str | bytes, data_out: bytes = b"", lun: int = 0) -> ReceivedSense:
        """Run a command that must end with CHECK CONDITION; return its sense."""
        return self.check_data(cdb, data_out, lun)[0]

    def check_data(
        self, cdb: str | bytes, data_out: bytes = b"", lun: int = 0
    ) -> tuple[ReceivedSense, bytes]:
        reply = self.send(cdb, data_out, lun)
        assert reply.status is Status.CHECK_CONDITION
        return ReceivedSense.decode(reply.sense), bytes(reply.data_in)

    # Tape.

    def write(self, data: bytes) -> Reply:
        return self.send(b"\x0a\0" + len(data).to_bytes(3, "big"), data)

    def write_fixed(self, data: bytes, count: int) -> Reply:
        return self.send(b"\x0a\x01" + count.to_bytes(3, "big"), data)

    def write_filemarks(self, count: int, *, immediate: bool = False) -> Reply:
        return self.send(bytes((0x10, immediate)) + count.to_bytes(3, "big"))

    @staticmethod
    def read_cdb(length: int, *, fixed: bool = False, sili: bool = False) -> bytes:
        return bytes((0x08, fixed | sili << 1)) + length.to_bytes(3, "big")

    def read(self, length: int, *, sili: bool = False) -> bytes:
        return self.good(self.read_cdb(length, sili=sili))

    @staticmethod
    def space_cdb(code: int, count: int) -> bytes:
        return bytes((0x11, code)) + count.to_bytes(3, "big", signed=True)

    def position(self) -> int:
        return int(struct.unpack_from(">I", self.good("34"), 4)[0])

    def rewind(self) -> None:
        self.good("01")

    def set_block_length(self, block_bytes: int, *, buffered: bool = True) -> None:
        header = bytes((0, 0, buffered << 4, 8))
        self.good("1510 0000 0c", header + struct.pack(">II", 0, block_bytes))
