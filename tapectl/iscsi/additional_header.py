"""Additional header segments of a SCSI Command (RFC 7143 11.2.2): read, and seldom taken."""

from __future__ import annotations

import enum
from typing import Final

from tapectl.iscsi.constants import BHS_BYTES, CommandFlag
from tapectl.iscsi.errors import PDUFormatError

# AHSLength (2 bytes, of what follows AHSType) and AHSType.
_SEGMENT_HEADER_BYTES: Final = 3
_BIDIRECTIONAL: Final = int(CommandFlag.READ) | int(CommandFlag.WRITE)


class SegmentType(enum.IntEnum):
    """AHSType (RFC 7143 11.2.2.1)."""

    EXTENDED_CDB = 1
    BIDIRECTIONAL_READ_LENGTH = 2


# AHSLength of the expected bidirectional read data length: a reserved byte and four of length.
_READ_LENGTH_BYTES: Final = 5


def extended_cdb(header: memoryview) -> bool:
    """Check the segments behind a SCSI Command's header; return whether the CDB goes on in one.

    `header` is the 48 bytes with all the additional segments that they announce. Raises
    PDUFormatError for segments that do not fit, are of no known type, come twice, or do not belong
    to the command.
    """
    end = BHS_BYTES + header[4] * 4
    offset = BHS_BYTES
    seen: set[SegmentType] = set()
    while offset < end:
        length = int.from_bytes(header[offset : offset + 2], "big")
        following = offset + _SEGMENT_HEADER_BYTES + length
        if offset + _SEGMENT_HEADER_BYTES > end or following > end or not length:
            raise PDUFormatError(f"additional header segment of {length} bytes does not fit")
        seen.add(_segment_type(header, offset + 2, length, seen))
        offset = following + (-following & 3)
    return SegmentType.EXTENDED_CDB in seen


def _segment_type(
    header: memoryview, place: int, length: int, seen: set[SegmentType]
) -> SegmentType:
    try:
        kind = SegmentType(header[place])
    except ValueError:
        raise PDUFormatError(f"additional header segment of type {header[place]}") from None
    if kind in seen:
        raise PDUFormatError(f"two additional header segments of type {int(kind)}")
    if kind is SegmentType.BIDIRECTIONAL_READ_LENGTH and (
        length != _READ_LENGTH_BYTES or header[1] & _BIDIRECTIONAL != _BIDIRECTIONAL
    ):
        raise PDUFormatError("a bidirectional read length with a command that has none")
    return kind
