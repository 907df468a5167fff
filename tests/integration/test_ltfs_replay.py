"""LTFS' backend for sg at a served gateway: open, mkltfs, mount, unmount, in its order.

What is asserted is what LTFS gives up for, or goes wrong on, when it is otherwise.
`unit/scsi/test_ltfs_commands.py` has the details of partitions and attributes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from tests.support.gateway import Gateway
from tests.support.initiator import Response, Session, SessionOptions
from tests.support.tape_client import CHECK_CONDITION, GOOD, Sense

DRIVES = ("IBM-ULT3580-TD5", "IBM-ULT3580-TD8", "HPE-Ultrium-8")
RESERVATION_CONFLICT, MEDIUM_NOT_PRESENT = 0x18, 0x3A
BLOCK_BYTES, MAX_BLOCK_BYTES = 512 << 10, 1 << 20
LOG_PAGE_BYTES = 1024
KEY, OTHER_KEY = b"\x10LTFS-01", b"\x10LTFS-02"
EXCLUSIVE_ACCESS = 3
INDEX_PARTITION, DATA_PARTITION = 0, 1
LAST_BLOCK = (1 << 64) - 1
VOLUME_CHANGE_REFERENCE, COHERENCY, COHERENCY_BYTES = 0x0009, 0x080C, 70
# First revision that it takes, by product; LBP method and medium type and density by generation.
FIRMWARE = {"ULT3580-TD5": b"B170", "ULT3580-TD8": b"HB81"}
MEDIA = {5: (0x58, 0x58), 8: (0x88, 0x5E)}
NEEDED = bytes.fromhex(
    "00 01 03 04 05 08 0a 0b 10 12 19 1b 1d 1e 34 3c 4d 55 5a 5e 5f 82 8c 8d 91 92"
)


class Backend:
    """The commands of LTFS. `good` reports a status or sense that LTFS does not go on after."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def send(self, cdb: bytes, data_out: bytes = b"", room: int = 0) -> Response:
        return self._session.execute(cdb, data_out=data_out, data_in_bytes=room)

    def good(self, cdb: bytes, data_out: bytes = b"", room: int = 0) -> bytes:
        response = self.send(cdb, data_out, room)
        assert response.status == GOOD, (cdb.hex(), response.status, response.sense.hex())
        assert response.residual == room - len(response.data)
        return response.data

    def sense(self, cdb: bytes, data_out: bytes = b"", room: int = 0) -> Sense:
        response = self.send(cdb, data_out, room)
        assert response.status == CHECK_CONDITION, (cdb.hex(), response.status)
        return Sense.decode(response.sense)

    def clear_attentions(self) -> None:
        """TEST UNIT READY three times at most; a tape that was unloaded is no obstacle."""
        for _ in range(3):
            response = self.send(bytes(6))
            if response.status == GOOD or Sense.decode(response.sense).asc == MEDIUM_NOT_PRESENT:
                return
        pytest.fail("still not ready")

    def mode_page(self, page: int, subpage: int, room: int) -> bytearray:
        data = self.good(struct.pack(">BBBB3xHx", 0x5A, 0, page, subpage, room), room=room)
        return bytearray(data.ljust(room, b"\0"))

    def select(self, parameters: bytearray) -> None:
        parameters[:2] = b"\0\0"
        cdb = struct.pack(">BB5xHx", 0x55, 0x10, len(parameters))
        self.good(cdb, bytes(parameters))

    def log_page(self, page: int, subpage: int = 0) -> dict[int, bytes]:
        """LTFS asks for 64 KiB and looks at the first KiB."""
        data = self.good(
            struct.pack(">BBBB3xHx", 0x4D, 0, 0x40 | page, subpage, 0xFFFF), room=0xFFFF
        )
        assert int.from_bytes(data[2:4], "big") == len(data) - 4
        assert len(data) <= LOG_PAGE_BYTES
        found, at = {}, 4
        while at < len(data):
            code, length = struct.unpack_from(">HxB", data, at)
            found[code] = data[at + 4 : at + 4 + length]
            at += 4 + length
        return found

    def read_position(self) -> tuple[int, int, int]:
        data = self.good(struct.pack(">BB8x", 0x34, 0x06), room=32)
        return struct.unpack_from(">IQQ", data, 4)

    def locate(self, partition: int, block: int, *, change: bool = True) -> None:
        cdb = struct.pack(">BBBBQ4x", 0x92, 0x02 if change else 0, 0, partition, block)
        if block == LAST_BLOCK:
            sense = self.sense(cdb)
            assert (sense.key, sense.asc, sense.ascq) == (8, 0, 5)
        else:
            self.good(cdb)
        assert self.read_position()[0] == partition

    def write(self, data: bytes) -> None:
        self.good(b"\x0a\0" + len(data).to_bytes(3, "big") + b"\0", data)

    def read(self, room: int, *, sili: bool = False) -> bytes:
        """A block of unknown length; without SILI, INFORMATION must be what did not come."""
        response = self.send(bytes((0x08, sili << 1)) + room.to_bytes(3, "big") + b"\0", room=room)
        if response.status == CHECK_CONDITION:
            sense = Sense.decode(response.sense)
            assert sense.incorrect_length
            assert sense.information == response.residual
        else:
            assert sili or not response.residual
        assert len(response.data) == room - response.residual
        return response.data

    def filemarks(self, count: int, *, immediate: bool = False) -> None:
        self.good(bytes((0x10, immediate)) + count.to_bytes(3, "big") + b"\0")

    def reserve_out(self, action: int, kind: int, key: bytes, new_key: bytes) -> int:
        cdb = struct.pack(">BBB5xBx", 0x5F, action, kind, 24)
        return self.send(cdb, key.ljust(8, b"\0") + new_key.ljust(8, b"\0") + bytes(8)).status

    def holder(self) -> bytes | None:
        """The key of the reservation's holder, in READ FULL STATUS."""
        data = self.good(struct.pack(">BB4x3sx", 0x5E, 0x03, (4096).to_bytes(3, "big")), room=4096)
        at, end = 8, 8 + int.from_bytes(data[4:8], "big")
        while at < end:
            if data[at + 12] & 0x01:
                return data[at : at + 8]
            at += 24 + int.from_bytes(data[at + 20 : at + 24], "big")
        return None

    def attribute(self, partition: int, identifier: int, size: int) -> bytes:
        length = size + 5 + 4
        cdb = struct.pack(">BB5xBHI2x", 0x8C, 0, partition, identifier, length)
        data = self.good(cdb, room=length)
        assert struct.unpack_from(">HxH", data, 4) == (identifier, size)
        return data[9:]

    def set_attribute(self, partition: int, identifier: int, kind: int, value: bytes) -> None:
        row = struct.pack(">HBH", identifier, kind, len(value)) + value
        data = struct.pack(">I", len(row) + 4) + row  # it counts these four bytes, too
        self.good(struct.pack(">BB5xB2xI2x", 0x8D, 0x01, partition, len(data)), data)


