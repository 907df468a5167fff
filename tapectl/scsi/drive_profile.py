"""A user's own changes to a drive's identity: what INQUIRY says, and vendor-specific VPD pages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tapectl.scsi.personality import DrivePersonality, VendorPage

_TEXT_BYTES = {"vendor": 8, "product": 16, "revision": 4}
_VENDOR_BYTES = 20
_FIRST_VENDOR_PAGE, _LAST_VENDOR_PAGE = 0xC0, 0xFF
_MAX_PAGE_BYTES = 1024
_PRINTABLE = re.compile(r"[ -~]+")


def customise(personality: DrivePersonality, profile: Mapping[str, Any]) -> DrivePersonality:
    """Return a personality with a profile's changes.

    `vendor`, `product` and `revision` are texts, `inquiry_vendor_bytes` the hex digits of bytes 36
    to 55 of standard INQUIRY data. `vpd` has pages by code (`c0` to `ff`), the hex digits of what
    follows the page's header; no digits take the page away. Raises ValueError, saying what is
    wrong, for everything else.
    """
    unknown = profile.keys() - {*_TEXT_BYTES, "inquiry_vendor_bytes", "vpd"}
    if unknown:
        raise ValueError(f"not known: {', '.join(sorted(unknown))}")
    for name, size_bytes in _TEXT_BYTES.items():
        text = profile.get(name)
        if text is not None:
            if not isinstance(text, str) or _PRINTABLE.fullmatch(text) is None:
                raise ValueError(f"{name} is not ASCII text: {text!r}")
            if len(text) > size_bytes:
                raise ValueError(f"{name} has more than {size_bytes} characters: {text}")
    vendor_bytes = personality.inquiry_vendor_bytes
    if "inquiry_vendor_bytes" in profile:
        vendor_bytes = _hex("inquiry_vendor_bytes", profile["inquiry_vendor_bytes"], _VENDOR_BYTES)
    return replace(
        personality,
        vendor=profile.get("vendor", personality.vendor),
        product=profile.get("product", personality.product),
        revision=profile.get("revision", personality.revision),
        inquiry_vendor_bytes=vendor_bytes.ljust(_VENDOR_BYTES, b"\0"),
        vendor_pages=_pages(personality, profile.get("vpd", {})),
    )


def _pages(personality: DrivePersonality, changes: object) -> tuple[VendorPage, ...]:
    if not isinstance(changes, Mapping):
        raise ValueError("vpd is no table of pages")
    pages = {page.code: page for page in personality.vendor_pages}
    for name, digits in changes.items():
        try:
            code = int(name, 16)
        except ValueError:
            code = -1
        if not _FIRST_VENDOR_PAGE <= code <= _LAST_VENDOR_PAGE:
            raise ValueError(f"not a vendor-specific page, c0 to ff: {name}")
        body = _hex(f"page {name}", digits, _MAX_PAGE_BYTES)
        if body:
            pages[code] = VendorPage(code, data=body)
        else:
            pages.pop(code, None)
    return tuple(pages[code] for code in sorted(pages))


def _hex(name: str, digits: object, max_bytes: int) -> bytes:
    try:
        value = bytes.fromhex(str(digits))
    except ValueError as exc:
        raise ValueError(f"{name} is not written in hex digits: {digits}") from exc
    if len(value) > max_bytes:
        raise ValueError(f"{name} has more than {max_bytes} bytes")
    return value
