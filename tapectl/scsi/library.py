"""What the media changer's device server asks of the library's inventory and robot.

The device server (`tapectl.scsi.smc`) knows commands, sense and pages; the
library knows where every cartridge is and moves them.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tapectl.scsi.sense import ASC


class ElementType(enum.IntEnum):
    """SMC-3 element type codes."""

    MEDIUM_TRANSPORT = 1
    STORAGE = 2
    IMPORT_EXPORT = 3
    DATA_TRANSFER = 4


class MediumType(enum.IntEnum):
    """SMC-3 medium type codes of element descriptors."""

    UNSPECIFIED = 0
    DATA = 1
    CLEANING = 2
    WORM = 4


@dataclass(frozen=True, slots=True)
class ElementRange:
    """The addresses of one element type: `first` and the `count - 1` that follow."""

    element_type: ElementType
    first: int
    count: int

    def __contains__(self, address: int) -> bool:
        return 0 <= address - self.first < self.count


@dataclass(frozen=True, slots=True)
class Element:
    """One element of the library as READ ELEMENT STATUS tells it.

    `volume_tag` is the barcode of the cartridge in it, None when it is empty, and `medium_type`
    what that cartridge is. `source_address` is the storage or import/export element it last
    came from. `placed_by_operator` is ImpExp. `drive_serial` is set for data transfer elements
    only. `exception` is what is wrong with the element (Except), None where nothing is.
    """

    address: int
    element_type: ElementType
    volume_tag: str | None = None
    source_address: int | None = None
    placed_by_operator: bool = False
    accessible: bool = True
    drive_serial: str | None = None
    medium_type: MediumType = MediumType.DATA
    exception: ASC | None = None


class MoveRefusal(enum.Enum):
    """Why a move cannot be made; the device server has the sense for each."""

    NO_SUCH_ELEMENT = "no such element"
    SOURCE_EMPTY = "source element is empty"
    DESTINATION_FULL = "destination element is full"
    REMOVAL_PREVENTED = "medium removal prevented"
    NOT_ACCESSIBLE = "element not accessible"
    DRIVE_FAILED = "drive did not load or unload"


class MoveError(Exception):
    """A move was refused and nothing has moved."""

    def __init__(self, refusal: MoveRefusal, detail: str = "") -> None:
        super().__init__(detail or refusal.value)
        self.refusal = refusal


class LibraryError(Exception):
    """The library itself failed, by no fault of who asked; nothing has changed."""


class Library(Protocol):
    """The inventory and the robot. Calls may block for a drive to load or unload.

    Each may raise LibraryError.
    """

    def ranges(self) -> Sequence[ElementRange]:
        """Return the address ranges, by ascending element type code."""
        ...

    def elements(
        self, element_type: ElementType | None, first: int, count: int
    ) -> Sequence[Element]:
        """Return up to `count` elements with address >= `first`, of one type or of all.

        Ordered by address; for all types grouped by type in ascending order of type code.
        """
        ...

    def inventory(self) -> Mapping[int, str]:
        """Return the volume tags of the cartridges that can be used, by element address."""
        ...

    def inventory_version(self) -> object:
        """Return what is equal as long as the inventory is, and may differ though it is; cheap."""
        ...

    def move(self, source: int, destination: int, *, nexus: str) -> None:
        """Move the cartridge; raise MoveError if it cannot be done.

        `nexus` is the I_T nexus that asks for it. Onto itself it is not moved, and that is no
        error.
        """
        ...

    def exchange(
        self, source: int, first_destination: int, second_destination: int, *, nexus: str
    ) -> None:
        """SMC-3 EXCHANGE MEDIUM: source to first, what was there to second; raise MoveError."""
        ...