def open_device(host: Backend, key: bytes) -> str:
    """Identify the drive, learn its timeouts, register a key; return the product."""
    inquiry = host.good(bytes.fromhex("12000000ff00"), room=255)
    product = inquiry[16:32].decode().rstrip()
    assert inquiry[32:36] >= FIRMWARE.get(product, b"")
    serial = host.good(bytes.fromhex("12018000ff00"), room=255)
    assert serial[3] == len(serial) - 4 == 10
    host.clear_attentions()
    supported = host.good(bytes.fromhex("a30c80000000000010000000"), room=4096)
    length = int.from_bytes(supported[:4], "big")
    assert length == len(supported) - 4 < 4096
    timeouts = {}
    for at in range(4, len(supported), 20):
        assert supported[at + 5] & 0x02, "no timeouts descriptor"
        timeouts[supported[at]] = int.from_bytes(supported[at + 16 : at + 20], "big")
    assert all(timeouts.get(code) for code in NEEDED)
    assert host.reserve_out(6, 0, b"", key) == GOOD
    return product


def load(host: Backend, generation: int, *, hp: bool) -> None:
    host.clear_attentions()
    assert host.reserve_out(1, EXCLUSIVE_ACCESS, KEY, b"") == GOOD
    host.good(bytes.fromhex("1e0000000100"))
    host.good(bytes.fromhex("1b0000000100"))
    assert host.read_position() == (0, 0, 0)
    pages = host.mode_page(0x3F, 0, 0xFF)
    cartridge_type, density = MEDIA[generation]
    assert pages[8] == density
    assert pages[2] == (0 if hp else cartridge_type)
    assert not host.mode_page(0x10, 0, 32)[3] & 0x80
    limits = host.good(bytes.fromhex("050000000000"), room=6)
    assert int.from_bytes(limits[1:4], "big") >= MAX_BLOCK_BYTES
    if not hp:
        protect(host, 0)


