"""What a drive's device server asks of the cartridge that is loaded in it.

The device server (`tapectl.scsi.ssc`) knows commands, sense and pages; the
cartridge knows logical objects. A position is the number of the next logical
object of its partition: blocks and filemarks count alike (SSC-5 4.2.10).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol


class Mark(enum.Enum):
    """What stops a read, a space or a locate other than a block."""

    FILEMARK = "filemark"
    END_OF_DATA = "end of data"
    BEGINNING_OF_PARTITION = "beginning of partition"


class StoredAttribute(NamedTuple):
    """An attribute that the medium auxiliary memory keeps: its FORMAT and its value (SPC-5 7.4)."""

    format: int
    value: bytes


# Partition number and attribute identifier; what belongs to no partition has number 0.
AttributeKey = tuple[int, int]


class PartitionUse(NamedTuple):
    """How large a partition is, and how many bytes of user data it holds."""

    capacity_bytes: int
    used_bytes: int


class EncryptedBlock(NamedTuple):
    """What was recorded of a block that the drive had encrypted, as it was given to be written."""

    data: bytes


class CartridgeError(Exception):
    """Base of what a cartridge operation may raise."""


class CartridgeBusyError(CartridgeError):
    """The operation cannot go on yet and has changed nothing: data is on its way from the store,
    or the local disks are full until an upload makes room. Run the whole command again later."""

    def __init__(self, reason: str, retry_after_s: float = 0.05) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class CommandUnfinishedError(CartridgeBusyError):
    """A command that takes long has done a part of its work: run it again at once to go on."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, retry_after_s=0.0)


class CartridgeFullError(CartridgeError):
    """The capacity is used up; `written` blocks or filemarks of the call were written."""

    def __init__(self, written: int) -> None:
        super().__init__(f"volume overflow after {written} objects")
        self.written = written


class CartridgeReadError(CartridgeError):
    """A block cannot be read, or its checksum is wrong; the position has not moved."""


class CartridgeKeyError(CartridgeReadError):
    """A block is encrypted where it is kept, and the key for that is not at hand."""


class CartridgeWriteError(CartridgeError):
    """A local disk refused a write or a flush; the position stands after the last whole object."""


