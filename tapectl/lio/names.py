"""What our objects in the kernel's target are called: by these names they are known as ours."""

from __future__ import annotations

import hashlib

SUBTYPE = "tapectl"
"""First part of the configuration string of our storage objects; other handlers pass them over."""


def storage_object_name(gateway_id: str, device_name: str) -> str:
    """Return `sgw-1fad4876-tapedrive-01`, the name of a device's storage object."""
    return f"{gateway_id.lower()}-{device_name}"


def is_storage_object_of(gateway_id: str, name: str) -> bool:
    """Say whether a storage object of that name is one of the gateway's."""
    return name.startswith(storage_object_name(gateway_id, ""))


def loopback_name(gateway_id: str, device_name: str) -> str:
    """Return the name of a device's target of the loopback fabric, always the same: naa.5...

    NAA 5 (SPC-5 7.7.3.6.5), the company id that the kernel's target uses, and 36 bits of a hash.
    """
    name = storage_object_name(gateway_id, device_name)
    return f"naa.5001405{hashlib.sha256(name.encode()).hexdigest()[:9]}"
