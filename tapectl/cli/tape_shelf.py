"""`tapectl tape eject|retrieve|delete`, and what takes them back: tapes that leave the library."""

from __future__ import annotations

from typing import Annotated

import typer

from tapectl.cli import completing
from tapectl.cli.asking import confirm
from tapectl.cli.options import (
    Barcode,
    BypassGovernance,
    Output,
    Timeout,
    Wait,
    Yes,
    examples,
)
from tapectl.cli.session import actor, change_gateway, open_gateway
from tapectl.cli.tape_rows import render_tape
from tapectl.cli.waiting import Wanted, require_wait, wait_for_tape


def register(tape: typer.Typer) -> None:
    """Add the commands to the noun."""
    tape.command(
        "eject",
        epilog=examples(
            ("tapectl tape eject VTL001L5", "archive it, in the storage class of its pool"),
            ("tapectl tape eject VTL001L5 --wait --timeout 3600", "and return when it is ARCHIVED"),
            ("tapectl tape eject VTL001L5 --hold 0", "not to be cancelled by a move back"),
        ),
    )(eject)
    tape.command(
        "cancel-eject",
        epilog=examples(("tapectl tape cancel-eject VTL001L5", "back into its slot")),
    )(cancel_eject_)
    tape.command(
        "retrieve",
        epilog=examples(
            ("tapectl tape retrieve VTL001L5", "in 3 to 5 hours (GLACIER), 12 (DEEP_ARCHIVE)"),
            ("tapectl tape retrieve VTL001L5 --tier Bulk", "for less money, in 5 to 12 (48) hours"),
            (
                "tapectl tape retrieve VTL001L5 --tier Expedited --wait",
                "in minutes; not DEEP_ARCHIVE",
            ),
        ),
    )(retrieve)
    tape.command(
        "cancel-retrieve",
        epilog=examples(("tapectl tape cancel-retrieve VTL001L5", "it stays on the shelf")),
    )(cancel_retrieve_)
    tape.command(
        "delete",
        epilog=examples(
            ("tapectl tape delete VTL001L5", "asks first"),
            ("tapectl tape delete VTL001L5 --yes --wait", "for a script"),
        ),
    )(delete)


def eject(
    context: typer.Context,
    barcode: Barcode,
    hold: Annotated[
        float | None,
        typer.Option(
            "--hold",
            metavar="SECONDS",
            min=0,
            show_default="setting hold_s, 60",
            help="How long it stays in its import/export slot, where a move back cancels.",
        ),
    ] = None,
    wait: Wait = False,
    timeout: Timeout = None,
    output: Output = None,
) -> None:
    """Send a tape to the shelf.

    It is IN TRANSIT TO VTS, ARCHIVING and then ARCHIVED. What is not uploaded yet is uploaded
    first. A loaded tape has to be unloaded before. Until it is ARCHIVING, `tapectl tape
    cancel-eject` takes it back.
    """
    from tapectl.gateway.shelf import eject_tape

    require_wait(wait, timeout)
    with change_gateway(context) as (state, settings):
        hold_s = settings.hold_s if hold is None else hold
        tape = eject_tape(state, barcode, hold_s=hold_s, actor=actor())
    if wait:
        tape = wait_for_tape(context, barcode, Wanted.ARCHIVED, timeout_s=timeout)
    render_tape(tape, output)


def cancel_eject_(context: typer.Context, barcode: Barcode, output: Output = None) -> None:
    """Take an ejected tape back, while it is IN TRANSIT TO VTS."""
    from tapectl.gateway.shelf import cancel_eject

    with change_gateway(context) as (state, _):
        render_tape(cancel_eject(state, barcode, actor=actor()), output)


def retrieve(
    context: typer.Context,
    barcode: Barcode,
    tier: Annotated[
        str,
        typer.Option(
            "--tier",
            metavar="TIER",
            autocompletion=completing.tiers,
            help="Expedited, Standard or Bulk: how fast, and how dear.",
        ),
    ] = "Standard",
    wait: Wait = False,
    timeout: Timeout = None,
    output: Output = None,
) -> None:
    """Bring a tape back from the shelf: RETRIEVING, RETRIEVED. It comes write-protected.

    Also from the shelf of another gateway of the bucket, which lists it no longer from then on;
    `tapectl archive list --all-gateways` shows what there is.
    """
    from tapectl.gateway.activation import describe_gateway
    from tapectl.gateway.shared_shelf import retrieve_from_any_shelf
    from tapectl.gateway.stores import open_store

    require_wait(wait, timeout)
    with change_gateway(context) as (state, settings):
        tape = retrieve_from_any_shelf(
            state,
            barcode,
            tier,
            open_store=lambda: open_store(describe_gateway(state), settings),
            actor=actor(),
        )
    if wait:
        tape = wait_for_tape(context, barcode, Wanted.RETRIEVED, timeout_s=timeout)
    render_tape(tape, output)


def cancel_retrieve_(context: typer.Context, barcode: Barcode, output: Output = None) -> None:
    """Give a retrieval up, while the tape is RETRIEVING."""
    from tapectl.gateway.shelf import cancel_retrieve

    with change_gateway(context) as (state, _):
        render_tape(cancel_retrieve(state, barcode, actor=actor()), output)


def delete(
    context: typer.Context,
    barcode: Barcode,
    bypass_governance_retention: BypassGovernance = False,
    yes: Yes = False,
    wait: Wait = False,
    timeout: Timeout = None,
    output: Output = None,
) -> None:
    """Delete a tape of the library and all its data. Its barcode is never used again.

    A RETRIEVED tape has to be ejected first; tapes on the shelf go with `tapectl archive delete`.
    """
    from tapectl.gateway.tapes import delete_tape, describe_tape

    require_wait(wait, timeout)
    with open_gateway(context) as (state, _):
        describe_tape(state, barcode)
    confirm(f"Delete tape {barcode} and all its data?", yes=yes)
    with change_gateway(context) as (state, _):
        tape = delete_tape(
            state, barcode, bypass_governance=bypass_governance_retention, actor=actor()
        )
    if wait:
        tape = wait_for_tape(context, barcode, Wanted.DELETED, timeout_s=timeout)
    render_tape(tape, output)
