"""`tapectl disk`: the local disks, cache and upload buffer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tapectl.cli import disk_removal
from tapectl.cli.disk_rows import DETAIL_COLUMNS, LIST_COLUMNS, disk_row
from tapectl.cli.options import Disk, Output, examples
from tapectl.cli.render import OutputFormat, render_record, render_rows
from tapectl.cli.session import actor, change_gateway, open_gateway
from tapectl.units import parse_size

if TYPE_CHECKING:
    from tapectl.gateway.disk_allocation import DiskAddition

app = typer.Typer(
    no_args_is_help=True,
    help="Local disks: the cache, and the upload buffer. Every block is on both until it is"
    " in the object store.",
)

DiskPath = Annotated[
    Path,
    typer.Argument(
        metavar="PATH",
        show_default=False,
        help="An empty directory on the disk, or with --format a block device.",
    ),
]
Size = Annotated[
    str | None,
    typer.Option(
        "--size",
        metavar="SIZE",
        show_default="the whole file system",
        help="How much room it may take, e.g. 500GiB.",
    ),
]
Format = Annotated[
    bool,
    typer.Option(
        "--format", help="PATH is an empty block device: make a file system on it and mount it."
    ),
]
AllowSmall = Annotated[bool, typer.Option("--allow-small", help="Take less than 1 GiB, for labs.")]
Create = Annotated[bool, typer.Option("--create", help="Make the directory if it is missing.")]


@app.command(
    "list",
    epilog=examples(
        ("tapectl disk list", "allocated directories, and block devices that are free")
    ),
)
def list_(context: typer.Context, output: Output = None) -> None:
    """List the disks, and free block devices.

    Status: present; missing, when the disk is not there; mismatch, when it is another one. Drain:
    DRAINING while something is left on a disk that is to go, then DRAINED.
    """
    from tapectl.gateway.disk_list import list_disks

    with open_gateway(context) as (state, _):
        rows = [disk_row(disk) for disk in list_disks(state)]
    render_rows(
        rows,
        LIST_COLUMNS,
        output=output,
        empty="no disks; run `tapectl disk add-cache` and `tapectl disk add-buffer`",
    )


@app.command("show", epilog=examples(("tapectl disk show /mnt/cache", "by its path")))
def show(
    context: typer.Context,
    disk: Disk,
    output: Output = None,
) -> None:
    """Show all about one disk."""
    from tapectl.gateway.disk_list import show_disk

    with open_gateway(context) as (state, _):
        render_record(disk_row(show_disk(state, disk)), DETAIL_COLUMNS, output=output)


@app.command(
    "add-cache",
    epilog=examples(
        ("tapectl disk add-cache /mnt/cache", "an empty directory on the disk for it"),
        ("tapectl disk add-cache /mnt/cache --size 500GiB", "of which it may take 500 GiB"),
        ("tapectl disk add-cache /dev/nvme1n1 --format", "an empty block device"),
    ),
)
def add_cache(
    context: typer.Context,
    path: DiskPath,
    size: Size = None,
    format_: Format = False,
    create: Create = False,
    allow_small: AllowSmall = False,
    output: Output = None,
) -> None:
    """Allocate a disk as cache.

    It holds what was written or read lately, near at hand. AWS asks for 150 GiB to 64 TiB; outside
    of that there is a warning.
    """
    from tapectl.gateway.disk_allocation import DiskAddition
    from tapectl.state.disks import DiskRole

    request = DiskAddition(
        role=DiskRole.CACHE_STORAGE,
        path=path,
        size_bytes=None if size is None else parse_size(size),
        format=format_,
        create=create,
        allow_small=allow_small,
    )
    _add(context, request, output)


@app.command(
    "add-buffer",
    epilog=examples(
        ("tapectl disk add-buffer /mnt/buffer", "an empty directory on a disk of its own"),
        ("tapectl disk add-buffer /dev/nvme2n1 --format", "an empty block device"),
    ),
)
def add_buffer(
    context: typer.Context,
    path: DiskPath,
    size: Size = None,
    format_: Format = False,
    create: Create = False,
    allow_small: AllowSmall = False,
    output: Output = None,
) -> None:
    """Allocate a disk as upload buffer.

    It holds the second copy of what is not in the store yet. Use another disk than the cache's: on
    the same one a second copy would protect nothing, and none is made. AWS asks for 150 GiB to 2
    TiB; outside of that there is a warning.
    """
    from tapectl.gateway.disk_allocation import DiskAddition
    from tapectl.state.disks import DiskRole

    request = DiskAddition(
        role=DiskRole.UPLOAD_BUFFER,
        path=path,
        size_bytes=None if size is None else parse_size(size),
        format=format_,
        create=create,
        allow_small=allow_small,
    )
    _add(context, request, output)


def _add(context: typer.Context, request: DiskAddition, output: OutputFormat | None) -> None:
    from tapectl.gateway.disk_allocation import add_disk

    with change_gateway(context) as (state, _):
        disk = add_disk(state, request, actor=actor())
    for warning in disk.warnings:
        typer.echo(f"warning: {warning}", err=True)
    render_record(disk_row(disk), LIST_COLUMNS, output=output)


disk_removal.register(app)
