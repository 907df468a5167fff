"""Tape drive and media changer commands over a test session: SSC and SMC as a client sends them.

Unit attentions are retried as every client does, and BUSY is waited out; everything else a device
says reaches the test as a value or as `SenseError`.
"""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass

from tests.support.initiator import Response, Session

GOOD, CHECK_CONDITION, BUSY = 0x00, 0x02, 0x08
NO_SENSE, NOT_READY, MEDIUM_ERROR, ILLEGAL_REQUEST, UNIT_ATTENTION, DATA_PROTECT, BLANK_CHECK = (
    0,
    2,
    3,
    5,
    6,
    7,
    8,
)
UNIT_ATTENTIONS_MAX = 8
# Room for the descriptors of some 20,000 elements with their volume tags.
ELEMENT_STATUS_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Sense:
    """Fixed format sense data (SPC-5 4.4.3). `information` is None without VALID."""

    key: int
    asc: int
    ascq: int
    filemark: bool
    end_of_medium: bool
    incorrect_length: bool
    information: int | None

    @classmethod
    def decode(cls, sense: bytes) -> Sense:
        if len(sense) < 14 or sense[0] & 0x7F not in (0x70, 0x71):
            raise AssertionError(f"no fixed format sense data: {sense.hex()}")
        (information,) = struct.unpack_from(">i", sense, 3)
        return cls(
            key=sense[2] & 0x0F,
            asc=sense[12],
            ascq=sense[13],
            filemark=bool(sense[2] & 0x80),
            end_of_medium=bool(sense[2] & 0x40),
            incorrect_length=bool(sense[2] & 0x20),
            information=information if sense[0] & 0x80 else None,
        )


class SenseError(Exception):
    """A command ended with CHECK CONDITION, or with another status than GOOD."""

    def __init__(self, what: str, response: Response) -> None:
        self.response = response
        self.sense = Sense.decode(response.sense) if response.sense else None
        super().__init__(f"{what}: status {response.status:#04x}, {self.sense}")

    @property
    def key(self) -> int | None:
        return self.sense.key if self.sense else None


class FilemarkError(SenseError):
    """A filemark was met."""


class EndOfDataError(SenseError):
    """BLANK CHECK: there is nothing recorded here."""


class Device:
    """One logical unit. `session` may be replaced by a new one after a lost connection."""

    def __init__(self, session: Session, lun: int = 0, *, busy_timeout_s: float = 60.0) -> None:
        self.session = session
        self.lun = lun
        self.busy_timeout_s = busy_timeout_s

    def command(self, cdb: bytes, *, data_out: bytes = b"", data_in_bytes: int = 0) -> Response:
        """Run a command, again after a unit attention and while the device is BUSY."""
        attentions = 0
        deadline = time.monotonic() + self.busy_timeout_s
        while True:
            response = self.session.execute(
                cdb, data_out=data_out, data_in_bytes=data_in_bytes, lun=self.lun
            )
            if response.status == BUSY and time.monotonic() < deadline:
                time.sleep(0.05)
            elif _is_unit_attention(response) and attentions < UNIT_ATTENTIONS_MAX:
                attentions += 1
            else:
                return response

    def checked(
        self, what: str, cdb: bytes, *, data_out: bytes = b"", data_in_bytes: int = 0
    ) -> bytes:
        """Run a command and return its data; raise SenseError unless it ends with GOOD."""
        response = self.command(cdb, data_out=data_out, data_in_bytes=data_in_bytes)
        if response.status == GOOD:
            return response.data
        raise _error(what, response)

    def inquiry(self) -> bytes:
        return self.checked("INQUIRY", struct.pack(">BBBHB", 0x12, 0, 0, 96, 0), data_in_bytes=96)

    def serial_number(self) -> str:
        page = self.checked(
            "INQUIRY, page 80h", struct.pack(">BBBHB", 0x12, 1, 0x80, 252, 0), data_in_bytes=252
        )
        return page[4 : 4 + page[3]].decode("ascii").strip()

    def test_unit_ready(self) -> bool:
        return self.command(bytes(6)).status == GOOD

    def wait_ready(self, timeout_s: float = 30.0) -> None:
        """TEST UNIT READY until GOOD."""
        deadline = time.monotonic() + timeout_s
        while True:
            response = self.command(bytes(6))
            if response.status == GOOD:
                return
            if time.monotonic() > deadline:
                raise _error("TEST UNIT READY", response)
            time.sleep(0.05)


class TapeDrive(Device):
    """A sequential-access device (SSC)."""

    def write_block(self, block: bytes) -> None:
        """WRITE(6), one block of variable length."""
        cdb = b"\x0a\0" + len(block).to_bytes(3, "big") + b"\0"
        self.checked("WRITE", cdb, data_out=block)

    def read_block(self, size_bytes_max: int) -> bytes:
        """READ(6) with SILI: one block of up to that many bytes.

        Raises FilemarkError at a filemark, EndOfDataError at the end of data.
        """
        cdb = b"\x08\x02" + size_bytes_max.to_bytes(3, "big") + b"\0"
        return self.checked("READ", cdb, data_in_bytes=size_bytes_max)

    def write_filemarks(self, count: int = 1, *, immediate: bool = False) -> None:
        """WRITE FILEMARKS(6); a count of 0 synchronises."""
        cdb = bytes([0x10, 1 if immediate else 0]) + count.to_bytes(3, "big") + b"\0"
        self.checked("WRITE FILEMARKS", cdb)

    def rewind(self) -> None:
        self.checked("REWIND", b"\x01" + bytes(5))

    def space(self, code: int, count: int = 0) -> None:
        """SPACE(6): code 0 blocks, 1 filemarks, 3 end of data."""
        cdb = bytes([0x11, code]) + count.to_bytes(3, "big", signed=True) + b"\0"
        self.checked("SPACE", cdb)

    def space_end_of_data(self) -> None:
        self.space(3)

    def locate(self, position: int) -> None:
        """LOCATE(16) to a logical object number."""
        self.checked("LOCATE", struct.pack(">BBBBQ4x", 0x92, 0, 0, 0, position))

    def read_position(self) -> int:
        """READ POSITION, long form: the logical object number."""
        data = self.checked("READ POSITION", struct.pack(">BB8x", 0x34, 0x06), data_in_bytes=32)
        return int.from_bytes(data[8:16], "big")

    def unload(self) -> None:
        self.checked("UNLOAD", b"\x1b" + bytes(5))