def protect(host: Backend, method: int) -> None:
    parameters = host.mode_page(0x0A, 0xF0, 48)
    parameters[20:23] = bytes((method, 4, 0xC0)) if method else bytes(3)
    host.select(parameters)


def capacities(host: Backend, generation: int) -> list[int]:
    """What remains of both partitions, as df of LTFS tells it."""
    if generation == 5:
        page = host.log_page(0x31)
        assert all(len(page[code]) == 4 for code in (1, 2, 3, 4))
        return [int.from_bytes(page[code], "big") for code in (1, 2)]
    records = host.log_page(0x17)[0x0204]
    return [int.from_bytes(records[at + 4 : at + 8], "big") for at in (0, 8)]


def make_file_system(host: Backend, generation: int) -> None:
    host.good(bytes.fromhex("0b0000ffff00"))
    header = host.mode_page(0x11, 0, 28)
    page = host.mode_page(0x11, 0, int.from_bytes(header[:2], "big") + 2)
    page[19], page[20], page[22] = 1, 0x20 | page[20] & 0x1F, 0
    page[24:28] = b"\0\1\xff\xff"
    host.select(page)
    host.good(bytes.fromhex("040001000000"))
    compression = host.mode_page(0x0F, 0, 32)
    compression[18] |= 0x80
    host.select(compression)
    for partition in (DATA_PARTITION, INDEX_PARTITION):
        host.locate(partition, 0)
        host.write(b"VOL1TAP001L             LTFS".ljust(80))
        host.filemarks(1)
        host.write(b"<ltfslabel/>")
        host.filemarks(1)
        assert host.read_position() == (partition, 4, 2)
    write_index(host, 1)
    for identifier, kind, size in (
        (0x0800, 1, 8),
        (0x0801, 1, 32),
        (0x0803, 2, 160),
        (0x1623, 0, 1),
    ):
        host.set_attribute(0, identifier, kind, b"\0" if size == 1 else b"L" * size)
    used = host.log_page(0x17)[0x0203]
    assert len(used) == 16, "the end of data would be unknown"
    assert [used[at] for at in (0, 8)] == [7, 7]
    index, data = capacities(host, generation)
    assert 0 < index < data


def write_index(host: Backend, generation: int) -> None:
    """An index at the end of both partitions, and the coherency of each noted beside it."""
    for partition in (DATA_PARTITION, INDEX_PARTITION):
        host.locate(partition, LAST_BLOCK)
        host.filemarks(1, immediate=True)
        host.write(f"<ltfsindex>{generation}</ltfsindex>".encode())
        host.filemarks(1, immediate=partition == DATA_PARTITION)
    host.filemarks(0)
    reference = host.attribute(0, VOLUME_CHANGE_REFERENCE, 4)
    for partition in (INDEX_PARTITION, DATA_PARTITION):
        value = b"\x08" + bytes(4) + reference + generation.to_bytes(8, "big")
        host.set_attribute(partition, COHERENCY, 0, value.ljust(COHERENCY_BYTES, b"\0"))


def mount(host: Backend, generation: int) -> None:
    """Labels of both partitions; the index that coherency and volume change reference vouch for."""
    for partition in (INDEX_PARTITION, DATA_PARTITION):
        host.locate(partition, 0)
        assert host.read(MAX_BLOCK_BYTES, sili=True)[:4] == b"VOL1"
        assert host.sense(bytes.fromhex("080010000000"), room=MAX_BLOCK_BYTES).filemark
        assert host.read(4096) == b"<ltfslabel/>"
    reference = host.attribute(0, VOLUME_CHANGE_REFERENCE, 4)
    for partition in (INDEX_PARTITION, DATA_PARTITION):
        value = host.attribute(partition, COHERENCY, COHERENCY_BYTES)
        assert value[5:9] == reference
        assert int.from_bytes(value[9:17], "big") == generation
        host.locate(partition, LAST_BLOCK)
        host.good(struct.pack(">BBxxq4x", 0x91, 0x01, -2))
        assert host.sense(bytes.fromhex("080010000000"), room=MAX_BLOCK_BYTES).filemark
        assert host.read(BLOCK_BYTES) == f"<ltfsindex>{generation}</ltfsindex>".encode()


