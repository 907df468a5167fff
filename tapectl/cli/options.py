"""Options and arguments of several commands, declared once so that their help cannot drift."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tapectl.cli import completing
from tapectl.cli.render import OutputFormat

Output = Annotated[
    OutputFormat | None,
    typer.Option(
        "--output",
        "-o",
        envvar="TAPECTL_OUTPUT",
        show_default="table on a terminal, else plain",
        help="How to write the result; json and tsv are for scripts.",
    ),
]
Barcode = Annotated[
    str,
    typer.Argument(
        metavar="BARCODE",
        show_default=False,
        autocompletion=completing.barcodes,
        help="Barcode of the tape, e.g. VTL001L5.",
    ),
]
Barcodes = Annotated[
    list[str],
    typer.Argument(
        metavar="BARCODE...",
        show_default=False,
        autocompletion=completing.barcodes,
        help="Barcodes of one or more tapes.",
    ),
]
ArchivedBarcode = Annotated[
    str,
    typer.Argument(
        metavar="BARCODE",
        show_default=False,
        autocompletion=completing.archived_barcodes,
        help="Barcode of a tape on the shelf.",
    ),
]
Disk = Annotated[
    str,
    typer.Argument(
        metavar="DISK",
        show_default=False,
        autocompletion=completing.disks,
        help="Disk id, path or device node.",
    ),
]
Device = Annotated[
    str,
    typer.Argument(
        metavar="DEVICE",
        show_default=False,
        autocompletion=completing.devices,
        help="Device, as `tapectl device list` shows it: mediachanger, tapedrive-01, ...",
    ),
]
Initiator = Annotated[
    str,
    typer.Argument(
        metavar="INITIATOR",
        show_default=False,
        autocompletion=completing.initiators,
        help="Name of the initiator, as in /etc/iscsi/initiatorname.iscsi.",
    ),
]
Pool = Annotated[
    str,
    typer.Option(
        "--pool",
        metavar="POOL",
        autocompletion=completing.pools,
        help="Pool for when it is archived: GLACIER, DEEP_ARCHIVE, or one of `tapectl pool list`.",
    ),
]
PoolName = Annotated[
    str,
    typer.Argument(
        metavar="POOL",
        show_default=False,
        autocompletion=completing.pools,
        help="Pool, by name or id, as `tapectl pool list` shows it.",
    ),
]
BypassGovernance = Annotated[
    bool,
    typer.Option(
        "--bypass-governance-retention",
        help="Also when a GOVERNANCE lock holds it; never when a COMPLIANCE lock does.",
    ),
]
Tags = Annotated[
    list[str] | None,
    typer.Option(
        "--tag", metavar="KEY=VALUE", show_default=False, help="Tag of it; may be repeated."
    ),
]
Wait = Annotated[
    bool,
    typer.Option(
        "--wait",
        help="Return when it is done, not when it has begun; shows progress on a terminal.",
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        min=0,
        show_default="none",
        help="Give up waiting after this long (exit status 54); what was begun goes on.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Yes = Annotated[
    bool, typer.Option("--yes", "-y", help="Do not ask; needed where there is no terminal.")
]
StatePath = Annotated[
    Path | None,
    typer.Option(
        "--state",
        metavar="PATH",
        show_default=False,
        help="State of the gateway: a file, made by activate or quickstart [env: TAPECTL_STATE].",
    ),
]
ConfigPath = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="PATH",
        show_default=False,
        help="File with settings, TOML [env: TAPECTL_CONFIG].",
    ),
]


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Write nothing but errors, for cron.")]
NoInput = Annotated[
    bool,
    typer.Option(
        "--no-input", help="Never ask, also on a terminal: what needs --yes fails without it."
    ),
]


def examples(*pairs: tuple[str, str]) -> str:
    """Return the epilog of a command: each example line with what it does, kept as written."""
    lines = ["\b", "Examples:"]
    for command, purpose in pairs:
        lines += [f"  # {purpose}", f"  {command}"]
    return "\n".join(lines)
