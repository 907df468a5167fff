"""`tapectl device`: the media changer and the drives, as iSCSI targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from tapectl.cli.alert_rows import show_tape_alerts, tape_alert_rows
from tapectl.cli.options import Device, Output, examples
from tapectl.cli.render import Column, Row, render_record, render_rows, show_yes
from tapectl.cli.session import open_gateway

if TYPE_CHECKING:
    from tapectl.gateway.devices import DeviceInfo
    from tapectl.gateway.settings import Settings

app = typer.Typer(no_args_is_help=True, help="The media changer and the drives, as iSCSI targets.")

# fmt: off
LIST_COLUMNS = (
    Column("Device", "Device"),
    Column("VTLDeviceType", "Type"),
    Column("VTLDeviceVendor", "Vendor"),
    Column("VTLDeviceProductIdentifier", "Product"),
    Column("SerialNumber", "Serial"),
    Column("TapeBarcode", "Tape"),
    Column("TargetARN", "Target"),
)
DETAIL_COLUMNS = (
    *LIST_COLUMNS[:4],
    Column("ProductRevision", "Revision"),
    *LIST_COLUMNS[4:],
    Column("NetworkInterfaceId", "Address"),
    Column("NetworkInterfacePort", "Port"),
    Column("ChapEnabled", "CHAP", show_yes),
    Column("ElementAddress", "Element"),
    Column("VTLDeviceARN", "Id"),
    Column("TapeAlerts", "TapeAlert", show_tape_alerts),
)
# fmt: on


def _device_row(device: DeviceInfo, settings: Settings) -> Row:
    """Return the JSON object of a device; the address is the first that is listened on."""
    listen = settings.listen[0]
    return {
        "Device": device.name,
        "VTLDeviceARN": device.id,
        "VTLDeviceType": device.kind,
        "VTLDeviceVendor": device.vendor,
        "VTLDeviceProductIdentifier": device.product,
        "ProductRevision": device.revision,
        "SerialNumber": device.serial,
        "TargetARN": device.target_name,
        "NetworkInterfaceId": listen.host,
        "NetworkInterfacePort": listen.port,
        "ChapEnabled": device.chap_enabled,
        "ElementAddress": device.element_address,
        "TapeBarcode": device.loaded_barcode,
    }


@app.command(
    "list",
    epilog=examples(
        ("tapectl device list", "what an initiator finds"),
        ("tapectl device list --output json | jq -r '.[].TargetARN'", "the targets' names"),
    ),
)
def list_(context: typer.Context, output: Output = None) -> None:
    """List the devices: the media changer, then the drives."""
    from tapectl.gateway.devices import list_devices

    with open_gateway(context) as (state, settings):
        rows = [_device_row(device, settings) for device in list_devices(state)]
    render_rows(rows, LIST_COLUMNS, output=output, empty="no devices")


@app.command(
    "show", epilog=examples(("tapectl device show tapedrive-01", "its target, serial and tape"))
)
def show(context: typer.Context, device: Device, output: Output = None) -> None:
    """Show all about one device; by its name, number, serial or target name.

    While the gateway serves, also which TapeAlert flags are active.
    """
    from tapectl.gateway.devices import find_device
    from tapectl.serve.client import connect

    with open_gateway(context) as (state, settings):
        found = find_device(state, device)
        row = _device_row(found, settings)
        supervisor = connect(settings.state_path)
        if supervisor is not None:
            with supervisor:
                alerts = tape_alert_rows(supervisor.request("status"), found)
            row = {**row, "TapeAlerts": alerts}
    render_record(row, DETAIL_COLUMNS, output=output)
