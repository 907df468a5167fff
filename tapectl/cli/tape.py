"""`tapectl tape`: the virtual tapes of the library."""

from __future__ import annotations

from typing import Annotated

import typer

from tapectl.cli import completing
from tapectl.cli.asking import confirm
from tapectl.cli.options import (
    Barcode,
    BypassGovernance,
    Output,
    Pool,
    Tags,
    Timeout,
    Wait,
    Yes,
    examples,
)
from tapectl.cli.session import actor, change_gateway, load_settings, open_gateway
from tapectl.cli.tape_rows import render_tape, render_tapes
from tapectl.cli.waiting import Wanted, wait_for_tapes
from tapectl.errors import UsageError
from tapectl.units import parse_size

app = typer.Typer(
    no_args_is_help=True, help="Virtual tapes: create, move, eject to the shelf and retrieve."
)


@app.command(
    "create",
    epilog=examples(
        ("tapectl tape create --size 1TiB --count 10 --prefix BKP", "ten tapes, BKP1A2B3C, ..."),
        ("tapectl tape create --size 100GiB --barcode VTL001L5", "one, with the barcode you want"),
        (
            "tapectl tape create --size 1TiB --barcode VTL001L5 --if-not-exists",
            "for provisioning: the same again changes nothing",
        ),
        ("tapectl tape create --size 5TiB --pool DEEP_ARCHIVE", "to be archived in Deep Archive"),
        ("tapectl tape create --cleaning --to-slots", "a cleaning cartridge, CLNU1A2B"),
        (
            "tapectl tape create --size 1TiB --kms-key alias/tapes --tag owner=finance",
            "encrypted with a key of your own (SSE-KMS), with a tag",
        ),
    ),
)
def create(
    context: typer.Context,
    size: Annotated[
        str | None,
        typer.Option(
            "--size",
            metavar="SIZE",
            show_default=False,
            help="Capacity of each tape, 100GiB to 15TiB in whole GiB; no room until written.",
        ),
    ] = None,
    count: Annotated[
        int, typer.Option("--count", metavar="N", help="How many, with generated barcodes.")
    ] = 1,
    prefix: Annotated[
        str | None,
        typer.Option(
            "--prefix",
            metavar="PREFIX",
            show_default="TAPE",
            help="How generated barcodes begin: 1 to 4 letters; 6 digits follow.",
        ),
    ] = None,
    barcode: Annotated[
        str | None,
        typer.Option(
            "--barcode",
            metavar="BARCODE",
            help="Barcode of the one tape: 5 to 16 of A-Z and 0-9, never used before.",
        ),
    ] = None,
    pool: Pool = "GLACIER",
    worm: Annotated[
        bool, typer.Option("--worm", help="Write once: what is written can never be overwritten.")
    ] = False,
    generation: Annotated[
        str | None,
        typer.Option(
            "--generation",
            metavar="LTO-N",
            show_default="the drives'",
            autocompletion=completing.generations,
            help="Generation of the media, LTO-1 to LTO-10; a drive reads and writes some others.",
        ),
    ] = None,
    cleaning: Annotated[
        bool,
        typer.Option(
            "--cleaning", help="Cleaning cartridges, of no size; barcodes begin with CLN."
        ),
    ] = False,
    encryption: Annotated[
        str | None,
        typer.Option(
            "--encryption",
            metavar="HOW",
            show_default="setting encryption, NONE",
            autocompletion=completing.encryptions,
            help="Of all its objects in the store, for good: CSE, encrypted here with a key of"
            " `tapectl key`; SSE-S3, SSE-KMS; NONE: as the store does.",
        ),
    ] = None,
    kms_key: Annotated[
        str | None,
        typer.Option(
            "--kms-key",
            metavar="KEY",
            show_default="setting kms_key",
            help="Key of SSE-KMS: the ARN of a symmetric key, or alias/NAME.",
        ),
    ] = None,
    tag: Tags = None,
    to_slots: Annotated[
        bool,
        typer.Option(
            "--to-slots", help="Put them into storage slots; else into import/export slots."
        ),
    ] = False,
    allow_small: Annotated[
        bool, typer.Option("--allow-small", help="Take sizes from 1 MiB on, for labs.")
    ] = False,
    if_not_exists: Annotated[
        bool,
        typer.Option(
            "--if-not-exists", help="With --barcode: succeed if there is such a tape already."
        ),
    ] = False,
    client_token: Annotated[
        str | None,
        typer.Option(
            "--client-token",
            metavar="TOKEN",
            help="5 to 100 characters; the same request with the same token creates only once.",
        ),
    ] = None,
    wait: Wait = False,
    timeout: Timeout = None,
    output: Output = None,
) -> None:
    """Create tapes, all of them or none.

    They are CREATING until the object store knows their barcodes, which a running `tapectl serve`
    sees to at once, and `tapectl sync` or --wait without it.
    """
    from tapectl.gateway.encryption import choose_encryption
    from tapectl.gateway.media import parse_generation
    from tapectl.gateway.tag_rules import parse_tags
    from tapectl.gateway.tape_creation import TapeCreation, create_tapes

    settings = load_settings(context)
    if size is None and not cleaning:
        raise UsageError("give the tapes a size", hint="as in --size 1TiB")
    request = TapeCreation(
        size_bytes=0 if size is None else parse_size(size),
        barcode=barcode,
        prefix=prefix,
        count=count,
        pool_id=pool,
        worm=worm,
        generation=None if generation is None else parse_generation(generation),
        cleaning=cleaning,
        client_token=client_token,
        allow_small=allow_small,
        to_slots=to_slots,
        if_not_exists=if_not_exists,
        encryption=choose_encryption(
            encryption,
            kms_key,
            default_word=settings.encryption,
            default_key=settings.kms_key,
        ),
        tags=parse_tags(tag or ()),
    )
    with change_gateway(context) as (state, _):
        created = create_tapes(state, request, actor=actor())
    if wait:
        barcodes = [tape.barcode for tape in created]
        with open_gateway(context) as (state, settings):
            created = wait_for_tapes(state, settings, barcodes, Wanted.CREATED, timeout_s=timeout)
    render_tapes(created, output)


