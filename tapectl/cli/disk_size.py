"""`tapectl disk size`: how large the local disks should be."""

from __future__ import annotations

from typing import Annotated

import typer

from tapectl.cli.options import Output, examples
from tapectl.cli.render import Column, render_record, show_size
from tapectl.units import parse_rate

# fmt: off
COLUMNS = (
    Column("UploadBufferAllocatedInBytes", "Upload buffer", show_size),
    Column("CacheAllocatedInBytes", "Cache", show_size),
    Column("RequiredInBytes", "Piles up meanwhile", show_size),
)
# fmt: on


def register(disk: typer.Typer) -> None:
    """Add the command to the noun."""
    disk.command(
        "size",
        epilog=examples(
            (
                "tapectl disk size --write 40MB/s --upload 12MB/s --compression 2 --hours 12",
                "AWS's own example: 12 hours of backup, data that halves",
            ),
            ("tapectl disk size --write 1Gbit --upload 200Mbit --hours 8", "as networks are sold"),
        ),
    )(size)


def size(
    write: Annotated[
        str,
        typer.Option(
            "--write", metavar="RATE", show_default=False, help="How fast backups are written."
        ),
    ],
    upload: Annotated[
        str,
        typer.Option(
            "--upload", metavar="RATE", show_default=False, help="How fast the network takes data."
        ),
    ],
    hours: Annotated[
        float,
        typer.Option(
            "--hours", metavar="HOURS", min=0, show_default=False, help="How long a backup writes."
        ),
    ],
    compression: Annotated[
        float,
        typer.Option(
            "--compression",
            metavar="RATIO",
            min=1,
            help="What zstd makes of the data: text about 2, video about 1.",
        ),
    ] = 1.0,
    output: Output = None,
) -> None:
    """Say how large buffer and cache should be.

    Needs no gateway. AWS's formula: what is written faster than it is uploaded, for as long as it
    is written, and 1.1 times as much for the cache; at least 150 GiB each. An upload buffer that is
    too small loses nothing here: it slows the writer down to the pace of the network.
    """
    from tapectl.gateway.sizing import Workload, recommended_sizes

    sizes = recommended_sizes(
        Workload(
            write_bytes_per_s=parse_rate(write) / 8,
            upload_bytes_per_s=parse_rate(upload) / 8,
            compression_ratio=compression,
            duration_s=hours * 3600,
        )
    )
    row = {
        "UploadBufferAllocatedInBytes": sizes.upload_buffer_bytes,
        "CacheAllocatedInBytes": sizes.cache_bytes,
        "RequiredInBytes": sizes.required_bytes,
    }
    render_record(row, COLUMNS, output=output)
