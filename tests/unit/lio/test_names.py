"""The names by which our objects in the kernel's target are known."""

from __future__ import annotations

import re

from tapectl.gateway.devices import device_name
from tapectl.lio.names import is_storage_object_of, loopback_name, storage_object_name


def test_a_storage_object_says_whose_it_is() -> None:
    name = storage_object_name("SGW-1FAD4876", "tapedrive-01")
    assert name == "sgw-1fad4876-tapedrive-01"
    assert is_storage_object_of("sgw-1fad4876", name)
    assert not is_storage_object_of("sgw-1fad487", name)
    assert not is_storage_object_of("sgw-1fad4876", "disk0")


def test_loopback_names_are_lasting_valid_and_apart() -> None:
    names = {loopback_name("sgw-1fad4876", device_name(number)) for number in range(65)}
    assert len(names) == 65
    # What rtslib takes as a name of this fabric.
    assert all(re.fullmatch(r"naa\.5001405[0-9a-f]{9}", name) for name in names)
    assert loopback_name("sgw-1fad4876", "mediachanger") in names
    assert loopback_name("sgw-1fad4877", "mediachanger") not in names
