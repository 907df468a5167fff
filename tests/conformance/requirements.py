"""What a test needs of the target, and how the suite finds out whether it is there.

A target is asked by its own lists: REPORT SUPPORTED OPERATION CODES, and the lists of VPD, mode
and log pages. Where it has no such list it is taken at its word: the test runs, and an INVALID
COMMAND OPERATION CODE skips it (`Device.lenient`).
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import pytest

from tests.conformance import commands
from tests.conformance.commands import Command
from tests.conformance.device import GOOD, Device

Feature = tuple[str, tuple[int, ...]]

# Operation code, and service action where the code has them (SPC-5, SSC-5, SMC-3 command tables).
OPERATION_CODES = MappingProxyType(
    {
        "REWIND": (0x01,),
        "FORMAT MEDIUM": (0x04,),
        "READ BLOCK LIMITS": (0x05,),
        "INITIALIZE ELEMENT STATUS": (0x07,),
        "SET CAPACITY": (0x0B,),
        "WRITE FILEMARKS(6)": (0x10,),
        "SPACE(6)": (0x11,),
        "VERIFY(6)": (0x13,),
        "MODE SELECT(6)": (0x15,),
        "RESERVE(6)": (0x16,),
        "RELEASE(6)": (0x17,),
        "ERASE(6)": (0x19,),
        "MODE SENSE(6)": (0x1A,),
        "LOAD UNLOAD": (0x1B,),
        "OPEN/CLOSE IMPORT/EXPORT ELEMENT": (0x1B,),
        "RECEIVE DIAGNOSTIC RESULTS": (0x1C,),
        "SEND DIAGNOSTIC": (0x1D,),
        "PREVENT ALLOW MEDIUM REMOVAL": (0x1E,),
        "LOCATE(10)": (0x2B,),
        "POSITION TO ELEMENT": (0x2B,),
        "READ POSITION SHORT FORM": (0x34, 0x00),
        "READ POSITION LONG FORM": (0x34, 0x06),
        "READ POSITION EXTENDED FORM": (0x34, 0x08),
        "INITIALIZE ELEMENT STATUS WITH RANGE": (0x37,),
        "WRITE BUFFER": (0x3B,),
        "READ BUFFER": (0x3C,),
        "REPORT DENSITY SUPPORT": (0x44,),
        "LOG SELECT": (0x4C,),
        "LOG SENSE": (0x4D,),
        "MODE SELECT(10)": (0x55,),
        "RESERVE(10)": (0x56,),
        "RELEASE(10)": (0x57,),
        "MODE SENSE(10)": (0x5A,),
        "PERSISTENT RESERVE IN": (0x5E, 0x00),
        "PERSISTENT RESERVE IN FULL STATUS": (0x5E, 0x03),
        "PERSISTENT RESERVE OUT": (0x5F, 0x00),
        "ALLOW OVERWRITE": (0x82,),
        "READ ATTRIBUTE": (0x8C, 0x00),
        "READ ATTRIBUTE SUPPORTED ATTRIBUTES": (0x8C, 0x05),
        "WRITE ATTRIBUTE": (0x8D,),
        "SPACE(16)": (0x91,),
        "LOCATE(16)": (0x92,),
        "REPORT LUNS": (0xA0,),
        "SECURITY PROTOCOL IN": (0xA2,),
        "REPORT SUPPORTED OPERATION CODES": (0xA3, 0x0C),
        "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS": (0xA3, 0x0D),
        "REPORT TIMESTAMP": (0xA3, 0x0F),
        "MANAGEMENT PROTOCOL IN": (0xA3, 0x10),
        "SET TIMESTAMP": (0xA4, 0x0F),
        "MOVE MEDIUM": (0xA5,),
        "EXCHANGE MEDIUM": (0xA6,),
        "READ MEDIA SERIAL NUMBER": (0xAB, 0x01),
        "SECURITY PROTOCOL OUT": (0xB5,),
        "REQUEST VOLUME ELEMENT ADDRESS": (0xB5,),
        "SEND VOLUME TAG": (0xB6,),
        "READ ELEMENT STATUS": (0xB8,),
    }
)


def requires(
    *names: str,
    vpd_page: int | None = None,
    mode_page: tuple[int, int] | int | None = None,
    log_page: tuple[int, int] | int | None = None,
) -> pytest.MarkDecorator:
    """Mark a test (or, as `pytestmark`, a module) with the commands and pages it needs.

    A target that has not all of them skips the test, which for our own is a failure.
    """
    features: list[Feature] = [("command", OPERATION_CODES[name]) for name in names]
    if vpd_page is not None:
        features.append(("VPD page", (vpd_page,)))
    for kind, page in (("mode page", mode_page), ("log page", log_page)):
        if page is not None:
            features.append((kind, page if isinstance(page, tuple) else (page, 0)))
    return pytest.mark.requires(*features)


class Features:
    """What one logical unit lists, asked once for each kind and only when a test needs it, by a
    session of its own from `connect`."""

    def __init__(self, connect: Callable[[], Device]) -> None:
        self._connect = connect
        self._known: dict[str, frozenset[tuple[int, ...]] | None] = {}

    def missing(self, feature: Feature) -> str | None:
        """Return a sentence about a feature that is not there, None where it is, or may be."""
        kind, codes = feature
        if kind not in self._known:
            device = self._connect()
            try:
                self._known[kind] = _LISTS[kind](device)
            finally:
                device.session.close()
        listed = self._known[kind]
        # A row without a service action stands for all of them.
        if listed is None or codes in listed or codes[:1] in listed:
            return None
        return f"no {kind} {'/'.join(f'{code:02X}h' for code in codes)}"


def _answer(device: Device, command: Command) -> bytes | None:
    device.attentions()
    response = device.run(command)
    return response.data if response.status == GOOD else None


def _operation_codes(device: Device) -> frozenset[tuple[int, ...]] | None:
    """All commands (SPC-5 6.34.2); descriptors are 8 bytes, with CTDP set 20."""
    data = _answer(device, commands.report_supported_operation_codes())
    if data is None:
        return None
    found: set[tuple[int, ...]] = set()
    at, end = 4, min(len(data), 4 + int.from_bytes(data[:4], "big"))
    while at + 8 <= end:
        action = int.from_bytes(data[at + 2 : at + 4], "big")
        found.add((data[at], action) if data[at + 5] & 0x01 else (data[at],))
        at += 20 if data[at + 5] & 0x02 else 8
    return frozenset(found)


def _vpd_pages(device: Device) -> frozenset[tuple[int, ...]] | None:
    data = _answer(device, commands.inquiry(0x00))
    return None if data is None else frozenset((code,) for code in data[4 : 4 + data[3]])


def _mode_pages(device: Device) -> frozenset[tuple[int, ...]] | None:
    """Every page and subpage (3Fh/FFh), or without subpages the pages alone."""
    for subpage in (0xFF, 0x00):
        data = _answer(device, commands.mode_sense_10(0x3F, subpage))
        if data is not None:
            return frozenset(key for key, _ in mode_pages(data, 8))
        data = _answer(device, commands.mode_sense_6(0x3F, subpage))
        if data is not None:
            return frozenset(key for key, _ in mode_pages(data, 4))
    return None


def mode_pages(data: bytes, header_bytes: int) -> list[tuple[tuple[int, int], bytes]]:
    """Return the pages of MODE SENSE data as (code, subpage) and the whole page.

    `header_bytes` is 4 for MODE SENSE(6) and 8 for MODE SENSE(10).
    """
    short = header_bytes == 4
    length = data[0] + 1 if short else int.from_bytes(data[:2], "big") + 2
    descriptors = data[3] if short else int.from_bytes(data[6:8], "big")
    at, end = header_bytes + descriptors, min(length, len(data))
    pages: list[tuple[tuple[int, int], bytes]] = []
    while at + 2 <= end:
        if data[at] & 0x40:
            size = 4 + int.from_bytes(data[at + 2 : at + 4], "big")
            key = data[at] & 0x3F, data[at + 1]
        else:
            size = 2 + data[at + 1]
            key = data[at] & 0x3F, 0
        pages.append((key, data[at : at + size]))
        at += size
    return pages


def _log_pages(device: Device) -> frozenset[tuple[int, ...]] | None:
    data = _answer(device, commands.log_sense(0x00, 0xFF))
    if data is not None:
        return frozenset(zip(data[4::2], data[5::2], strict=True))
    data = _answer(device, commands.log_sense(0x00))
    return None if data is None else frozenset((code, 0) for code in data[4:])


_LISTS: dict[str, Callable[[Device], frozenset[tuple[int, ...]] | None]] = {
    "command": _operation_codes,
    "VPD page": _vpd_pages,
    "mode page": _mode_pages,
    "log page": _log_pages,
}
