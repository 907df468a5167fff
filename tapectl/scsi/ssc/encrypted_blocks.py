"""Where a volume has encrypted blocks, as its auxiliary memory tells it (SPC-5 7.4.2.2).

Kept while blocks are `coded`, which they are on every volume that has an encrypted block: so the
plain ones of all others are not looked at.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple

from tapectl.scsi.cartridge import AttributeKey, Cartridge, CartridgeWriteError, StoredAttribute
from tapectl.scsi.sense import ASC, CheckCondition, Sense, SenseKey

FIRST_ENCRYPTED = 0x0224
FIRST_PLAIN_AFTER_IT = 0x0225
_NUMBER_BYTES = 8


class _Extent(NamedTuple):
    """Object numbers in one partition: the first encrypted block, the first plain one after it."""

    encrypted: int | None = None
    plain: int | None = None

    def cut(self, end: int) -> _Extent:
        """Return what is left of it when nothing from object `end` on is there any more."""
        if self.encrypted is None or self.encrypted >= end:
            return _Extent()
        return _Extent(self.encrypted, self.plain if (self.plain or 0) < end else None)


class EncryptedBlocks:
    """What is known of the volume that is threaded. `any`: there is an encrypted block.

    `changed` is called when that may have changed.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._extents: dict[int, _Extent] = {}

    @property
    def any(self) -> bool:
        return any(extent.encrypted is not None for extent in self._extents.values())

    def threaded(self, medium: Cartridge | None) -> None:
        """Another volume was threaded, or none."""
        partitions = len(medium.partitions) if medium is not None else 0
        self._extents = {
            number: _Extent(
                _number(medium, number, FIRST_ENCRYPTED),
                _number(medium, number, FIRST_PLAIN_AFTER_IT),
            )
            for number in range(partitions)
            if medium is not None
        }
        self._changed()

    def writing(self, medium: Cartridge, *, encrypted: bool) -> AbstractContextManager[None]:
        """While blocks are written at the position; see `ending`."""
        start = medium.position
        extent = self._extents.get(medium.partition, _Extent()).cut(start)
        if encrypted and extent.encrypted is None:
            extent = _Extent(start)
        elif not encrypted and extent.encrypted is not None and extent.plain is None:
            extent = _Extent(extent.encrypted, start)
        return self._changing(medium, extent)

    def ending(self, medium: Cartridge) -> AbstractContextManager[None]:
        """While something is written or erased that leaves no block from the position on.

        The memory is written first, so that a command which it refuses has changed nothing.
        Raises CheckCondition (MEDIUM ERROR) where it cannot be written.
        """
        extent = self._extents.get(medium.partition, _Extent()).cut(medium.position)
        return self._changing(medium, extent)

    @contextlib.contextmanager
    def _changing(self, medium: Cartridge, extent: _Extent) -> Iterator[None]:
        before = self._extents.get(medium.partition, _Extent())
        where = medium.position, medium.end_of_data
        self._keep(medium, extent)
        try:
            yield
        finally:
            if (medium.position, medium.end_of_data) == where:
                # Nothing was written. If this is refused as well, the next write puts it right.
                with contextlib.suppress(CheckCondition):
                    self._keep(medium, before)

    def _keep(self, medium: Cartridge, extent: _Extent) -> None:
        partition = medium.partition
        if extent == self._extents.get(partition, _Extent()):
            return
        changes: dict[AttributeKey, StoredAttribute | None] = {
            (partition, FIRST_ENCRYPTED): _stored(extent.encrypted),
            (partition, FIRST_PLAIN_AFTER_IT): _stored(extent.plain),
        }
        try:
            medium.set_attributes(changes)
        except CartridgeWriteError as error:
            code = ASC.AUXILIARY_MEMORY_WRITE_ERROR
            raise CheckCondition(Sense(SenseKey.MEDIUM_ERROR, code)) from error
        self._extents[partition] = extent
        self._changed()


def forgotten(partitions: int) -> dict[AttributeKey, StoredAttribute | None]:
    """Return the change of attributes that says that no partition has an encrypted block."""
    return {
        (number, identifier): None
        for number in range(partitions)
        for identifier in (FIRST_ENCRYPTED, FIRST_PLAIN_AFTER_IT)
    }


def _number(medium: Cartridge, partition: int, identifier: int) -> int | None:
    stored = medium.attribute(partition, identifier)
    return int.from_bytes(stored.value, "big") if stored is not None else None


def _stored(number: int | None) -> StoredAttribute | None:
    if number is None:
        return None
    return StoredAttribute(0, number.to_bytes(_NUMBER_BYTES, "big"))
