"""`tapectl archive`: the tape shelf."""

from __future__ import annotations

from typing import Annotated

import typer

from tapectl.cli import completing
from tapectl.cli.asking import confirm
from tapectl.cli.options import (
    ArchivedBarcode,
    BypassGovernance,
    Output,
    Timeout,
    Wait,
    Yes,
    examples,
)
from tapectl.cli.render import Column, render_rows
from tapectl.cli.session import actor, change_gateway, open_gateway
from tapectl.cli.tape_rows import ARCHIVE_COLUMNS, render_tape, tape_row
from tapectl.cli.waiting import Wanted, require_wait, wait_for_tape

app = typer.Typer(no_args_is_help=True, help="The shelf: archived tapes.")

GATEWAY_COLUMN = Column("GatewayId", "Gateway")


@app.command(
    "list",
    epilog=examples(
        ("tapectl archive list", "the tapes on the shelf, retrieved ones too"),
        ("tapectl archive list --pool DEEP_ARCHIVE --output json", "of one pool, for a script"),
        ("tapectl archive list --all-gateways", "what can be retrieved from others, too"),
    ),
)
def list_(
    context: typer.Context,
    glob: Annotated[
        str | None,
        typer.Argument(
            metavar="GLOB", show_default=False, help="Only barcodes like this, e.g. 'BKP*'."
        ),
    ] = None,
    pool: Annotated[
        str | None,
        typer.Option(
            "--pool", metavar="POOL", autocompletion=completing.pools, help="Only of this pool."
        ),
    ] = None,
    all_gateways: Annotated[
        bool,
        typer.Option(
            "--all-gateways",
            help="And those on the shelves of the other gateways of the bucket, which can be"
            " retrieved to this one; asks the store.",
        ),
    ] = False,
    output: Output = None,
) -> None:
    """List the tapes on the shelf: ARCHIVED, RETRIEVING and RETRIEVED."""
    from tapectl.gateway.activation import describe_gateway
    from tapectl.gateway.shelf import list_archive

    with open_gateway(context) as (state, settings):
        gateway = describe_gateway(state)
        if all_gateways:
            from tapectl.gateway.shared_shelf import list_shelves
            from tapectl.gateway.stores import open_store

            store = open_store(gateway, settings)
            found = list_shelves(state, store, pool_id=pool, barcode=glob)
            rows = [{**tape_row(one.tape), "GatewayId": one.gateway_id} for one in found]
        else:
            own = list_archive(state, pool_id=pool, barcode=glob)
            rows = [{**tape_row(tape), "GatewayId": gateway.id} for tape in own]
    render_rows(
        rows,
        (*ARCHIVE_COLUMNS, GATEWAY_COLUMN) if all_gateways else ARCHIVE_COLUMNS,
        output=output,
        empty="no tapes on the shelf; `tapectl tape eject` sends one there",
    )


@app.command("show", epilog=examples(("tapectl archive show VTL001L5", "since when, which pool")))
def show(context: typer.Context, barcode: ArchivedBarcode, output: Output = None) -> None:
    """Show all about one tape on the shelf."""
    from tapectl.gateway.shelf import describe_archive

    with open_gateway(context) as (state, _):
        render_tape(describe_archive(state, barcode), output)


@app.command(
    "delete",
    epilog=examples(
        ("tapectl archive delete VTL001L5", "asks first"),
        ("tapectl archive delete VTL001L5 --yes --wait", "for a script"),
        (
            "tapectl archive delete VTL001L5 --bypass-governance-retention",
            "a GOVERNANCE lock or not",
        ),
    ),
)
def delete(
    context: typer.Context,
    barcode: ArchivedBarcode,
    bypass_governance_retention: BypassGovernance = False,
    yes: Yes = False,
    wait: Wait = False,
    timeout: Timeout = None,
    output: Output = None,
) -> None:
    """Delete an ARCHIVED tape and all its data. Its barcode is never used again.

    A tape that the lock of its pool holds is refused until its date.
    """
    from tapectl.gateway.shelf import delete_archive, describe_archive

    require_wait(wait, timeout)
    with open_gateway(context) as (state, _):
        describe_archive(state, barcode)
    confirm(f"Delete archived tape {barcode} and all its data?", yes=yes)
    with change_gateway(context) as (state, _):
        tape = delete_archive(
            state, barcode, bypass_governance=bypass_governance_retention, actor=actor()
        )
    if wait:
        tape = wait_for_tape(context, barcode, Wanted.DELETED, timeout_s=timeout)
    render_tape(tape, output)
