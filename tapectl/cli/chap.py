"""`tapectl chap`: which initiators may log in to which device. Secrets go in and never come out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tapectl.cli import completing
from tapectl.cli.asking import confirm
from tapectl.cli.options import Initiator, Output, Yes, examples
from tapectl.cli.render import Column, Row, iso_time, render_record, render_rows, show_yes
from tapectl.cli.secret_file import read_secret
from tapectl.cli.session import actor, change_access, open_gateway

if TYPE_CHECKING:
    from tapectl.gateway.chap import ChapInfo

app = typer.Typer(no_args_is_help=True, help="CHAP: which initiators may log in to which device.")

COLUMNS = (
    Column("Device", "Device"),
    Column("InitiatorName", "Initiator"),
    Column("Mutual", "Mutual", show_yes),
    Column("TargetARN", "Target"),
)
DeviceOrAllOrDiscovery = Annotated[
    str,
    typer.Argument(
        metavar="DEVICE",
        show_default=False,
        autocompletion=completing.devices_or_all_or_discovery,
        help="Device, as `tapectl device list` shows it, all of them, or discovery for discovery"
        " sessions.",
    ),
]


def _chap_row(info: ChapInfo) -> Row:
    return {
        "Device": info.device,
        "TargetARN": info.target_name,
        "InitiatorName": info.initiator_name,
        "Mutual": info.mutual,
        "CreatedDate": iso_time(info.created_at_ms),
    }


@app.command(
    "set",
    epilog=examples(
        (
            "tapectl chap set all iqn.1993-08.org.debian:01:abc --secret-file in.secret",
            "one-way: the initiator proves who it is, to every device",
        ),
        (
            "pass show tape | tapectl chap set mediachanger iqn.1993-08.org.debian:01:abc"
            " --secret-file -",
            "the secret from a password store",
        ),
        (
            "tapectl chap set discovery iqn.1993-08.org.debian:01:abc --secret-file in.secret",
            "who may ask what devices there are",
        ),
    ),
)
def set_(
    context: typer.Context,
    device: DeviceOrAllOrDiscovery,
    initiator: Initiator,
    secret_file: Annotated[
        Path,
        typer.Option(
            "--secret-file",
            metavar="PATH",
            show_default=False,
            help="File whose first line is the initiator's secret, 12 to 16 bytes; - for stdin.",
        ),
    ],
    target_secret_file: Annotated[
        Path | None,
        typer.Option(
            "--target-secret-file",
            metavar="PATH",
            help="The same for ours: makes CHAP mutual.",
        ),
    ] = None,
    output: Output = None,
) -> None:
    """Set the secret of an initiator at a device, or all.

    It takes the place of the one there was. A device with a secret takes only initiators that know
    theirs; sessions of this initiator, and of those without a secret, end. Discovery sessions have
    secrets of their own. A secret is never taken from the command line, where every user of the
    machine could read it.
    """
    from tapectl.gateway.chap import set_credentials
    from tapectl.gateway.devices import ALL_DEVICES

    target_secret = None if target_secret_file is None else read_secret(target_secret_file)
    with change_access(context, initiator) as (state, changed):
        found = set_credentials(
            state,
            device,
            initiator,
            initiator_secret=read_secret(secret_file),
            target_secret=target_secret,
            actor=actor(),
        )
        changed += [info.device for info in found]
    if device == ALL_DEVICES:
        render_rows([_chap_row(info) for info in found], COLUMNS, output=output, empty="no devices")
    else:
        render_record(_chap_row(found[0]), COLUMNS, output=output)


@app.command("list", epilog=examples(("tapectl chap list", "who may log in where")))
def list_(context: typer.Context, output: Output = None) -> None:
    """List the credentials, without their secrets."""
    from tapectl.gateway.chap import list_credentials

    with open_gateway(context) as (state, _):
        rows = [_chap_row(info) for info in list_credentials(state)]
    render_rows(rows, COLUMNS, output=output, empty="no credentials: every device takes anyone")


@app.command(
    "delete",
    epilog=examples(
        ("tapectl chap delete tapedrive-01 iqn.1993-08.org.debian:01:abc", "asks"),
        ("tapectl chap delete all iqn.1993-08.org.debian:01:abc --yes", "everywhere, in a script"),
    ),
)
def delete(
    context: typer.Context, device: DeviceOrAllOrDiscovery, initiator: Initiator, yes: Yes = False
) -> None:
    """Delete the credentials of an initiator at a device, or all.

    Its sessions at the device end. With its last credentials gone a device takes anyone.
    """
    from tapectl.gateway.chap import delete_credentials, require_credentials

    with open_gateway(context) as (state, _):
        require_credentials(state, device, initiator)
    confirm(f"Delete the credentials of {initiator} at {device}?", yes=yes)
    with change_access(context, initiator) as (state, changed):
        changed += delete_credentials(state, device, initiator, actor=actor())