@dataclass(frozen=True, slots=True)
class ElementAddresses:
    """Mode page 1Dh: first address and count of each element type."""

    transport: tuple[int, int]
    storage: tuple[int, int]
    import_export: tuple[int, int]
    data_transfer: tuple[int, int]


@dataclass(frozen=True, slots=True)
class ElementState:
    """One element descriptor of READ ELEMENT STATUS."""

    address: int
    full: bool
    volume_tag: str
    source_address: int | None


class MediaChanger(Device):
    """A media changer (SMC)."""

    def addresses(self) -> ElementAddresses:
        """MODE SENSE(6), page 1Dh without block descriptors."""
        data = self.checked("MODE SENSE, page 1Dh", b"\x1a\x08\x1d\x00\xff\x00", data_in_bytes=255)
        page = data[4 + data[3] :]
        pairs = struct.unpack_from(">8H", page, 2)
        return ElementAddresses(*zip(pairs[::2], pairs[1::2], strict=True))

    def elements(self, element_type: int = 0) -> list[ElementState]:
        """READ ELEMENT STATUS with volume tags, of one type or of all."""
        size_bytes = ELEMENT_STATUS_BYTES_MAX
        cdb = struct.pack(
            ">BBHHBBHBB",
            0xB8,
            0x10 | element_type,
            0,
            0xFFFF,
            0,
            size_bytes >> 16,
            size_bytes & 0xFFFF,
            0,
            0,
        )
        return _element_states(self.checked("READ ELEMENT STATUS", cdb, data_in_bytes=size_bytes))

    def move(self, source: int, destination: int) -> None:
        """MOVE MEDIUM by element addresses."""
        transport, _ = self.addresses().transport
        cdb = struct.pack(">BBHHHHBB", 0xA5, 0, transport, source, destination, 0, 0, 0)
        self.checked("MOVE MEDIUM", cdb)

    def address_of(self, volume_tag: str) -> int:
        """Return where a cartridge is; KeyError if it is not in the library."""
        for element in self.elements():
            if element.full and element.volume_tag == volume_tag:
                return element.address
        raise KeyError(volume_tag)

    def load(self, volume_tag: str, drive: int) -> None:
        """Move a cartridge to the drive of that index (0 is the first)."""
        first, _ = self.addresses().data_transfer
        self.move(self.address_of(volume_tag), first + drive)

    def unload(self, drive: int) -> None:
        """Move the cartridge of a drive to the first empty storage element."""
        first, _ = self.addresses().data_transfer
        empty = next(e.address for e in self.elements(2) if not e.full)
        self.move(first + drive, empty)

    def export(self, volume_tag: str) -> None:
        """Move a cartridge to the first empty import/export element."""
        empty = next(e.address for e in self.elements(3) if not e.full)
        self.move(self.address_of(volume_tag), empty)


def _is_unit_attention(response: Response) -> bool:
    return (
        response.status == CHECK_CONDITION
        and bool(response.sense)
        and Sense.decode(response.sense).key == UNIT_ATTENTION
    )


def _error(what: str, response: Response) -> SenseError:
    if response.status == CHECK_CONDITION and response.sense:
        sense = Sense.decode(response.sense)
        if sense.filemark:
            return FilemarkError(what, response)
        if sense.key == BLANK_CHECK:
            return EndOfDataError(what, response)
    return SenseError(what, response)


def _element_states(data: bytes) -> list[ElementState]:
    """Decode READ ELEMENT STATUS data (SMC-3 6.11): a header, then pages by type."""
    states: list[ElementState] = []
    end = min(len(data), 8 + int.from_bytes(data[5:8], "big"))
    page = 8
    while page < end:
        has_tag = bool(data[page + 1] & 0x80)
        descriptor_bytes = int.from_bytes(data[page + 2 : page + 4], "big")
        page_end = page + 8 + int.from_bytes(data[page + 5 : page + 8], "big")
        for at in range(page + 8, page_end, descriptor_bytes):
            descriptor = data[at : at + descriptor_bytes]
            tag = descriptor[12:44].split(b" ")[0].decode("ascii") if has_tag else ""
            source_valid = bool(descriptor[9] & 0x80)
            states.append(
                ElementState(
                    address=int.from_bytes(descriptor[0:2], "big"),
                    full=bool(descriptor[2] & 0x01),
                    volume_tag=tag,
                    source_address=int.from_bytes(descriptor[10:12], "big")
                    if source_valid
                    else None,
                )
            )
        page = page_end
    return states
