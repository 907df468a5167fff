"""What is wrong with bytes that should be a segment, or with segments that should be a tape."""

from __future__ import annotations


class MediumFormatError(Exception):
    """Bytes do not have the form that docs/medium-format.md gives them, or a checksum is wrong."""


class ChainGapError(MediumFormatError):
    """A segment starts after the end of data of those before it: one between them is missing."""

    def __init__(self, sequence: int, first_object: int, end_of_data: int) -> None:
        super().__init__(
            f"segment {sequence} starts at object {first_object}, but data ends at {end_of_data}"
        )
        self.sequence = sequence


class UnknownFormatError(MediumFormatError):
    """The bytes are whole, and of a format that this program does not know."""
