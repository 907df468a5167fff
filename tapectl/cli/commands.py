"""The command `tapectl`: its global options, and the nouns put together."""

from __future__ import annotations

from typing import Annotated

import typer

from tapectl.cli import (
    apply,
    archive,
    autocreate,
    bandwidth,
    chap,
    check,
    completion,
    device,
    disk,
    disk_size,
    events,
    gateway,
    gateway_change,
    gateways,
    key,
    metrics,
    pool,
    quickstart,
    recovery,
    report,
    serving,
    status,
    tag,
    tape,
    tape_data,
    tape_moves,
    tape_pool,
    tape_shelf,
    tape_verify,
    tape_warm,
)
from tapectl.cli.options import ConfigPath, NoInput, Quiet, StatePath, examples
from tapectl.cli.session import Session
from tapectl.cli.streams import no_terminal_input, silence

app = typer.Typer(
    name="tapectl",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Plain help: rich's takes longer to import than most commands take to run.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"tapectl {version('tapectl')}")
        raise typer.Exit


@app.callback(
    epilog=examples(
        ("tapectl quickstart", "a library with five tapes, in one directory, to try"),
        ("tapectl activate --store s3://bucket/prefix", "a gateway on an object store"),
        ("tapectl disk add-cache /mnt/cache", "its two disks: the cache ..."),
        ("tapectl disk add-buffer /mnt/buffer", "... and the upload buffer"),
        ("tapectl tape create --count 5 --size 1TiB", "five tapes"),
        ("tapectl serve", "the library, over iSCSI"),
        ("tapectl tape eject VTL001L5 --wait", "to the shelf (S3 Glacier)"),
    )
)
def tapectl(
    context: typer.Context,
    state: StatePath = None,
    config: ConfigPath = None,
    quiet: Quiet = False,
    no_input: NoInput = False,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """A tape gateway anyone can run: an iSCSI tape library whose tapes live in an object store.

    Backup software sees one media changer and ten LTO drives. What it writes lands on two local
    disks and is uploaded behind its back; ejected tapes go to the shelf, S3 Glacier or Deep
    Archive, and come back when they are retrieved.
    """
    context.obj = Session(state, config)
    if quiet:
        context.with_resource(silence())
    if no_input:
        context.with_resource(no_terminal_input())


# The order of `tapectl --help`: the way of a tape.
quickstart.register(app)
gateway.register(app)
status.register(app)
gateway_change.register(gateways.app)
app.add_typer(gateways.app, name="gateway")
disk_size.register(disk.app)
app.add_typer(disk.app, name="disk")
tape_moves.register(tape.app)
tape_shelf.register(tape.app)
tape_verify.register(tape.app)
tape_pool.register(tape.app)
tape_data.register(tape.app)
tape_warm.register(tape.app)
app.add_typer(tape.app, name="tape")
app.add_typer(autocreate.app, name="autocreate")
app.add_typer(archive.app, name="archive")
app.add_typer(pool.app, name="pool")
app.add_typer(key.app, name="key")
app.add_typer(tag.app, name="tag")
app.add_typer(recovery.app, name="recovery")
app.add_typer(device.app, name="device")
app.add_typer(chap.app, name="chap")
app.add_typer(bandwidth.app, name="bandwidth")
apply.register(app)
serving.register(app)
check.register(app)
events.register(app)
metrics.register(app)
report.register(app)
app.add_typer(completion.app, name="completion")
