"""Pages that say the same always: temperature, self-tests, requested recovery, the port."""

from __future__ import annotations

from collections.abc import Sequence

from tapectl.scsi.log_pages import LogPage, binary

_SELF_TESTS = 20
_SELF_TEST_BYTES = 16
_UNKNOWN_TEMPERATURE = b"\x00\xff"
_NO_RECOVERY = b"\x00"
_ISCSI = 0x05
_RELATIVE_PORT = 0x0001

STANDING_PAGES: Sequence[LogPage] = (
    # Temperature: FFh, "the device server is unable to return an accurate temperature", and no
    # reference temperature (SPC-5 7.3.21).
    LogPage(0x0D, (binary(0x0000, _UNKNOWN_TEMPERATURE),)),
    # Self-Test Results: the default self-test leaves none, and others there are not. Entries that
    # have not been used are zero (SPC-5 7.3.19).
    LogPage(
        0x10, tuple(binary(1 + number, bytes(_SELF_TEST_BYTES)) for number in range(_SELF_TESTS))
    ),
    # Requested Recovery: none is (SSC-5 8.2.6).
    LogPage(0x13, (binary(0x0000, _NO_RECOVERY),)),
    # Protocol-Specific Port: iSCSI defines nothing beyond whose page it is (SPC-5 7.3.16).
    LogPage(0x18, (binary(_RELATIVE_PORT, bytes((_ISCSI, 0, 0, 0))),)),
)