@app.command(
    "list",
    epilog=examples(
        ("tapectl tape list", "every tape, in the library and on the shelf"),
        ("tapectl tape list --status AVAILABLE --output tsv", "for a script"),
        ("tapectl tape list 'BKP*' --output json", "by barcode"),
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
    status: Annotated[
        list[str] | None,
        typer.Option(
            "--status",
            metavar="STATUS",
            autocompletion=completing.statuses,
            help="Only tapes of this status; may be repeated. DELETED ones show only so.",
        ),
    ] = None,
    pool: Annotated[
        str | None,
        typer.Option(
            "--pool", metavar="POOL", autocompletion=completing.pools, help="Only of this pool."
        ),
    ] = None,
    output: Output = None,
) -> None:
    """List tapes."""
    from tapectl.gateway.tapes import list_tapes
    from tapectl.state.tape_status import TapeStatus

    known = {word.value: word for word in TapeStatus}
    statuses = [word.upper().replace("_", " ") for word in status or []]
    for word in statuses:
        if word not in known:
            raise UsageError(f"no such status: {word}", hint=f"there are {', '.join(known)}")
    with open_gateway(context) as (state, _):
        tapes = list_tapes(
            state,
            statuses=[known[word] for word in statuses] or None,
            pool_id=pool,
            barcode=glob,
        )
    render_tapes(tapes, output, empty="no tapes; run `tapectl tape create` for some")


@app.command("show", epilog=examples(("tapectl tape show VTL001L5", "its status, place and dates")))
def show(context: typer.Context, barcode: Barcode, output: Output = None) -> None:
    """Show all about one tape."""
    from tapectl.gateway.tapes import describe_tape

    with open_gateway(context) as (state, _):
        render_tape(describe_tape(state, barcode), output)


@app.command(
    "load",
    epilog=examples(
        ("tapectl tape load VTL001L5", "into the first free drive"),
        ("tapectl tape load VTL001L5 tapedrive-02", "into this drive"),
    ),
)
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
        move(state, settings, *plan_load(state, barcode, number))
        tape = describe_tape(state, barcode)
        warning = warning_of_use(state, tape)
    render_tape(tape, output)
    if warning is not None:
        typer.echo(f"warning: {warning}", err=True)


@app.command(
    "unload",
    epilog=examples(
        ("tapectl tape unload VTL001L5", "to the slot it came from"),
        ("tapectl tape unload VTL001L5 --slot 20", "to this storage slot"),
    ),
)
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
        move(state, settings, *plan_unload(state, barcode, slot))
        render_tape(describe_tape(state, barcode), output)


@app.command(
    "move",
    epilog=examples(
        ("tapectl tape move VTL001L5 slot:20", "to a storage slot"),
        ("tapectl tape move VTL001L5 drive:1", "to a drive"),
        ("tapectl tape move VTL001L5 ie:3", "to an import/export slot: this ejects it"),
    ),
)
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
        move(state, settings, *plan_move(state, barcode, element))
        render_tape(describe_tape(state, barcode), output)


@app.command(
    "eject",
    epilog=examples(
        ("tapectl tape eject VTL001L5", "archive it, in the storage class of its pool"),
        ("tapectl tape eject VTL001L5 --wait --timeout 3600", "and return when it is ARCHIVED"),
        ("tapectl tape eject VTL001L5 --hold 0", "not to be cancelled by a move back"),
    ),
)
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

    with change_gateway(context) as (state, settings):
        hold_s = settings.hold_s if hold is None else hold
        tape = eject_tape(state, barcode, hold_s=hold_s, actor=actor())
    if wait:
        with open_gateway(context) as (state, settings):
            (tape,) = wait_for_tapes(state, settings, [barcode], Wanted.ARCHIVED, timeout_s=timeout)
    render_tape(tape, output)


@app.command(
    "cancel-eject",
    epilog=examples(("tapectl tape cancel-eject VTL001L5", "back into its slot")),
)
def cancel_eject_(context: typer.Context, barcode: Barcode, output: Output = None) -> None:
    """Take an ejected tape back, while it is IN TRANSIT TO VTS."""
    from tapectl.gateway.shelf import cancel_eject

    with change_gateway(context) as (state, _):
        render_tape(cancel_eject(state, barcode, actor=actor()), output)


@app.command(
    "retrieve",
    epilog=examples(
        ("tapectl tape retrieve VTL001L5", "in 3 to 5 hours (GLACIER), 12 (DEEP_ARCHIVE)"),
        ("tapectl tape retrieve VTL001L5 --tier Bulk", "for less money, in 5 to 12 (48) hours"),
        ("tapectl tape retrieve VTL001L5 --tier Expedited --wait", "in minutes; not DEEP_ARCHIVE"),
    ),
)
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
    """Bring a tape back from the shelf: RETRIEVING, RETRIEVED. It comes write-protected."""
    from tapectl.gateway.shelf import retrieve_tape

    with change_gateway(context) as (state, _):
        tape = retrieve_tape(state, barcode, tier, actor=actor())
    if wait:
        with open_gateway(context) as (state, settings):
            (tape,) = wait_for_tapes(
                state, settings, [barcode], Wanted.RETRIEVED, timeout_s=timeout
            )
    render_tape(tape, output)


@app.command(
    "cancel-retrieve",
    epilog=examples(("tapectl tape cancel-retrieve VTL001L5", "it stays on the shelf")),
)
def cancel_retrieve_(context: typer.Context, barcode: Barcode, output: Output = None) -> None:
    """Give a retrieval up, while the tape is RETRIEVING."""
    from tapectl.gateway.shelf import cancel_retrieve

    with change_gateway(context) as (state, _):
        render_tape(cancel_retrieve(state, barcode, actor=actor()), output)


@app.command(
    "delete",
    epilog=examples(
        ("tapectl tape delete VTL001L5", "asks first"),
        ("tapectl tape delete VTL001L5 --yes --wait", "for a script"),
    ),
)
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

    with open_gateway(context) as (state, _):
        describe_tape(state, barcode)
    confirm(f"Delete tape {barcode} and all its data?", yes=yes)
    with change_gateway(context) as (state, _):
        tape = delete_tape(
            state, barcode, bypass_governance=bypass_governance_retention, actor=actor()
        )
    if wait:
        with open_gateway(context) as (state, settings):
            (tape,) = wait_for_tapes(state, settings, [barcode], Wanted.DELETED, timeout_s=timeout)
    render_tape(tape, output)
