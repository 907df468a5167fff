"""The Control Data Protection mode page: which blocks a nexus protects, and how (SSC-5 8.4.9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tapectl.scsi.mode_pages import ModePage, ModePages
from tapectl.scsi.sense import invalid_field_in_parameter_list
from tapectl.scsi.ssc.protection_information import (
    PROTECTION_INFORMATION_BYTES,
    ProtectionMethod,
)

CONTROL_DATA_PROTECTION_PAGE = (0x0A, 0xF0)
_BODY_BYTES = 28
_METHOD, _LENGTH, _FLAGS = range(3)
_OF_WRITES, _OF_READS = 0x80, 0x40
# RBDP stays clear: there is no RECOVER BUFFERED DATA.
_CHANGEABLE = bytes((0xFF, 0x3F, _OF_WRITES | _OF_READS)).ljust(_BODY_BYTES, b"\0")


class Protection(NamedTuple):
    """How blocks are protected on their way between a nexus and the drive.

    `of_writes` and `of_reads`: whether there is protection information after the data of a block
    that is written, and of one that is read.
    """

    method: ProtectionMethod
    of_writes: bool
    of_reads: bool

    @property
    def written_bytes(self) -> int:
        """Bytes of protection information after each block that is written."""
        return PROTECTION_INFORMATION_BYTES if self.of_writes else 0


def control_data_protection(methods: Sequence[int]) -> ModePage:
    """Return the page of a drive that has these methods; each I_T nexus has its own values."""

    def check(body: bytes, at: int) -> None:
        method = body[_METHOD]
        if method and method not in methods:
            raise invalid_field_in_parameter_list(at + _METHOD)
        if body[_LENGTH] != PROTECTION_INFORMATION_BYTES and (method or body[_LENGTH]):
            raise invalid_field_in_parameter_list(at + _LENGTH)
        if body[_FLAGS] and not method:
            raise invalid_field_in_parameter_list(at + _FLAGS)

    code, subpage = CONTROL_DATA_PROTECTION_PAGE
    return ModePage(code, bytes(_BODY_BYTES), _CHANGEABLE, subpage, check=check, per_nexus=True)


def protection(mode_pages: ModePages, nexus: str) -> Protection:
    """Return what a nexus has chosen."""
    return _decode(mode_pages.value(CONTROL_DATA_PROTECTION_PAGE, nexus))


def anybody_protects(mode_pages: ModePages) -> bool:
    """Whether any nexus has protection information transferred."""
    return any(
        protected.of_writes or protected.of_reads
        for protected in map(_decode, mode_pages.nexus_values(CONTROL_DATA_PROTECTION_PAGE))
    )


def _decode(body: bytes) -> Protection:
    return Protection(
        ProtectionMethod(body[_METHOD]),
        bool(body[_FLAGS] & _OF_WRITES),
        bool(body[_FLAGS] & _OF_READS),
    )
