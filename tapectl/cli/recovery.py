"""`tapectl recovery`: the recovery points of tapes, in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tapectl.cli import completing
from tapectl.cli.asking import confirm
from tapectl.cli.named_point import At, PointNumber, which_point
from tapectl.cli.named_store import EndpointUrl, Profile, Region, StoreUrl, open_named_store
from tapectl.cli.options import Barcode, Output, Yes, examples
from tapectl.cli.render import (
    Column,
    Row,
    iso_time,
    render_record,
    render_rows,
    show_size,
    show_time,
    show_yes,
)
from tapectl.cli.session import actor, change_gateway, open_gateway
from tapectl.errors import UsageError

if TYPE_CHECKING:
    from tapectl.gateway.restoration import Restoration
    from tapectl.medium.manifest import ManifestHead

app = typer.Typer(
    no_args_is_help=True,
    help="Recovery points: undo, and take tapes over.",
)

# fmt: off
POINT_COLUMNS = (
    Column("TapeBarcode", "Barcode"),
    Column("RecoveryPointNumber", "Point", right=True),
    Column("TapeRecoveryPointTime", "Time", show_time),
    Column("TapeStatus", "Status"),
    Column("TapeUsedInBytes", "Used", show_size, right=True),
    Column("TapeSizeInBytes", "Size", show_size, right=True),
    Column("GatewayId", "Gateway"),
)
RESTORED_COLUMNS = (
    Column("TapeBarcode", "Barcode"),
    Column("RecoveryPointNumber", "Point"),
    Column("TapeRecoveryPointTime", "As it was at", show_time),
    Column("TapeUsedInBytes", "Used", show_size),
    Column("FromGateway", "Of gateway"),
    Column("TapeStatus", "Status"),
    Column("Location", "Location"),
    Column("DryRun", "Nothing was done", show_yes),
)
# fmt: on


@app.command(
    "list",
    epilog=examples(
        ("tapectl recovery list", "the latest recovery point of every tape"),
        ("tapectl recovery list VTL001L5 --all-points", "every one of a tape"),
        ("tapectl recovery list --gateway sgw-0A1B2C3D", "the tapes of another gateway"),
        (
            "tapectl recovery list --store s3://my-bucket/tapes",
            "on a machine without a gateway: every tape of a bucket",
        ),
    ),
)
def list_(
    context: typer.Context,
    barcode: Annotated[
        str | None,
        typer.Argument(
            metavar="BARCODE",
            show_default=False,
            autocompletion=completing.barcodes,
            help="Only of this tape: its last 20 recovery points.",
        ),
    ] = None,
    gateway: Annotated[
        str | None,
        typer.Option(
            "--gateway",
            metavar="ID",
            show_default="the one here; with --store all",
            help="Of the tapes of this gateway.",
        ),
    ] = None,
    all_points: Annotated[
        bool, typer.Option("--all-points", help="All recovery points, not the last ones only.")
    ] = False,
    store: StoreUrl = None,
    region: Region = None,
    endpoint_url: EndpointUrl = None,
    profile: Profile = None,
    output: Output = None,
) -> None:
    """List recovery points, the latest first.

    As the object store has them. With --store no gateway is needed here, and none is touched.
    """
    from tapectl.gateway.activation import describe_gateway
    from tapectl.gateway.recovery import list_points

    if barcode is not None and gateway is not None:
        raise UsageError(
            "give a barcode or a gateway, not both", hint="a barcode is known by itself"
        )
    with open_named_store(context, store, region, endpoint_url, profile) as (opened, state):
        if gateway is None and state is not None:
            gateway = describe_gateway(state).id
        points = list_points(opened, barcode=barcode, gateway_id=gateway, all_points=all_points)
    render_rows(
        [point_row(point) for point in points],
        POINT_COLUMNS,
        output=output,
        empty="no recovery points",
    )


@app.command(
    "restore",
    epilog=examples(
        ('tapectl recovery restore VTL001L5 --at "2h ago"', "undo what was done to it since"),
        ("tapectl recovery restore VTL001L5 --at 2026-11-24T05:00", "in the gateway's time zone"),
        ("tapectl recovery restore VTL001L5 --point 17 --dry-run", "see what it would come to"),
        ("tapectl recovery restore OLD001L5 --to slot:5 --yes", "of a disabled gateway, to here"),
    ),
)
def restore(
    context: typer.Context,
    barcode: Barcode,
    at: At = None,
    point: PointNumber = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="ELEMENT",
            autocompletion=completing.free_elements,
            show_default="the first free import/export slot",
            help="Where a tape of another gateway comes to, e.g. slot:5.",
        ),
    ] = None,
    yes: Yes = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would come to, and change nothing.")
    ] = False,
    output: Output = None,
) -> None:
    """Bring a tape back to a recovery point.

    To the latest unless one is named. A tape of this gateway must not be in a drive. It goes back
    as a whole, and stays writable if it was; nothing is destroyed, so that a later recovery point
    brings back what is undone now. A tape of another gateway, which must be disabled unless
    the tape is on its shelf, becomes one of this gateway: RECOVERED, write-protected, or on the
    shelf if it was archived.
    """
    from tapectl.gateway.activation import describe_gateway
    from tapectl.gateway.points_in_time import zone_of
    from tapectl.gateway.recovery import restore as restore_tape
    from tapectl.gateway.restoration import RestoreRequest
    from tapectl.gateway.stores import open_store

    with open_gateway(context) as (state, settings):
        gateway = describe_gateway(state)
        which = which_point(at, point, zone_of(gateway.timezone))
    if not dry_run:
        confirm(f"Bring tape {barcode} back to a recovery point?", yes=yes)
    request = RestoreRequest(barcode=barcode, point=which, to_element=to, dry_run=dry_run)
    with change_gateway(context) as (state, settings):
        restored = restore_tape(state, open_store(gateway, settings), request, actor=actor())
    render_record(restored_row(restored), RESTORED_COLUMNS, output=output)


def point_row(point: ManifestHead) -> Row:
    """Return the JSON object of a recovery point."""
    return {
        "TapeBarcode": point.barcode,
        "TapeRecoveryPointTime": iso_time(point.created_ms),
        "TapeSizeInBytes": point.size_bytes,
        "TapeStatus": point.status,
        "RecoveryPointNumber": point.number,
        "TapeUsedInBytes": point.used_bytes,
        "PoolId": point.pool,
        "GatewayId": point.gateway_id,
        "TapeUuid": point.tape_uuid,
    }


def restored_row(restored: Restoration) -> Row:
    """Return the JSON object of what restoring came to."""
    tape = restored.tape
    return {
        **point_row(restored.point),
        "TapeStatus": restored.status.value,
        "FromGateway": restored.from_gateway,
        "Location": tape.location if tape is not None else None,
        "DryRun": tape is None,
    }
