"""What LTO drives have had from some generation on. What is named nowhere here they all have.

Sources: IBM's LTO Ultrium SCSI References WB1109-02 (LTO-1), GA32-0450 (LTO-1 to 4) and GA32-0928
(LTO-5 on), HP's Ultrium technical reference manuals, volume 3, of LTO-2 (C7379-90900), LTO-3
(Q1530-90901) and LTO-4, Quantum's of LTO-3 and 4. SPACE(16) and LOCATE(16) are of LTO-4, with which
Proxmox Backup works, that sends them. Commands for partitions, and pages that no manual of the
first four generations has, are of LTO-5.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

from tapectl.scsi.mode_pages import PageCode

K = TypeVar("K")

# FORMAT MEDIUM, ALLOW OVERWRITE; SPACE(16), LOCATE(16), SECURITY PROTOCOL IN and OUT.
COMMANDS: Mapping[int, int] = MappingProxyType(
    {0x04: 5, 0x82: 5, 0x91: 4, 0x92: 4, 0xA2: 4, 0xB5: 4}
)
"""First generation by operation code."""

MODE_PAGES: Mapping[PageCode, int] = MappingProxyType(
    {
        (0x0A, 0x00): 2,
        (0x0A, 0x01): 4,
        (0x0A, 0xF0): 5,
        (0x10, 0x01): 3,
        (0x1A, 0x00): 4,
        (0x1D, 0x00): 3,
    }
)

LOG_PAGES: Mapping[int, int] = MappingProxyType(
    {
        0x10: 5,
        0x11: 3,
        **dict.fromkeys((0x12, 0x13, 0x14, 0x16, 0x17, 0x1B, 0x37), 5),
    }
)

VPD_PAGES: Mapping[int, int] = MappingProxyType(
    {
        0x86: 3,
        0xB0: 3,
        **dict.fromkeys((0x85, 0x87, 0x88, 0x90, 0xB1, 0xB2, 0xB3, 0xB4, 0xB5), 5),
    }
)


def unknown_to(generation: int, introductions: Mapping[K, int]) -> frozenset[K]:
    """Return what drives of a generation do not have yet."""
    return frozenset(one for one, first in introductions.items() if generation < first)
