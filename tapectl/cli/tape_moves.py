"""`tapectl tape load|unload|move`: a tape from one element of the library to another."""

from __future__ import annotations

from typing import Annotated

import typer

from tapectl.cli import completing
from tapectl.cli.options import (
    Barcode,
    Output,
    examples,
)
from tapectl.cli.session import actor, change_gateway
from tapectl.cli.tape_rows import render_tape


def register(tape: typer.Typer) -> None:
    """Add the commands to the noun."""
    tape.command(
        "load",
        epilog=examples(
            ("tapectl tape load VTL001L5", "into the first free drive"),
            ("tapectl tape load VTL001L5 tapedrive-02", "into this drive"),
        ),
    )(load)
    tape.command(
        "unload",
        epilog=examples(
            ("tapectl tape unload VTL001L5", "to the slot it came from"),
            ("tapectl tape unload VTL001L5 --slot 20", "to this storage slot"),
        ),
    )(unload)
    tape.command(
        "move",
        epilog=examples(
            ("tapectl tape move VTL001L5 slot:20", "to a storage slot"),
            ("tapectl tape move VTL001L5 drive:1", "to a drive"),
            ("tapectl tape move VTL001L5 ie:3", "to an import/export slot: this ejects it"),
        ),
    )(move_)


def load(
    context: typer.Context,
    barcode: Barcode,
    drive: Annotated[
        str | None,
        typer.Argument(
            metavar="DRIVE",
            show_default="the first free one",
            autocompletion=completing.devices,
            help="Drive: tapedrive-02, or 2.",
        ),
    ] = None,
    output: Output = None,
) -> None:
    """Load a tape into a drive, as `mtx load` does."""
    from tapectl.gateway.devices import find_device
    from tapectl.gateway.media import warning_of_use
    from tapectl.gateway.moves import plan_load
    from tapectl.gateway.tapes import describe_tape
    from tapectl.serve.client import move

    with change_gateway(context) as (state, settings):
        number = None if drive is None else find_device(state, drive).drive_number
        move(state, settings, plan_load(state, barcode, number), actor=actor())
        tape = describe_tape(state, barcode)
        warning = warning_of_use(state, tape)
    render_tape(tape, output)
    if warning is not None:
        typer.echo(f"warning: {warning}", err=True)


def unload(
    context: typer.Context,
    barcode: Barcode,
    slot: Annotated[
        int | None,
        typer.Option(
            "--slot", metavar="N", show_default="where it came from", help="Storage slot, from 1."
        ),
    ] = None,
    output: Output = None,
) -> None:
    """Unload a tape from its drive into a storage slot. Never archives it."""
    from tapectl.gateway.moves import plan_unload
    from tapectl.gateway.tapes import describe_tape
    from tapectl.serve.client import move

    with change_gateway(context) as (state, settings):
        move(state, settings, plan_unload(state, barcode, slot), actor=actor())
        render_tape(describe_tape(state, barcode), output)


def move_(
    context: typer.Context,
    barcode: Barcode,
    element: Annotated[
        str,
        typer.Argument(
            metavar="ELEMENT",
            show_default=False,
            autocompletion=completing.free_elements,
            help="Where to: slot:N, drive:N, ie:N, or the address of an element.",
        ),
    ],
    output: Output = None,
) -> None:
    """Move a tape to another element of the library.

    A move from a slot or drive into an import/export slot ejects the tape, as it does when backup
    software makes it; a move back during the hold cancels that.
    """
    from tapectl.gateway.moves import plan_move
    from tapectl.gateway.tapes import describe_tape
    from tapectl.serve.client import move

    with change_gateway(context) as (state, settings):
        move(state, settings, plan_move(state, barcode, element), actor=actor())
        render_tape(describe_tape(state, barcode), output)
