"""`tapectl gateway`: gateways as their bucket knows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tapectl.cli.asking import confirm
from tapectl.cli.gateway import (
    GATEWAY_COLUMNS,
    QUOTA_COLUMNS,
    gateway_row,
    quota_row,
    standing_row,
)
from tapectl.cli.named_store import EndpointUrl, Profile, Region, StoreUrl, open_named_store
from tapectl.cli.options import Output, Yes, examples
from tapectl.cli.render import (
    Column,
    Row,
    iso_time,
    render_record,
    render_rows,
    show_time,
    show_yes,
)
from tapectl.cli.session import actor, load_settings, open_gateway
from tapectl.cli.tag import show_tags, tag_list
from tapectl.cli.waiting import Progress, progress_bar
from tapectl.units import format_size

if TYPE_CHECKING:
    from tapectl.gateway.adoption import Adoption
    from tapectl.gateway.gateway_document import GatewayDocument
    from tapectl.gateway.settings import Settings

app = typer.Typer(
    no_args_is_help=True, help="Gateways in their bucket: list, disable, become one of them."
)


def _show_unuploaded(value: object) -> str:
    """Return the tapes that lack something, for people."""
    if not isinstance(value, list):
        return ""
    return ", ".join(f"{one['TapeBarcode']} {format_size(one['WaitingBytes'])}" for one in value)


def _show_serving(value: object) -> str:
    return "yes" if value == "STATE_RUNNING" else "no"


def _show_interfaces(value: object) -> str:
    """Return where a gateway can be reached, for people."""
    if not isinstance(value, list):
        return ""
    hosts = ((one.get("Ipv4Address") or f"[{one['Ipv6Address']}]", one["Port"]) for one in value)
    return ", ".join(f"{host}:{port}" for host, port in hosts)


def _show_chap(value: object) -> str:
    """Return where CHAP secrets are missing, for people."""
    if not isinstance(value, list):
        return ""
    return ", ".join(f"{one['Target']} {one['InitiatorName']}" for one in value)


def _show_words(value: object) -> str:
    return ", ".join(value) if isinstance(value, list) else ""


# fmt: off
LIST_COLUMNS = (
    Column("GatewayId", "Gateway"),
    Column("GatewayName", "Name"),
    Column("GatewayOperationalState", "State"),
    Column("MediumChangerType", "Changer"),
    Column("TapeDriveType", "Drives are"),
    Column("DriveCount", "Drives", right=True),
    Column("SlotCount", "Slots", right=True),
    Column("ActivatedDate", "Activated", show_time),
    Column("DisabledDate", "Disabled", show_time),
    Column("DisabledBy", "By"),
    Column("Tags", "Tags", show_tags),
)
SHOW_COLUMNS = (
    *GATEWAY_COLUMNS[:2],
    Column("GatewayOperationalState", "Standing"),
    Column("StateDetail", "Because"),
    Column("StateDate", "Since", show_time),
    Column("Epoch", "Epoch"),
    Column("GatewayState", "Serving", _show_serving),
    Column("GatewayNetworkInterfaces", "Listens at", _show_interfaces),
    Column("SoftwareVersion", "Version"),
    *GATEWAY_COLUMNS[2:],
    *QUOTA_COLUMNS,
)
ADOPTED_COLUMNS = (
    *GATEWAY_COLUMNS,
    Column("Epoch", "Epoch"),
    Column("Tapes", "Tapes"),
    Column("InventoryDate", "As it was at", show_time),
    Column("NotUploaded", "Not in the bucket", _show_unuploaded),
    Column("ChapToSet", "CHAP secrets to set", _show_chap),
    Column("MissingKeys", "Keys to import", _show_words),
    Column("DryRun", "Nothing was done", show_yes),
)
# fmt: on


@app.command(
    "show",
    epilog=examples(
        ("tapectl gateway show", "the gateway of this machine, and whether it still is it"),
    ),
)
def show(context: typer.Context, output: Output = None) -> None:
    """Show the gateway of this machine.

    What it is, whether it is served and where, and whether it may still write.
    """
    from tapectl.gateway.activation import describe_gateway
    from tapectl.gateway.quota import read_quota
    from tapectl.gateway.status import gateway_standing

    with open_gateway(context) as (state, settings):
        with state.read() as db:
            quota = read_quota(db)
        row = {
            **gateway_row(describe_gateway(state), settings),
            **_serving_row(settings),
            **quota_row(quota),
            **standing_row(gateway_standing(state)),
        }
    render_record(row, SHOW_COLUMNS, output=output)


def _serving_row(settings: Settings) -> Row:
    """Return the keys that say what runs here, and where it can be reached."""
    from importlib.metadata import version

    from tapectl.gateway.settings import parse_listen
    from tapectl.serve.client import connect

    supervisor = connect(settings.state_path)
    answer: dict[str, Any] = {}
    if supervisor is not None:
        with supervisor:
            answer = supervisor.request("status")
    found = [parse_listen(portal) for portal in answer.get("portals", ())]
    return {
        "GatewayState": "STATE_STOPPED" if supervisor is None else "STATE_RUNNING",
        "GatewayNetworkInterfaces": [
            {"Ipv6Address" if ":" in one.host else "Ipv4Address": one.host, "Port": one.port}
            for one in found
        ],
        "SoftwareVersion": version("tapectl"),
    }


@app.command(
    "list",
    epilog=examples(
        ("tapectl gateway list", "the gateways that share the bucket with this one"),
        ("tapectl gateway list --store s3://my-bucket/tapes", "on a machine without a gateway"),
    ),
)
def list_(
    context: typer.Context,
    store: StoreUrl = None,
    region: Region = None,
    endpoint_url: EndpointUrl = None,
    profile: Profile = None,
    output: Output = None,
) -> None:
    """List the gateways of a bucket."""
    from tapectl.gateway.adoption import list_gateways

    with open_named_store(context, store, region, endpoint_url, profile) as (opened, _):
        rows = [document_row(document) for document in list_gateways(opened)]
    render_rows(rows, LIST_COLUMNS, output=output, empty="the bucket has no gateway")


@app.command(
    "disable",
    epilog=examples(
        ("tapectl gateway disable sgw-0A1B2C3D", "a gateway whose machine is gone; asks first"),
        (
            "tapectl gateway disable sgw-0A1B2C3D --store s3://my-bucket --yes",
            "from a machine without a gateway",
        ),
    ),
)
def disable(
    context: typer.Context,
    gateway_id: Annotated[
        str,
        typer.Argument(metavar="GATEWAY_ID", show_default=False, help="As `gateway list` shows."),
    ],
    store: StoreUrl = None,
    region: Region = None,
    endpoint_url: EndpointUrl = None,
    profile: Profile = None,
    yes: Yes = False,
    output: Output = None,
) -> None:
    """Disable a dead gateway, for good.

    Its tapes can be recovered on others. Should it come back, it finds out before it writes
    anything that counts; from then on its tapes are read-only. Where the machine alone is lost,
    `tapectl gateway adopt` is the better way.
    """
    from tapectl.gateway.adoption import disable_gateway

    confirm(f"Disable gateway {gateway_id} for good?", yes=yes)
    with open_named_store(context, store, region, endpoint_url, profile) as (opened, state):
        document = disable_gateway(opened, gateway_id, by=actor(), state=state)
    render_record(document_row(document), LIST_COLUMNS, output=output)


@app.command(
    "adopt",
    epilog=examples(
        (
            "tapectl gateway adopt s3://my-bucket/tapes --dry-run",
            "what would come back, while the gateway goes on",
        ),
        ("tapectl gateway adopt s3://my-bucket/tapes", "the only gateway of a bucket"),
        ("tapectl gateway adopt file:///srv/tapes --gateway sgw-0A1B2C3D --yes", "one of several"),
    ),
)
def adopt(
    context: typer.Context,
    store_url: Annotated[
        str,
        typer.Argument(
            metavar="STORE_URL",
            show_default=False,
            help="The bucket: s3://bucket/prefix, or a directory, file:///path.",
        ),
    ],
    gateway: Annotated[
        str | None,
        typer.Option(
            "--gateway", metavar="ID", show_default="the only one", help="Which gateway to become."
        ),
    ] = None,
    region: Region = None,
    endpoint_url: EndpointUrl = None,
    profile: Profile = None,
    yes: Yes = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would come to, and change nothing.")
    ] = False,
    output: Output = None,
) -> None:
    """Become the gateway that a bucket knows.

    On a machine that has none. Rebuilds the state from the bucket: identity, targets, serial
    numbers, slots, every tape with its recovery points and status. The machine that was the gateway
    is shut out by it. Then come the disks, as after `tapectl activate`, and `tapectl serve`;
    secrets are to be set again, and the keys of encrypted tapes to be imported, before or after.
    """
    from tapectl.gateway.activation import normalise_store_url
    from tapectl.gateway.adoption import StoreAddress, choose_gateway, foresee, refuse_activated
    from tapectl.gateway.adoption import adopt as adopt_gateway
    from tapectl.gateway.stores import open_store

    settings = load_settings(context)
    refuse_activated(settings.state_path)
    address = StoreAddress(
        store_url=normalise_store_url(store_url),
        region=region,
        endpoint_url=endpoint_url,
        profile=profile,
    )
    opened = open_store(address, settings)
    if dry_run:
        told = foresee(settings.state_path, address, opened, gateway_id=gateway)
        render_record(adopted_row(told, settings, dry_run=True), ADOPTED_COLUMNS, output=output)
        return
    chosen = choose_gateway(opened, gateway).document
    confirm(
        f"Become gateway {chosen.gateway_id} ({chosen.gateway_name}), and shut its machine out?",
        yes=yes,
    )
    with progress_bar(f"adopting {chosen.gateway_id}") as show:
        adopted = adopt_gateway(
            settings.state_path,
            address,
            opened,
            gateway_id=chosen.gateway_id,
            actor=actor(),
            progress=lambda done, all_: show(
                Progress(
                    done=done == all_, percent=100 * done / all_, text=f"{done} of {all_} tapes"
                )
            ),
        )
    render_record(adopted_row(adopted, settings), ADOPTED_COLUMNS, output=output)


def document_row(document: GatewayDocument) -> Row:
    """Return the JSON object of a gateway as its bucket knows it."""
    return {
        "GatewayId": document.gateway_id,
        "GatewayName": document.gateway_name,
        "GatewayTimezone": document.gateway_timezone,
        "GatewayType": "VTL",
        "GatewayOperationalState": "ACTIVE" if document.disabled_ms is None else "DISABLED",
        "DisabledDate": iso_time(document.disabled_ms),
        "DisabledBy": document.disabled_by,
        "Epoch": document.epoch,
        "MediumChangerType": document.changer_type,
        "TapeDriveType": document.drive_type,
        "DriveCount": document.drive_count,
        "SlotCount": document.slot_count,
        "ImportExportCount": document.import_export_count,
        "IqnPrefix": document.iqn_prefix,
        "ActivatedDate": iso_time(document.created_at_ms),
        "Tags": tag_list(document.tags),
    }


def adopted_row(adopted: Adoption, settings: Settings, *, dry_run: bool = False) -> Row:
    """Return the JSON object of what a machine has become, or would."""
    return {
        **gateway_row(adopted.gateway, settings),
        "Epoch": adopted.epoch,
        "Tapes": adopted.tapes,
        "InventoryDate": iso_time(adopted.inventory_ms),
        "NotUploaded": [
            {
                "TapeBarcode": one.barcode,
                "WaitingSegments": one.segments,
                "WaitingBytes": one.bytes,
            }
            for one in adopted.unuploaded
        ],
        "ChapToSet": [
            {"Target": target, "InitiatorName": initiator} for target, initiator in adopted.chap
        ],
        "MissingKeys": list(adopted.missing_keys),
        "DryRun": dry_run,
    }
