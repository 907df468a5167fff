"""A cartridge of segments is a list of objects, whatever is done to it and in whatever order."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tapectl.disks.cartridge import SegmentedCartridge
from tapectl.disks.tape_files import TapeDescription
from tapectl.scsi.cartridge import CartridgeFullError, StoredAttribute
from tests.support.memory_cartridge import LogicalObject, MemoryCartridge
from tests.support.tape_disks import TAPE, TapeDisks, read_all

CAPACITY_BYTES = 20_000
TAPE_SMALL = TapeDescription(TAPE.barcode, TAPE.tape_uuid, CAPACITY_BYTES)

NEAR = st.integers(-3, 3)
LENGTHS = st.sampled_from([1, 2, 100, 100, 100, 700, 3000])
OPERATIONS = st.one_of(
    st.tuples(st.just("write"), LENGTHS, st.integers(1, 5)),
    st.tuples(st.just("write"), LENGTHS, st.integers(1, 5)),
    st.tuples(st.just("write_filemarks"), st.integers(0, 3)),
    st.tuples(st.just("read"), st.sampled_from([0, 50, 4096])),
    st.tuples(st.just("read_some"), st.integers(1, 6)),
    st.tuples(st.just("space_blocks"), st.integers(-9, 9)),
    st.tuples(st.just("space_filemarks"), NEAR),
    st.tuples(st.just("space_end_of_data")),
    st.tuples(st.just("locate"), st.integers(0, 30)),
    st.tuples(st.just("locate_file"), st.integers(0, 5)),
    st.tuples(st.just("erase")),
    st.tuples(st.just("write_encrypted"), LENGTHS, st.integers(1, 3)),
    st.tuples(st.just("select_partition"), st.integers(0, 2)),
    st.tuples(st.just("format"), st.integers(1, 3)),
    st.tuples(st.just("set_attribute"), st.integers(0, 2), st.integers(0x800, 0x802)),
    st.tuples(st.just("forget_attribute"), st.integers(0, 2), st.integers(0x800, 0x802)),
    st.tuples(st.just("synchronize")),
    st.tuples(st.just("seal_open_segment")),
    st.tuples(st.just("reload")),
)


class Pair:
    """A cartridge of segments and its model, told the same."""

    def __init__(self, disks: TapeDisks) -> None:
        self.disks = disks
        self.real = disks.load(TAPE_SMALL)
        self.model = MemoryCartridge(capacity_bytes=CAPACITY_BYTES)
        self.written = 0

    def run(self, name: str, *arguments: int) -> None:
        match name:
            case "write":
                self.write(*arguments)
            case "write_encrypted":
                self.write(*arguments, encrypted=True)
            case "select_partition":
                if arguments[0] < len(self.model.partitions):
                    self.both(lambda cartridge: cartridge.select_partition(arguments[0]))  # type: ignore[attr-defined]
            case "format":
                sizes = [CAPACITY_BYTES // arguments[0] - at for at in range(arguments[0])]
                self.both(lambda cartridge: cartridge.format(sizes))  # type: ignore[attr-defined]
            case "set_attribute":
                self.written += 1
                value = StoredAttribute(1, b"%d" % self.written)
                self.both(lambda cartridge: cartridge.set_attributes({arguments: value}))  # type: ignore[attr-defined]
            case "forget_attribute":
                self.both(lambda cartridge: cartridge.set_attributes({arguments: None}))  # type: ignore[attr-defined]
            case "read":
                self.both(lambda cartridge: read(cartridge, *arguments))
            case "read_some":
                for _ in range(arguments[0]):
                    self.both(lambda cartridge: read(cartridge, 4096))
            case "seal_open_segment":
                self.real.seal_open_segment()
            case "reload":
                self.real.close()
                self.real = self.disks.load(TAPE_SMALL)
                self.model.select_partition(0)
            case _:
                self.both(lambda cartridge: getattr(cartridge, name)(*arguments))
        self.compare()

    def write(self, block_bytes: int, count: int, *, encrypted: bool = False) -> None:
        self.written += 1
        data = bytes((self.written + at) % 251 for at in range(block_bytes * count))

        def attempt(cartridge: object) -> object:
            try:
                return cartridge.write_blocks(  # type: ignore[attr-defined]
                    memoryview(data), block_bytes, encrypted=encrypted
                )
            except CartridgeFullError as exc:
                return ("full", exc.written)

        self.both(attempt)

    def both(self, call: Callable[[object], object]) -> None:
        assert call(self.real) == call(self.model)

    def compare(self) -> None:
        for name in ("partition", "partitions", "position", "end_of_data", "used_bytes"):
            assert getattr(self.real, name) == getattr(self.model, name), name
        for partition in range(3):
            found = self.real.attribute_identifiers(partition)
            assert found == self.model.attribute_identifiers(partition)
            for identifier in found:
                kept = self.real.attribute(partition, identifier)
                assert kept == self.model.attribute(partition, identifier)
        if self.written % 2:
            # Not always: asking makes known what must also be right when nobody has asked.
            assert self.real.file_number == self.model.file_number
            assert self.real.written_bytes_at_position <= self.real.used_bytes


def read(cartridge: object, room: int) -> object:
    buffer = memoryview(bytearray(room))
    found = cartridge.read_block(buffer)  # type: ignore[attr-defined]
    return found, bytes(buffer)


@pytest.mark.parametrize("shared", [True, False])
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(operations=st.lists(OPERATIONS, max_size=30))
def test_a_cartridge_of_segments_is_a_list_of_objects(
    shared: bool, operations: list[tuple[object, ...]]
) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as root:
        pair = Pair(TapeDisks(Path(root), shared))
        for operation in operations:
            pair.run(*operation)  # type: ignore[arg-type]
        pair.real.synchronize()
        assert everything(pair.real) == pair.model.partition_objects
        pair.real.close()
        assert everything(pair.disks.load(TAPE_SMALL)) == pair.model.partition_objects


def everything(cartridge: SegmentedCartridge) -> list[list[LogicalObject]]:
    """Return the objects of all partitions."""
    found = []
    for number in range(len(cartridge.partitions)):
        cartridge.select_partition(number)
        found.append(read_all(cartridge))
    return found
