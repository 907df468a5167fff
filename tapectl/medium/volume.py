"""What a tape is beside its objects: its partitions, and its medium auxiliary memory. Pure bytes.

A record of a few kilobytes, kept in the state and in every manifest. Specified in
docs/medium-format.md.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tapectl.medium.chain import voids
from tapectl.medium.errors import MediumFormatError
from tapectl.medium.summary import SegmentSummary
from tapectl.scsi.cartridge import AttributeKey, StoredAttribute


@dataclass(frozen=True, slots=True)
class VolumeRecord:
    """`partition_bytes` are the capacities of the partitions, empty for a single one as large as
    the tape. Segments up to sequence number `formatted_through` were there before the last FORMAT
    MEDIUM and count for nothing; -1: it was never formatted. Nor do those of the `undone` ranges
    count, each from its first sequence number to its last: the tape was brought back to how it was
    before them.
    """

    partition_bytes: tuple[int, ...] = ()
    formatted_through: int = -1
    attributes: Mapping[AttributeKey, StoredAttribute] = field(default_factory=dict)
    undone: tuple[tuple[int, int], ...] = ()

    def counts(self, sequence: int) -> bool:
        """Whether a segment can count for anything."""
        return sequence > self.formatted_through and not any(
            first <= sequence <= last for first, last in self.undone
        )

    def used_bytes(self, latest_first: Callable[[int], Iterable[SegmentSummary]]) -> int | None:
        """Return the user data in all partitions, of a log.

        `latest_first` returns the segments of a partition from the last back to the first, of which
        no more are taken than it needs. None if the last one that counts does not say what stands
        before it.
        """
        used_bytes = 0
        for partition in range(len(self.partition_bytes) or 1):
            since_format = itertools.takewhile(
                lambda summary: summary.sequence > self.formatted_through, latest_first(partition)
            )
            counting = (one for one in since_format if voids(one) and self.counts(one.sequence))
            last = next(counting, None)
            if last is None:
                continue
            if last.after is None:
                return None
            used_bytes += last.after.data_bytes
        return used_bytes

    def without(self, first: int, last: int) -> VolumeRecord:
        """Return the record with segments `first` to `last` undone; as it is if there are none."""
        if first > last:
            return self
        kept = self.undone
        if kept and kept[-1][1] == first - 1:
            first, kept = kept[-1][0], kept[:-1]
        return replace(self, undone=(*kept, (first, last)))

    def formatted(self, partition_bytes: Sequence[int], through: int) -> VolumeRecord:
        """Return the record after FORMAT MEDIUM: new partitions, of the segments up to `through`
        none counts, and the attributes of the partitions that are still there stay."""
        kept = {
            key: stored for key, stored in self.attributes.items() if key[0] < len(partition_bytes)
        }
        return VolumeRecord(tuple(partition_bytes), through, kept)

    def with_attributes(
        self, changes: Mapping[AttributeKey, StoredAttribute | None]
    ) -> VolumeRecord:
        """Return the record with attributes changed, and removed where the change is None."""
        merged = {**self.attributes, **changes}
        return replace(
            self, attributes={key: stored for key, stored in merged.items() if stored is not None}
        )

    def to_document(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        return {
            "partition_bytes": list(self.partition_bytes),
            "formatted_through": self.formatted_through,
            "attributes": [
                [partition, identifier, stored.format, stored.value.hex()]
                for (partition, identifier), stored in sorted(self.attributes.items())
            ],
            "undone": [list(one) for one in self.undone],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> VolumeRecord:
        """Return what `to_document` was made of; raise MediumFormatError if it was not."""
        try:
            return cls(
                tuple(int(size) for size in document["partition_bytes"]),
                int(document["formatted_through"]),
                {
                    (int(partition), int(identifier)): StoredAttribute(
                        int(kind), bytes.fromhex(value)
                    )
                    for partition, identifier, kind, value in document["attributes"]
                },
                tuple((int(first), int(last)) for first, last in document.get("undone", ())),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise MediumFormatError(f"volume record lacks or misspells {error}") from error
