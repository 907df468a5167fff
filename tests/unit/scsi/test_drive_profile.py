"""A user's own identity of a drive: what it changes, and what it may not be."""

from __future__ import annotations

import pytest

from tapectl.scsi.drive_profile import customise
from tapectl.scsi.personality import DRIVE_PERSONALITIES
from tapectl.scsi.ssc.drive import TapeDrive
from tests.support.scsi_initiator import Initiator

LTO8 = DRIVE_PERSONALITIES["IBM-ULT3580-TD8"]


def test_a_profile_changes_what_inquiry_says():
    profile = {
        "vendor": "ACME",
        "product": "Vault 8",
        "revision": "A1",
        "inquiry_vendor_bytes": "0102 03",
        "vpd": {"c0": "", "c5": "cafe", "D0": "7b7d"},
    }
    host = Initiator(TapeDrive(customise(LTO8, profile), serial="1FAD487601"))
    data = host.good("1200000060")
    assert data[8:36] == b"ACME    Vault 8         A1  "
    assert data[36:56] == b"\x01\x02\x03" + bytes(17)
    listed = set(host.good("12010000ff")[4:])
    assert listed & set(range(0xC0, 0x100)) == {0xC1, 0xC5, 0xD0}
    assert host.good("1201c500ff").hex() == "01c50002cafe"
    assert host.good("1201d000ff") == b"\x01\xd0\0\x02{}"
    assert host.good("12018300ff")[8:42] == b"ACME    Vault 8         1FAD487601"
    assert customise(LTO8, {}) == LTO8


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ({"vendr": "ACME"}, "vendr"),
        ({"vendor": "ACME CORPORATION"}, "more than 8"),
        ({"product": "ü"}, "ASCII"),
        ({"revision": ""}, "ASCII"),
        ({"revision": 5}, "ASCII"),
        ({"inquiry_vendor_bytes": "00" * 21}, "more than 20"),
        ({"inquiry_vendor_bytes": "0g"}, "hex"),
        ({"vpd": {"83": "00"}}, "83"),
        ({"vpd": {"100": "00"}}, "100"),
        ({"vpd": {"x": "00"}}, "x"),
        ({"vpd": {"c0": "zz"}}, "c0"),
        ({"vpd": "c0"}, "table"),
    ],
)
def test_what_is_no_profile(profile, message):
    with pytest.raises(ValueError, match=message):
        customise(LTO8, profile)
