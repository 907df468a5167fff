"""`tapectl activate`: the gateway itself."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tapectl.cli import completing
from tapectl.cli.named_store import EndpointUrl, Profile, Region
from tapectl.cli.options import Output, Tags, examples
from tapectl.cli.render import (
    Column,
    Row,
    iso_time,
    render_record,
    show_size,
)
from tapectl.cli.session import actor, load_settings
from tapectl.cli.tag import show_tags, tag_list

if TYPE_CHECKING:
    from tapectl.gateway.quota import Quota
    from tapectl.gateway.settings import Settings
    from tapectl.state.gateways import GatewayRecord, StandingRecord


# fmt: off
GATEWAY_COLUMNS = (
    Column("GatewayId", "Gateway"),
    Column("GatewayName", "Name"),
    Column("StoreUrl", "Store"),
    Column("EndpointUrl", "Endpoint"),
    Column("GatewayRegion", "Region"),
    Column("MediumChangerType", "Changer"),
    Column("TapeDriveType", "Drives are"),
    Column("DriveCount", "Drives"),
    Column("SlotCount", "Slots"),
    Column("ImportExportCount", "Import/export slots"),
    Column("IqnPrefix", "Target prefix"),
    Column("StatePath", "State"),
    Column("Tags", "Tags", show_tags),
)
QUOTA_COLUMNS = (
    Column("TapesMax", "Tapes at most"),
    Column("TapesSizeMaxInBytes", "Capacity at most", show_size),
)
# fmt: on


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    app.command(
        "activate",
        epilog=examples(
            ("tapectl activate --store s3://my-bucket/tapes", "on Amazon S3"),
            (
                "tapectl activate --store s3://tapes --endpoint-url http://127.0.0.1:8333",
                "on an S3-compatible server",
            ),
            ("tapectl activate --store file:///srv/tapes", "on a directory"),
            (
                "tapectl activate --store s3://my-bucket --changer STK-L700 --drives 4",
                "a library that looks like a StorageTek L700 with four drives",
            ),
            (
                "tapectl activate --store s3://my-bucket --tape-drive-type IBM-ULT3580-TD8",
                "drives of LTO-8",
            ),
            ("tapectl activate --store s3://my-bucket --tag site=Frankfurt", "with a tag"),
        ),
    )(activate)


def gateway_row(gateway: GatewayRecord, settings: Settings) -> Row:
    """Return the JSON object of a gateway."""
    from tapectl.state.tags import decode

    return {
        "GatewayId": gateway.id,
        "GatewayName": gateway.name,
        "GatewayTimezone": gateway.timezone,
        "GatewayRegion": gateway.region,
        "GatewayType": "VTL",
        "StoreUrl": gateway.store_url,
        "EndpointUrl": gateway.endpoint_url,
        "MediumChangerType": gateway.changer_type,
        "TapeDriveType": gateway.drive_type,
        "DriveCount": gateway.drive_count,
        "SlotCount": gateway.slot_count,
        "ImportExportCount": gateway.import_export_count,
        "IqnPrefix": gateway.iqn_prefix,
        "StatePath": str(settings.state_path),
        "ActivatedDate": iso_time(gateway.created_at_ms),
        "Tags": tag_list(decode(gateway.tags)),
    }


def quota_row(quota: Quota) -> Row:
    """Return the keys that say how many tapes the library takes."""
    return {"TapesMax": quota.tapes, "TapesSizeMaxInBytes": quota.size_bytes}


def standing_row(standing: StandingRecord) -> Row:
    """Return the keys that say whether this machine still is the gateway."""
    return {
        "GatewayOperationalState": "ACTIVE" if standing.fenced_at_ms is None else "DISABLED",
        "StateDetail": standing.fenced_detail,
        "StateDate": iso_time(standing.fenced_at_ms),
        "Epoch": standing.store_epoch,
    }


def activate(
    context: typer.Context,
    store: Annotated[
        str,
        typer.Option(
            "--store",
            metavar="URL",
            show_default=False,
            help="Where the tapes live: s3://bucket/prefix, or a directory, file:///path.",
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="NAME", show_default="this machine's name", help="Name for people."
        ),
    ] = None,
    region: Region = None,
    endpoint_url: EndpointUrl = None,
    profile: Profile = None,
    timezone: Annotated[
        str, typer.Option("--timezone", metavar="ZONE", help="GMT, GMT-5:00, GMT+10:30, ...")
    ] = "GMT",
    changer: Annotated[
        str,
        typer.Option(
            "--changer",
            metavar="TYPE",
            autocompletion=completing.changer_types,
            help="What the media changer looks like: AWS-Gateway-VTL, STK-L700, IBM-03584L32-0402,"
            " IBM-3573-TL, HP-MSL-G3, HPE-MSL-G3, QUANTUM-Scalar-i500, QUANTUM-Scalar-i40.",
        ),
    ] = "AWS-Gateway-VTL",
    drive_type: Annotated[
        str,
        typer.Option(
            "--tape-drive-type",
            "--drive-type",
            metavar="TYPE",
            autocompletion=completing.drive_types,
            help="What the drives look like: IBM-ULT3580-TD1 to -TD9 and -TDA (LTO-10),"
            " IBM-ULT3580-HH5 to -HH9 and -HHA, HP-Ultrium-1 to -7, HPE-Ultrium-8 to -10,"
            " Quantum-HH5 to -HH9. Several with commas between them are dealt out to the drives"
            " in turn.",
        ),
    ] = "IBM-ULT3580-TD5",
    drive_profile: Annotated[
        Path | None,
        typer.Option(
            "--drive-profile",
            metavar="FILE",
            help="TOML file with an identity of your own for the drives: vendor, product, revision,"
            " inquiry_vendor_bytes, and VPD pages from C0h on in the table vpd, in hex digits.",
        ),
    ] = None,
    drives: Annotated[
        int, typer.Option("--drives", metavar="N", help="How many drives, 1 to 64.")
    ] = 10,
    slots: Annotated[
        int, typer.Option("--slots", metavar="N", help="How many storage slots, 1 to 10000.")
    ] = 1600,
    import_export: Annotated[
        int,
        typer.Option(
            "--import-export", metavar="N", help="How many import/export slots, 1 to 10000."
        ),
    ] = 1600,
    iqn_prefix: Annotated[
        str | None,
        typer.Option(
            "--iqn-prefix",
            metavar="IQN",
            show_default="iqn.2026-11.io.tapectl",
            help="How the names of the iSCSI targets begin.",
        ),
    ] = None,
    tag: Tags = None,
    if_not_exists: Annotated[
        bool,
        typer.Option(
            "--if-not-exists", help="Succeed if this gateway, by name and store, is here already."
        ),
    ] = False,
    output: Output = None,
) -> None:
    """Make a gateway on an object store.

    Checks the store and writes the state file. Credentials for S3 come the usual ways of AWS
    (environment, profile, instance role) and are never stored. Next come its two disks:
    `tapectl disk add-cache` and `tapectl disk add-buffer`.
    """
    from tapectl.gateway import activation
    from tapectl.gateway.drive_types import read_profile
    from tapectl.gateway.stores import open_store
    from tapectl.gateway.tag_rules import parse_tags

    settings = load_settings(context)
    request = activation.ActivationRequest(
        name=name or socket.gethostname(),
        store_url=store,
        timezone=timezone,
        region=region,
        endpoint_url=endpoint_url,
        profile=profile,
        changer_type=changer,
        drive_type=drive_type,
        drive_profile=None if drive_profile is None else read_profile(drive_profile),
        drive_count=drives,
        slot_count=slots,
        import_export_count=import_export,
        iqn_prefix=iqn_prefix or activation.DEFAULT_IQN_PREFIX,
        tags=parse_tags(tag or ()),
        if_not_exists=if_not_exists,
    )
    gateway = activation.activate(
        settings.state_path,
        request,
        open_store=lambda record: open_store(record, settings),
        actor=actor(),
    )
    render_record(gateway_row(gateway, settings), GATEWAY_COLUMNS, output=output)
