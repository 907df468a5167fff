"""Mode and log pages as a client reads and writes them."""

from __future__ import annotations

import struct

from tests.conformance import commands as c
from tests.conformance.device import GOOD, Device
from tests.conformance.requirements import mode_pages

CURRENT, CHANGEABLE, DEFAULT, SAVED = range(4)
PageKey = tuple[int, int]


def mode_page(device: Device, key: PageKey, control: int = CURRENT) -> bytes:
    """Return one mode page, with its header and without PS."""
    data = device.good(c.mode_sense_10(*key, control=control, dbd=True))
    ((found, page),) = mode_pages(data, 8)
    assert found == key
    return bytes((page[0] & 0x7F,)) + page[1:]


def select_page(page: bytes, *, save: bool = False) -> c.Command:
    """Return MODE SELECT(10) of one page, with the buffered mode as it is by default."""
    return c.mode_select_10(bytes((0, 0, 0, 0x10)) + bytes(4) + page, save=save)


class ModePageKeeper:
    """Changes mode pages, and brings back what they were."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._before: dict[PageKey, bytes] = {}

    def current(self, key: PageKey) -> bytes:
        """Return a page as it is; it is brought back at the end."""
        page = mode_page(self._device, key)
        self._before.setdefault(key, page)
        return page

    def change(self, key: PageKey, byte: int, value: int, mask: int = 0xFF) -> None:
        """Set the bits of `mask` in one byte of a page, counted from its first."""
        page = bytearray(self.current(key))
        page[byte] = page[byte] & ~mask & 0xFF | value & mask
        self._device.good(select_page(bytes(page)))

    def restore(self) -> None:
        for key, page in self._before.items():
            self._device.attentions()
            if mode_page(self._device, key) != page:
                self._device.run(select_page(page))


def log_parameters(device: Device, page: int, subpage: int = 0) -> dict[int, bytes]:
    """Return a log page's parameters by code; the page's header and order are checked."""
    data = device.good(c.log_sense(page, subpage))
    assert data[0] & 0x3F == page
    assert int.from_bytes(data[2:4], "big") == len(data) - 4
    found: dict[int, bytes] = {}
    at = 4
    while at < len(data):
        code, _, length = struct.unpack_from(">HBB", data, at)
        assert code > max(found, default=-1), "parameter codes shall ascend"
        found[code] = data[at + 4 : at + 4 + length]
        assert len(found[code]) == length
        at += 4 + length
    return found


def log_number(device: Device, page: int, code: int) -> int:
    return int.from_bytes(log_parameters(device, page)[code], "big")


def logical_unit_reset(device: Device) -> None:
    """Reset the unit by task management; its function response is FUNCTION COMPLETE."""
    assert device.session.task_management(5, device.lun) == 0
    device.attentions()
    assert device.run(c.inquiry()).status == GOOD
