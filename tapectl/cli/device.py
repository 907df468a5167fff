"""`tapectl device`: the media changer and the drives, as iSCSI targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from tapectl.cli import completing
from tapectl.cli.alert_rows import show_tape_alerts, tape_alert_rows
from tapectl.cli.gateway import GATEWAY_COLUMNS, gateway_row
from tapectl.cli.options import Device, Initiator, Output, examples
from tapectl.cli.render import Column, Row, render_record, render_rows, show_list, show_yes
from tapectl.cli.session import actor, change_access, open_gateway

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
    Column("AllowedInitiators", "Initiators", show_list),
    Column("ElementAddress", "Element"),
    Column("VTLDeviceARN", "Id"),
    Column("TapeAlerts", "TapeAlert", show_tape_alerts),
)
LISTED_COLUMNS = (
    Column("Device", "Device"),
    Column("AllowedInitiators", "Initiators", show_list),
)
# fmt: on
REMOVED_COLUMNS = (Column("Name", "Removed"),)
DeviceOrAll = Annotated[
    str,
    typer.Argument(
        metavar="DEVICE",
        show_default=False,
        autocompletion=completing.devices_or_all,
        help="Device, as `tapectl device list` shows it, or all.",
    ),
]


def _device_row(device: DeviceInfo, settings: Settings, listed: Mapping[str, Sequence[str]]) -> Row:
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
        "AllowedInitiators": list(listed.get(device.name, ())),
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
    """List the devices: the media changer, then the drives.

    With the setting library_target also the library, which is all of them as one target.
    """
    from tapectl.gateway.devices import library_device, list_devices
    from tapectl.gateway.initiators import allowed_initiators

    with open_gateway(context) as (state, settings):
        listed = allowed_initiators(state)
        devices = list(list_devices(state))
        if settings.library_target:
            devices.append(library_device(state))
        rows = [_device_row(device, settings, listed) for device in devices]
    render_rows(rows, LIST_COLUMNS, output=output, empty="no devices")


@app.command(
    "show", epilog=examples(("tapectl device show tapedrive-01", "its target, serial and tape"))
)
def show(context: typer.Context, device: Device, output: Output = None) -> None:
    """Show all about one device.

    By its name, number, serial or target name. While the gateway serves, also which TapeAlert flags
    are active.
    """
    from tapectl.gateway.devices import find_device
    from tapectl.gateway.initiators import allowed_initiators
    from tapectl.serve.client import connect

    with open_gateway(context) as (state, settings):
        found = find_device(state, device)
        row = _device_row(found, settings, allowed_initiators(state))
        supervisor = connect(settings.state_path)
        if supervisor is not None:
            with supervisor:
                alerts = tape_alert_rows(supervisor.request("status"), found)
            row = {**row, "TapeAlerts": alerts}
    render_record(row, DETAIL_COLUMNS, output=output)


@app.command(
    "allow",
    epilog=examples(
        ("tapectl device allow all iqn.1993-08.org.debian:01:abc", "the whole library to one host"),
        ("tapectl device allow tapedrive-02 iqn.1993-08.org.debian:01:def", "one drive to another"),
    ),
)
def allow(
    context: typer.Context, device: DeviceOrAll, initiator: Initiator, output: Output = None
) -> None:
    """Let an initiator log in to a device.

    Only those that are listed are let in from then on. A device without a list takes every
    initiator; with its first entry nobody else sees it any more, and sessions of others end. A name
    is a claim and no proof: CHAP comes on top of it.
    """
    from tapectl.gateway.initiators import allow_initiator, allowed_initiators

    with change_access(context, initiator) as (state, changed):
        found = allow_initiator(state, device, initiator, actor=actor())
        changed += [each.name for each in found]
        rows = _listed_rows(changed, allowed_initiators(state))
    render_rows(rows, LISTED_COLUMNS, output=output, empty="no devices")


@app.command(
    "disallow",
    epilog=examples(
        ("tapectl device disallow all iqn.1993-08.org.debian:01:abc", "its sessions end at once"),
    ),
)
def disallow(
    context: typer.Context, device: DeviceOrAll, initiator: Initiator, output: Output = None
) -> None:
    """Take an initiator off the list of a device.

    Its sessions there end. With its last entry gone a device takes every initiator again.
    """
    from tapectl.gateway.initiators import allowed_initiators, disallow_initiator

    with change_access(context, initiator) as (state, changed):
        found = disallow_initiator(state, device, initiator, actor=actor())
        changed += [each.name for each in found]
        rows = _listed_rows(changed, allowed_initiators(state))
    render_rows(rows, LISTED_COLUMNS, output=output, empty="no devices")


@app.command(
    "set-changer",
    epilog=examples(
        ("tapectl device set-changer STK-L700", "a library that looks like a StorageTek L700"),
        ("tapectl device set-changer --slots 3200 --drives 12", "more slots and drives"),
    ),
)
def set_changer(
    context: typer.Context,
    changer: Annotated[
        str | None,
        typer.Argument(
            metavar="TYPE",
            autocompletion=completing.changer_types,
            show_default="as it is",
            help="What the media changer is to look like; `tapectl activate --help` names all.",
        ),
    ] = None,
    drives: Annotated[
        int | None, typer.Option("--drives", metavar="N", help="How many drives, 1 to 64.")
    ] = None,
    slots: Annotated[
        int | None,
        typer.Option("--slots", metavar="N", help="How many storage slots, 1 to 10000."),
    ] = None,
    import_export: Annotated[
        int | None,
        typer.Option(
            "--import-export", metavar="N", help="How many import/export slots, 1 to 10000."
        ),
    ] = None,
    output: Output = None,
) -> None:
    """Change what the library looks like.

    Another media changer, more or fewer elements. Every tape stays in the slot of its number. While
    `tapectl serve` runs a library can only get more drives and slots: initiators are told, and find
    new drives when they look for targets again. For another changer, or fewer elements, stop
    `tapectl serve` first.
    """
    from tapectl.gateway.library_change import LibraryChange, change_library
    from tapectl.gateway.stores import open_store
    from tapectl.serve.client import library_change

    change = LibraryChange(
        changer_type=changer,
        drive_count=drives,
        slot_count=slots,
        import_export_count=import_export,
    )
    with open_gateway(context) as (state, settings):
        with library_change(settings.state_path) as served:
            gateway = change_library(
                state,
                change,
                open_store=lambda record: open_store(record, settings),
                served=served,
                actor=actor(),
            )
        render_record(gateway_row(gateway, settings), GATEWAY_COLUMNS, output=output)


@app.command(
    "lio-clean",
    epilog=examples(
        ("tapectl device lio-clean", "after a `tapectl serve --frontend lio` that was killed"),
    ),
)
def lio_clean(context: typer.Context, output: Output = None) -> None:
    """Remove this gateway's objects from the kernel's target.

    `tapectl serve --frontend lio` does so when it ends; this is for one that was killed, where
    none will follow. Refused while the gateway is served. Others' objects stay as they are.
    """
    from tapectl.serve.kernel_cleaning import clean_kernel_target

    with open_gateway(context) as (state, settings):
        removed = clean_kernel_target(state, settings)
    rows: list[Row] = [{"Name": name} for name in removed]
    render_rows(rows, REMOVED_COLUMNS, output=output, empty="nothing to remove")


def _listed_rows(names: Sequence[str], listed: Mapping[str, Sequence[str]]) -> list[Row]:
    return [{"Device": name, "AllowedInitiators": list(listed.get(name, ()))} for name in names]
