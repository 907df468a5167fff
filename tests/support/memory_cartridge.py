"""A cartridge in memory: a list of logical objects, the model that others are compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tapectl.scsi.cartridge import (
    AttributeKey,
    CartridgeFullError,
    CartridgeReadError,
    CartridgeWriteError,
    EncryptedBlock,
    Mark,
    PartitionUse,
    StoredAttribute,
)

# A block is its bytes, a filemark is None.
LogicalObject = bytes | EncryptedBlock | None


def _length(item: LogicalObject) -> int:
    if item is None:
        return 0
    return len(item.data) if isinstance(item, EncryptedBlock) else len(item)


class MemoryCartridge:
    """Exactly `tapectl.scsi.cartridge.Cartridge`, with nothing behind it.

    `synchronized_objects` is how many objects the last synchronize() saw. Set
    `fail_reads`, `fail_writes` for errors; `busy` holds, by the name of a method, what
    its next calls raise, None for a call that succeeds.
    """

    def __init__(
        self,
        barcode: str = "TAP001L5",
        *,
        capacity_bytes: int = 1 << 30,
        write_protected: bool = False,
        worm: bool = False,
        generation: int = 5,
        cleaning: bool = False,
        created_ms: int = 1_700_000_000_000,
    ) -> None:
        self.barcode = barcode
        self.write_protected = write_protected
        self.worm = worm
        self.generation = generation
        self.cleaning = cleaning
        self.created_ms = created_ms
        self.partition = 0
        self.volume_bytes = capacity_bytes
        self.sizes = [capacity_bytes]
        self.partition_objects: list[list[LogicalObject]] = [[]]
        self.attributes: dict[AttributeKey, StoredAttribute] = {}
        self.position = 0
        self.synchronize_calls = 0
        self.synchronized_objects = 0
        self.recovered_reads = 0
        self.fail_reads = False
        self.fail_writes = False
        self.fail_attributes = False
        self.busy: dict[str, list[Exception | None]] = {}

    def _may_be_busy(self, method: str) -> None:
        waiting = self.busy.get(method)
        error = waiting.pop(0) if waiting else None
        if error is not None:
            raise error

    def _look_up(self, method: str) -> None:
        """Something must be known of the tape that may be in the store, or nowhere."""
        self._may_be_busy(method)
        if self.fail_reads:
            raise CartridgeReadError("index")

    @property
    def objects(self) -> list[LogicalObject]:
        return self.partition_objects[self.partition]

    @objects.setter
    def objects(self, objects: list[LogicalObject]) -> None:
        self.partition_objects[self.partition] = objects

    @property
    def capacity_bytes(self) -> int:
        return self.sizes[self.partition]

    @capacity_bytes.setter
    def capacity_bytes(self, size_bytes: int) -> None:
        self.sizes[self.partition] = size_bytes
        if len(self.sizes) == 1:
            self.volume_bytes = size_bytes

    @property
    def partitions(self) -> Sequence[PartitionUse]:
        return [
            PartitionUse(size, sum(map(_length, objects)))
            for size, objects in zip(self.sizes, self.partition_objects, strict=True)
        ]

    def select_partition(self, number: int) -> None:
        self.partition = number
        self.position = 0

    def format(self, partition_bytes: Sequence[int]) -> None:
        self._may_be_busy("format")
        if self.fail_writes:
            raise CartridgeWriteError("write failed")
        self.sizes = list(partition_bytes)
        self.partition_objects = [[] for _ in partition_bytes]
        self.attributes = {
            key: stored for key, stored in self.attributes.items() if key[0] < len(partition_bytes)
        }
        self.select_partition(0)

    def attribute(self, partition: int, identifier: int) -> StoredAttribute | None:
        return self.attributes.get((partition, identifier))

    def attribute_identifiers(self, partition: int) -> Sequence[int]:
        return sorted(key[1] for key in self.attributes if key[0] == partition)

    def set_attributes(self, changes: Mapping[AttributeKey, StoredAttribute | None]) -> None:
        if self.fail_attributes:
            raise CartridgeWriteError("write failed")
        merged = {**self.attributes, **changes}
        self.attributes = {key: value for key, value in merged.items() if value is not None}

    @property
    def used_bytes(self) -> int:
        return sum(map(_length, self.objects))

    @property
    def written_bytes_at_position(self) -> int:
        return sum(map(_length, self.objects[: self.position]))

    @property
    def file_number(self) -> int:
        self._look_up("file_number")
        return self.objects[: self.position].count(None)

    @property
    def end_of_data(self) -> int:
        return len(self.objects)

    def _append(self, item: LogicalObject) -> None:
        del self.objects[self.position :]
        self.objects.append(item)
        self.position += 1

    def write_blocks(self, data: memoryview, block_bytes: int, *, encrypted: bool = False) -> None:
        self._may_be_busy("write_blocks")
        if self.fail_writes:
            raise CartridgeWriteError("write failed")
        used = self.written_bytes_at_position
        for written, at in enumerate(range(0, len(data), block_bytes)):
            used += block_bytes
            if used > self.capacity_bytes:
                raise CartridgeFullError(written)
            block = bytes(data[at : at + block_bytes])
            self._append(EncryptedBlock(block) if encrypted else block)

    def write_behind(self) -> None:
        """See Cartridge."""

    def write_filemarks(self, count: int) -> None:
        self._may_be_busy("write_filemarks")
        if self.fail_writes:
            raise CartridgeWriteError("write failed")
        for _ in range(count):
            self._append(None)

    def synchronize(self) -> None:
        self._may_be_busy("synchronize")
        self.synchronize_calls += 1
        if self.fail_writes:
            raise CartridgeWriteError("flush failed")
        self.synchronized_objects = len(self.objects)

    def read_block(self, buffer: memoryview) -> int | Mark | EncryptedBlock:
        self._may_be_busy("read_block")
        if self.position == len(self.objects):
            return Mark.END_OF_DATA
        item = self.objects[self.position]
        if item is None:
            self.position += 1
            return Mark.FILEMARK
        if self.fail_reads:
            raise CartridgeReadError("checksum")
        if isinstance(item, EncryptedBlock):
            self.position += 1
            return item
        length = min(len(item), len(buffer))
        buffer[:length] = item[:length]
        self.position += 1
        return len(item)

    def space_blocks(self, count: int) -> tuple[int, Mark | None]:
        self._look_up("space_blocks")
        passed = 0
        while passed < abs(count):
            moved = self._step(1 if count > 0 else -1)
            if isinstance(moved, Mark):
                return passed, moved
            if moved is None:
                return passed, Mark.FILEMARK
            passed += 1
        return passed, None

    def space_filemarks(self, count: int) -> tuple[int, Mark | None]:
        self._look_up("space_filemarks")
        return self._space_filemarks(count)

    def _space_filemarks(self, count: int) -> tuple[int, Mark | None]:
        passed = 0
        while passed < abs(count):
            moved = self._step(1 if count > 0 else -1)
            if isinstance(moved, Mark):
                return passed, moved
            if moved is None:
                passed += 1
        return passed, None

    def _step(self, direction: int) -> LogicalObject | Mark:
        """Pass one object and return it, or what is there instead of one."""
        at = self.position if direction > 0 else self.position - 1
        if at < 0:
            return Mark.BEGINNING_OF_PARTITION
        if at == len(self.objects):
            return Mark.END_OF_DATA
        self.position += direction
        return self.objects[at]

    def space_end_of_data(self) -> None:
        self.position = len(self.objects)

    def locate(self, position: int) -> Mark | None:
        self.position = min(position, len(self.objects))
        return Mark.END_OF_DATA if position > len(self.objects) else None

    def locate_file(self, file_number: int) -> Mark | None:
        self._look_up("locate_file")
        self.position = 0
        _, stopped_by = self._space_filemarks(file_number)
        return stopped_by

    def erase(self) -> None:
        if self.fail_writes:
            raise CartridgeWriteError("write failed")
        del self.objects[self.position :]