def append_only(host: Backend) -> None:
    """A file at the end of the data; an index is overwritten as ALLOW OVERWRITE lets it be."""
    parameters = host.mode_page(0x10, 0x01, 48)
    parameters[21] = 0x10
    parameters[22:24] = (100).to_bytes(2, "big")
    host.select(parameters)
    host.locate(DATA_PARTITION, LAST_BLOCK)
    host.write(b"f" * BLOCK_BYTES)
    host.write(b"f" * 100)
    _, end, _ = host.read_position()
    host.locate(DATA_PARTITION, end - 3, change=False)
    write = b"\x0a\0\0\0\x05\0"
    refused = host.sense(write, b"index")
    assert (refused.key, refused.asc, refused.ascq) == (7, 0x30, 0x0C)
    host.good(struct.pack(">BBBBQ4x", 0x82, 0, 1, DATA_PARTITION, end - 3))
    host.good(write, b"index")
    next_block = host.good(bytes.fromhex("34080000000000002000"), room=32)
    assert next_block[1] == DATA_PARTITION
    assert struct.unpack_from(">Q", next_block, 16)[0] == end - 2


def health(host: Backend) -> None:
    assert len(host.log_page(0x37)[0x0001]) in (1, 2, 4, 8)
    assert len(host.log_page(0x37, 0x64)[0x7113]) == 4
    statistics = host.log_page(0x17)
    for code in (1, 2, 3, 4, 6, 7, 8, 0x0C, 0x0D, 0x10, 0x11, 0x0101, 0x0102):
        assert len(statistics[code]) in (1, 2, 4, 8)
    alerts = host.log_page(0x2E)
    assert sorted(alerts) == list(range(1, 65))
    # A refused overwrite stands among them: what LTFS provoked itself above.
    assert {code for code, value in alerts.items() if value != b"\0"} <= {60}


def dump(host: Backend) -> None:
    """What LTFS does when a command fails; an error here has it try again without end."""
    host.good(bytes.fromhex("1d1000000800"), bytes.fromhex("8000000401600000"))
    assert host.good(bytes.fromhex("3c030100000000000400"), room=4)[1:] == bytes(3)


def close_device(host: Backend, *, hp: bool) -> None:
    host.good(bytes.fromhex("1e0000000000"))
    host.good(bytes.fromhex("1b0000000000"))
    assert host.reserve_out(2, EXCLUSIVE_ACCESS, KEY, b"") == GOOD
    if not hp:
        protect(host, 0)
    assert host.reserve_out(6, 0, b"", b"") == GOOD


def test_ltfs_is_made_mounted_and_unmounted(make_gateway: Callable[..., Gateway]) -> None:
    gateway = make_gateway()
    gateway.activate("--drives", "3", "--slots", "8", "--tape-drive-type", ",".join(DRIVES))
    (old,) = gateway.create_tapes("--count", "1", "--generation", "LTO-5")
    tapes = [(old, 5)]
    tapes += [(one, 8) for one in gateway.create_tapes("--count", "2", "--generation", "LTO-8")]
    gateway.serve()
    for number, (name, (barcode, generation)) in enumerate(zip(DRIVES, tapes, strict=True), 1):
        hp = name.startswith("HP")
        gateway.load(barcode, drive=number)
        host = Backend(gateway.connect(f"tapedrive-{number:02d}"))
        product = open_device(host, KEY)
        assert product in name.replace("-Ultrium-8", "Ultrium 8-SCSI").replace("HPE-", "")
        assert host.holder() is None
        load(host, generation, hp=hp)
        assert host.holder() == KEY.ljust(8, b"\0")
        other = Backend(
            gateway.connect(
                f"tapedrive-{number:02d}",
                SessionOptions(initiator_name="iqn.2000-01.example.test:other"),
            )
        )
        assert open_device_of_another(other) == RESERVATION_CONFLICT
        make_file_system(host, generation)
        mount(host, 1)
        append_only(host)
        write_index(host, 2)
        health(host)
        dump(host)
        close_device(host, hp=hp)
        # The next mount, after the tape was out of the drive's path.
        open_device(host, KEY)
        load(host, generation, hp=hp)
        mount(host, 2)
        close_device(host, hp=hp)


def open_device_of_another(other: Backend) -> int:
    """Registering is allowed to everybody; reserving, while somebody holds the drive, is not."""
    other.send(bytes(6))
    assert other.reserve_out(6, 0, b"", OTHER_KEY) == GOOD
    status = other.reserve_out(1, EXCLUSIVE_ACCESS, OTHER_KEY, b"")
    assert other.holder() == KEY.ljust(8, b"\0")
    assert other.reserve_out(6, 0, b"", b"") == GOOD
    return status
