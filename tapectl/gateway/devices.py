"""The devices of the library as iSCSI targets: one media changer and its drives, and the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tapectl.errors import ExitCode, TapectlError
from tapectl.gateway.activation import describe_gateway
from tapectl.gateway.drive_types import drive_personalities
from tapectl.gateway.elements import ElementMap
from tapectl.scsi.changer_personality import CHANGER_PERSONALITIES
from tapectl.scsi.library import ElementType
from tapectl.state import chap, tapes
from tapectl.state.database import State
from tapectl.state.gateways import GatewayRecord

CHANGER_NUMBER = 0
"""Number of the changer among the devices; drives are 1, 2, ..."""

ALL_DEVICES = "all"
"""In the place of a device: the changer and every drive."""

DISCOVERY = "discovery"
"""In the place of a device: discovery sessions, which have credentials of their own."""

LIBRARY_NUMBER = -1
"""Number of the target of the whole library in the place of a device's."""

LIBRARY = "library"
"""Name of the target of the whole library in the place of a device's."""

CHANGER_KIND = "Medium Changer"
DRIVE_KIND = "Tape Drive"
LIBRARY_KIND = "Tape Library"


class DeviceNotFoundError(TapectlError):
    """The library has no such device."""

    exit_code = ExitCode.DEVICE_NOT_FOUND
    code = "device_not_found"
    aws_code = "TargetNotFound"

    def __init__(self, text: str) -> None:
        super().__init__(f"no such device: {text}", hint="run `tapectl device list`")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    """A device, or the whole library as one. `drive_number` is 0 for the changer, -1 for the
    library, else counts from 1.

    `kind` is AWS's VTLDeviceType, `device_type` the key of the personality (`STK-L700`).
    `name` is `mediachanger`, `tapedrive-01` or `library`; `target_name` the whole iSCSI name.
    `serial` is that of INQUIRY pages 80h and 83h; a drive's has 10 characters.
    """

    drive_number: int
    id: str
    name: str
    kind: str
    device_type: str
    vendor: str
    product: str
    revision: str
    serial: str
    target_name: str
    element_address: int
    loaded_barcode: str | None
    chap_enabled: bool


def device_id(gateway: GatewayRecord, number: int) -> str:
    """Return the id AWS's device ARNs end in: `SGW-1FAD4876_TAPEDRIVE_00001`."""
    if number == CHANGER_NUMBER:
        return f"{gateway.id.upper()}_MEDIACHANGER_00001"
    return f"{gateway.id.upper()}_TAPEDRIVE_{number:05d}"


def device_name(number: int) -> str:
    """Return `mediachanger` or `tapedrive-01`."""
    return "mediachanger" if number == CHANGER_NUMBER else f"tapedrive-{number:02d}"


def device_serial(gateway: GatewayRecord, number: int) -> str:
    """Return what the serial number of a device is made of, and of a drive is: 10 characters,
    unique by gateway and device."""
    return f"{gateway.device_serial_base}{number:02d}"


def target_name(gateway: GatewayRecord, number: int) -> str:
    """Return the iSCSI name of a device's target."""
    return f"{gateway.iqn_prefix}:{gateway.id.lower()}-{device_name(number)}"


def discovery_name(state: State) -> str:
    """Return the name by which the gateway proves itself in discovery sessions (mutual CHAP)."""
    gateway = describe_gateway(state)
    return f"{gateway.iqn_prefix}:{gateway.id.lower()}-discovery"


def list_devices(state: State) -> Sequence[DeviceInfo]:
    """Return the changer and the drives, in this order."""
    gateway = describe_gateway(state)
    elements = ElementMap.of(gateway)
    with state.read() as db:
        loaded = {occupant.element_address: occupant.barcode for occupant in tapes.occupants(db)}
        with_chap = {entry.target for entry in chap.entries(db)}
    changer, drives = CHANGER_PERSONALITIES[gateway.changer_type], drive_personalities(state)
    devices: list[DeviceInfo] = []
    for number in range(gateway.drive_count + 1):
        is_changer = number == CHANGER_NUMBER
        identity = changer if is_changer else drives[number - 1]
        serial = device_serial(gateway, number)
        if is_changer:
            serial = changer.unit_serial(serial, elements.address(ElementType.STORAGE, 1))
        address = (
            elements.address(ElementType.MEDIUM_TRANSPORT, 1)
            if is_changer
            else elements.address(ElementType.DATA_TRANSFER, number)
        )
        devices.append(
            DeviceInfo(
                drive_number=number,
                id=device_id(gateway, number),
                name=device_name(number),
                kind=CHANGER_KIND if is_changer else DRIVE_KIND,
                device_type=identity.name,
                vendor=identity.vendor,
                product=identity.product,
                revision=identity.revision,
                serial=serial,
                target_name=target_name(gateway, number),
                element_address=address,
                loaded_barcode=loaded.get(address),
                chap_enabled=device_name(number) in with_chap,
            )
        )
    return devices


def library_device(state: State) -> DeviceInfo:
    """Return the whole library as one target; its identity is the changer's, which is LUN 0."""
    gateway = describe_gateway(state)
    with state.read() as db:
        with_chap = {entry.target for entry in chap.entries(db)}
    return replace(
        list_devices(state)[CHANGER_NUMBER],
        drive_number=LIBRARY_NUMBER,
        id=f"{gateway.id.upper()}_LIBRARY_00001",
        name=LIBRARY,
        kind=LIBRARY_KIND,
        target_name=f"{gateway.iqn_prefix}:{gateway.id.lower()}-{LIBRARY}",
        chap_enabled=bool(with_chap - {DISCOVERY}),
    )


def find_device(state: State, text: str) -> DeviceInfo:
    """Return the device with this id, name, target name or serial; a bare number is a drive's.

    The target of the whole library is found too, whether it is served or not. Raises
    DeviceNotFoundError.
    """
    for device in (*list_devices(state), library_device(state)):
        if text in (device.id, device.name, device.target_name, device.serial):
            return device
        if device.drive_number > CHANGER_NUMBER and text == str(device.drive_number):
            return device
    raise DeviceNotFoundError(text)


def devices_meant(state: State, text: str) -> Sequence[DeviceInfo]:
    """Return the device of a name, or every one for `all`; raise DeviceNotFoundError."""
    return list_devices(state) if text == ALL_DEVICES else [find_device(state, text)]
