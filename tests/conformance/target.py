"""What the suite runs against: somebody's portal, or a gateway of our own that it starts."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from tests.conformance import commands
from tests.conformance.device import GOOD, Device
from tests.support.gateway import Gateway
from tests.support.initiator import Session, SessionOptions
from tests.support.tape_client import MediaChanger

OTHER_INITIATOR = "iqn.2000-01.example.test:other"
DRIVES, SLOTS, IMPORT_EXPORT = 2, 12, 3
# What the tests do with it decides which tape it is; barcodes of a foreign library are options.
SCRATCH, SMALL, WORM, PROTECTED = "scratch", "small", "worm", "protected"
# Storage, import/export, data transfer: the elements where a tape can be (SMC-3 table 5).
_FULL_TYPES = (2, 3, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where the logical units are. `tapes` says which barcode plays which part.

    `gateway` is set when the target is our own. With no changer, the tape that is in the drive
    is the scratch one, and whatever needs another is skipped. `revive` is the shell command that
    starts a target again which a test has crashed.
    """

    portal: tuple[str, int]
    drive: tuple[str, int]
    changer: tuple[str, int] | None
    drive_element: int | None = None
    tapes: Mapping[str, str] = field(default_factory=dict)
    options: SessionOptions = field(default_factory=SessionOptions)
    gateway: Gateway | None = None
    revive: str | None = None

    @property
    def own(self) -> bool:
        return self.gateway is not None

    def connect(self, unit: tuple[str, int], *, initiator: str | None = None) -> Device:
        """Log in to a logical unit, by another initiator name if one is given."""
        name, lun = unit
        options = self.options
        if initiator is not None:
            options = replace(options, initiator_name=initiator)
        try:
            session = Session(self.portal, name, options)
        except ConnectionRefusedError:
            if self.revive is None:
                raise
            subprocess.run(self.revive, shell=True, check=True, stdout=subprocess.DEVNULL)
            session = Session(self.portal, name, options)
        return Device(session, lun, lenient=not self.own)


def start_own(gateway: Gateway, *identities: str) -> Target:
    """Make and serve a gateway with a tape for each part but the protected one.

    `identities` are options of `tapectl activate` that say what its devices look like.
    """
    counts = {"--drives": DRIVES, "--slots": SLOTS, "--import-export": IMPORT_EXPORT}
    gateway.activate(*identities, *(str(word) for pair in counts.items() for word in pair))
    gateway.serve()
    small = ("--allow-small",)
    tapes: dict[str, str] = {}
    for part, size, options in (
        (SCRATCH, "4GiB", ("--barcode", "CNFS01L5", *small)),
        (SMALL, "8MiB", ("--barcode", "CNFM01L5", *small)),
        (WORM, "4GiB", ("--barcode", "CNFW01LV", "--worm", *small)),
        (PROTECTED, "4GiB", ("--barcode", "CNFP01L5", *small)),
    ):
        (tapes[part],) = gateway.create_tapes(*options, size=size)
    # Two more that nobody writes to, for the moves of the changer's tests.
    gateway.create_tapes("--count", "2", "--prefix", "CX", *small, size="1GiB")
    names = gateway.targets()
    return Target(
        portal=gateway.portal,
        drive=(names["tapedrive-01"], 0),
        changer=(names["mediachanger"], 0),
        tapes=tapes,
        gateway=gateway,
    )


def protect(target: Target, barcode: str) -> None:
    """Make a tape write protected: on our own, what has come back from the shelf is."""
    assert target.gateway is not None
    gateway = target.gateway
    gateway.cli("tape", "eject", barcode)
    gateway.wait_status(barcode, "ARCHIVED")
    gateway.cli("tape", "retrieve", barcode)
    gateway.wait_status(barcode, "RETRIEVED")


class Robot:
    """Puts tapes into the drive under test by the target's changer."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._loaded: str | None = None

    def forget(self) -> None:
        """Look at the library before the next move: somebody else has moved something."""
        self._loaded = None

    def put(self, barcode: str, unload: Callable[[], object]) -> bool:
        """Put a tape into the drive unless it is there; return whether it had to be moved.

        `unload` makes the drive let go of the one that is in it. Raises KeyError where the
        library has no such tape.
        """
        if self._loaded == barcode:
            return False
        assert self._target.changer is not None
        name, lun = self._target.changer
        with Session(self._target.portal, name, self._target.options) as session:
            changer = MediaChanger(session, lun)
            moved = self._put(changer, barcode, unload)
            session.logout()
        self._loaded = barcode
        return moved

    def _put(self, changer: MediaChanger, barcode: str, unload: Callable[[], object]) -> bool:
        # Type by type: not every changer can tell of all of them at once.
        found = [element for kind in _FULL_TYPES for element in changer.elements(kind)]
        elements = {element.address: element for element in found}
        address = self._target.drive_element
        if address is None:
            address = changer.addresses().data_transfer[0]
        drive = elements[address]
        if drive.full and drive.volume_tag == barcode:
            return False
        source = next(e.address for e in elements.values() if e.volume_tag == barcode)
        if drive.full:
            unload()
            empty = next(e.address for e in changer.elements(2) if not e.full)
            changer.move(address, empty)
        changer.move(source, address)
        return True


def clear_persistent_reservations(device: Device) -> None:
    """Remove every registration, whosever it is."""
    response = device.run(commands.persistent_reserve_in(commands.READ_KEYS))
    if response.status != GOOD or not int.from_bytes(response.data[4:8], "big"):
        return
    key = 0x436C656172  # any
    register = commands.REGISTER_AND_IGNORE
    device.run(commands.persistent_reserve_out(register, service_action_key=key))
    device.run(commands.persistent_reserve_out(commands.CLEAR, key=key))
