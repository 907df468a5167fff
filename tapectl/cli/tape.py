"""`tapectl tape`: the virtual tapes of the library."""

from __future__ import annotations

from typing import Annotated

import typer

from tapectl.cli import completing
from tapectl.cli.options import (
    Barcode,
    Output,
    Pool,
    Tags,
    Timeout,
    Wait,
    examples,
)
from tapectl.cli.session import actor, change_gateway, load_settings, open_gateway
from tapectl.cli.tape_rows import render_tape, render_tapes
from tapectl.cli.waiting import Wanted, require_wait, wait_for_tapes
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
            "tapectl tape create --size 1TiB --barcode VTL001L5 --count 20",
            "twenty: VTL001L5, VTL002L5, ... VTL020L5",
        ),
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
            help="Capacity of each tape, 100GiB to 15TiB in whole GiB (1TB is 1TiB, as with AWS);"
            " no room until written.",
        ),
    ] = None,
    count: Annotated[int, typer.Option("--count", metavar="N", help="How many.")] = 1,
    prefix: Annotated[
        str | None,
        typer.Option(
            "--prefix",
            metavar="PREFIX",
            show_default="TAPE",
            help="How generated barcodes begin: 1 to 4 letters; 6 hexadecimal digits follow.",
        ),
    ] = None,
    barcode: Annotated[
        str | None,
        typer.Option(
            "--barcode",
            metavar="BARCODE",
            show_default="a generated one",
            help="Barcode of the first tape: 5 to 16 of A-Z and 0-9, never used before. With"
            " --count its number is counted up.",
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
            "--if-not-exists", help="With --barcode: tapes that are there already are no error."
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

    require_wait(wait, timeout)
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
    render_tapes(tapes, output, empty=NONE_MATCH if glob or statuses or pool else NO_TAPES)


NO_TAPES = "no tapes; run `tapectl tape create` for some"
NONE_MATCH = "no such tapes; `tapectl tape list` shows all"


@app.command("show", epilog=examples(("tapectl tape show VTL001L5", "its status, place and dates")))
def show(context: typer.Context, barcode: Barcode, output: Output = None) -> None:
    """Show all about one tape."""
    from tapectl.gateway.tapes import describe_tape

    with open_gateway(context) as (state, _):
        render_tape(describe_tape(state, barcode), output)
