"""What is made of a command that failed: counted, told by TapeAlert, kept for diagnosis."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from tapectl.scsi.cartridge import CartridgeKeyError, CartridgeReadError
from tapectl.scsi.sense import ASC, Sense, SenseKey
from tapectl.scsi.ssc.alerts import flags_of_sense

if TYPE_CHECKING:
    from tapectl.scsi.ssc.drive import TapeDrive

# As many as LTO drives keep.
MAX_DIAGNOSTICS = 12
_READ_ERROR, _WRITE_ERROR = 0x11, 0x0C
_DESCRIPTOR_FORMAT = 0x72
_DIAGNOSED = frozenset((SenseKey.MEDIUM_ERROR, SenseKey.HARDWARE_ERROR))
_FAILED = _DIAGNOSED | {SenseKey.ILLEGAL_REQUEST, SenseKey.DATA_PROTECT}

# A tape diagnostic data parameter (SSC-5 8.2.11): density and medium type; sense key, additional
# sense code and qualifier; product revision; operation code and service action; volume; timestamp
# origin and timestamp.
_DIAGNOSTIC = struct.Struct(">2xBB5xBBB4x4s4xBB2x32sBx6s")
_SENSE_KEY_AT = 9
_REPEAT = 0x80
_TIMESTAMP_BYTES = 8


def sense_of_unreadable(error: CartridgeReadError, residue: int | None = None) -> Sense:
    """Return what a client is told of a block that cannot be read, `residue` as INFORMATION."""
    if isinstance(error, CartridgeKeyError):
        # No fault of the medium, which needs no repair: what is missing is the key.
        code = ASC.UNABLE_TO_DECRYPT_DATA
        return Sense(SenseKey.DATA_PROTECT, code, information=residue)
    return Sense(SenseKey.MEDIUM_ERROR, ASC.UNRECOVERED_READ_ERROR, information=residue)


class Failures:
    """`diagnostics` are the values of tape diagnostic data parameters, the newest first."""

    def __init__(self, drive: TapeDrive) -> None:
        self._drive = drive
        self.diagnostics: list[bytes] = []

    def note(self, cdb: bytes, sense: bytes | memoryview) -> None:
        """A command was answered with sense, of whatever key and format."""
        if sense[0] & 0x7F == _DESCRIPTOR_FORMAT:
            key, asc, ascq = sense[1] & 0x0F, sense[2], sense[3]
        else:
            key, asc, ascq = sense[2] & 0x0F, sense[12], sense[13]
        if key not in _FAILED:
            return
        flags = flags_of_sense(key, asc, ascq)
        if flags:
            self._drive.alerts.add(*flags)
        if key in _DIAGNOSED and self._drive.medium is not None:
            mounted = self._drive.counters.mounted
            mounted.read_errors += asc == _READ_ERROR
            mounted.write_errors += asc == _WRITE_ERROR
            self._keep(cdb, (key, asc, ascq))

    def _keep(self, cdb: bytes, sense: tuple[int, int, int]) -> None:
        """Add an entry; one that is as the newest sets its REPEAT bit."""
        drive = self._drive
        header, timestamp = drive.mode_header(), drive.server.timestamp
        volume = drive.cartridge.barcode.encode() if drive.cartridge is not None else b""
        entry = _DIAGNOSTIC.pack(
            header.block_descriptor[0],
            header.medium_type,
            *sense,
            drive.server.identity.revision.encode()[:4],
            cdb[0],
            0,
            volume.ljust(32),
            timestamp.origin,
            timestamp.now_ms().to_bytes(6, "big"),
        )
        entries = self.diagnostics
        if entries and _same(entries[0], entry):
            entries[0] = _repeated(entry)
        else:
            entries.insert(0, entry)
            del entries[MAX_DIAGNOSTICS:]


def _same(older: bytes, entry: bytes) -> bool:
    return older[:-_TIMESTAMP_BYTES] in (
        entry[:-_TIMESTAMP_BYTES],
        _repeated(entry)[:-_TIMESTAMP_BYTES],
    )


def _repeated(entry: bytes) -> bytes:
    key = entry[_SENSE_KEY_AT] | _REPEAT
    return entry[:_SENSE_KEY_AT] + bytes((key,)) + entry[_SENSE_KEY_AT + 1 :]