class Cartridge(Protocol):
    """A loaded cartridge, positioned in one of its partitions.

    Sizes, positions and numbers are those of the current partition. Only one thread may call it
    at a time. Every method that does not say that it never waits may raise CartridgeBusyError
    (nothing changed). What has to know where filemarks are may raise CartridgeReadError (nothing
    changed): `file_number`, SPACE, `locate_file`, a write that is not at end of data. The others as
    said.
    """

    @property
    def barcode(self) -> str: ...

    @property
    def write_protected(self) -> bool:
        """Whether every write must be refused (retrieved and recovered tapes)."""
        ...

    @property
    def worm(self) -> bool: ...

    @property
    def created_ms(self) -> int:
        """When the cartridge was made, in milliseconds since 1970."""
        ...

    @property
    def recovered_reads(self) -> int:
        """How many blocks could be read from another copy only than the first, since it was opened:
        nothing is lost, and something is dying."""
        ...

    @property
    def generation(self) -> int:
        """LTO generation of the medium."""
        ...

    @property
    def cleaning(self) -> bool:
        """Whether it is a cleaning cartridge: it holds no data, and must not be read or written."""
        ...

    @property
    def volume_bytes(self) -> int:
        """Native capacity of the whole cartridge in bytes of user data."""
        ...

    @property
    def partition(self) -> int:
        """Number of the current partition; 0 when it was loaded."""
        ...

    @property
    def partitions(self) -> Sequence[PartitionUse]:
        """All partitions, by number."""
        ...

    def select_partition(self, number: int) -> None:
        """Go to the beginning of a partition, which is there. Never waits."""
        ...

    def format(self, partition_bytes: Sequence[int]) -> None:
        """Make all partitions anew, empty, of these sizes, and stand at the beginning of number 0.

        Durable, and done as a whole or not at all. Attributes of partitions that are no more go.
        Raises CartridgeWriteError.
        """
        ...

    def attribute(self, partition: int, identifier: int) -> StoredAttribute | None:
        """Return what the medium auxiliary memory keeps; None: no such attribute was set."""
        ...

    def attribute_identifiers(self, partition: int) -> Sequence[int]:
        """Return the identifiers of all attributes that are kept for a partition, ascending."""
        ...

    def set_attributes(self, changes: Mapping[AttributeKey, StoredAttribute | None]) -> None:
        """Keep attributes, or with None forget them; all or none, durable when it returns.

        Raises CartridgeWriteError.
        """
        ...

    @property
    def capacity_bytes(self) -> int:
        """Native capacity in bytes of user data."""
        ...

    @property
    def used_bytes(self) -> int:
        """Bytes of user data between the beginning of the partition and end of data."""
        ...

    @property
    def written_bytes_at_position(self) -> int:
        """Bytes of user data before the position; exact at end of data, else may be an estimate."""
        ...

    @property
    def position(self) -> int:
        """Number of the logical object that the next read would return."""
        ...

    @property
    def file_number(self) -> int:
        """Number of filemarks between the beginning of the partition and the position."""
        ...

    @property
    def end_of_data(self) -> int:
        """Number that the next object appended at end of data will get."""
        ...

    def write_blocks(self, data: memoryview, block_bytes: int, *, encrypted: bool = False) -> None:
        """Write len(data) / block_bytes blocks at the position, in order.

        `encrypted` blocks are kept as they come and returned by read_block as EncryptedBlock.

        Whatever was recorded at and after the position is gone for readers.
        When it returns, no death of any of our processes loses the blocks.
        `data` belongs to the caller and is not kept.
        Raises CartridgeFullError, CartridgeWriteError.
        """
        ...

    def write_behind(self) -> None:
        """Do what `write_blocks` need not have waited for, now that its command is answered.

        It may be left out: then a later call does it. Never waits for the store or for room, and
        raises nothing: a disk that refuses is heard of by the next write.
        """
        ...

    def write_filemarks(self, count: int) -> None:
        """Write `count` filemarks at the position; durability as for blocks (see synchronize)."""
        ...

    def synchronize(self) -> None:
        """Return when everything written is on stable storage of both disks (fsync).

        Raises CartridgeWriteError.
        """
        ...

    def read_block(self, buffer: memoryview) -> int | Mark | EncryptedBlock:
        """Read the next object.

        A block: its first min(length, len(buffer)) bytes are put in `buffer`, the position moves
        past it and its whole length in bytes is returned. Mark.FILEMARK: the position moves past
        it. Mark.END_OF_DATA: the position does not move. EncryptedBlock: the position moves
        past the block, `buffer` is undefined. Raises CartridgeReadError.
        """
        ...

    def space_blocks(self, count: int) -> tuple[int, Mark | None]:
        """Move over `count` blocks (backwards when negative).

        Returns the blocks passed (never negative) and what stopped it short. A filemark that
        stops it is itself passed (SSC-5 SPACE(6): "the logical position shall be on the
        end-of-partition side of the filemark", or the beginning side when moving backwards).
        """
        ...

    def space_filemarks(self, count: int) -> tuple[int, Mark | None]:
        """Move over `count` filemarks (backwards when negative); as space_blocks."""
        ...

    def space_end_of_data(self) -> None:
        """Go to end of data. Never waits."""
        ...

    def locate(self, position: int) -> Mark | None:
        """Go to an object number; beyond end of data stops there and returns Mark.END_OF_DATA.

        Never waits: a command that has to goes back by it to where it began.
        """
        ...

    def locate_file(self, file_number: int) -> Mark | None:
        """Go to just after the `file_number`-th filemark (0: beginning of partition)."""
        ...

    def erase(self) -> None:
        """Make the position end of data; durable as a written block is."""
        ...
