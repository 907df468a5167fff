"""`tapectl bandwidth`: how fast the gateway may upload and download, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tapectl.cli.options import Output, examples
from tapectl.cli.render import Column, OutputFormat, Row, render_rows, show_yes
from tapectl.cli.session import actor, change_gateway, open_gateway
from tapectl.units import format_rate, parse_rate

if TYPE_CHECKING:
    from tapectl.gateway.bandwidth import BandwidthInfo
    from tapectl.state.database import State

app = typer.Typer(
    no_args_is_help=True,
    help="Limits of how fast tapes are uploaded and downloaded. A change is felt within seconds.",
)


def _show_rate(value: object) -> str:
    """Return a limit for people."""
    return format_rate(value) if isinstance(value, int) else ""


def _show_days(value: object) -> str:
    """Return days of the week for people."""
    from tapectl.gateway.bandwidth_schedule import format_days

    return format_days(frozenset(value)) if isinstance(value, list) else ""


# fmt: off
COLUMNS = (
    Column("DaysOfWeek", "Days", _show_days),
    Column("StartTime", "From"),
    Column("EndTime", "Through"),
    Column("AverageUploadRateLimitInBitsPerSec", "Upload", _show_rate, right=True),
    Column("AverageDownloadRateLimitInBitsPerSec", "Download", _show_rate, right=True),
    Column("Active", "Now", show_yes),
)
# fmt: on


@app.command(
    "set",
    epilog=examples(
        ("tapectl bandwidth set --upload 100Mbit", "uploads, at all times"),
        ("tapectl bandwidth set --upload 100Mbit --download 200Mbit", "both directions"),
    ),
)
def set_(
    context: typer.Context,
    upload: Annotated[
        str | None,
        typer.Option(
            "--upload",
            metavar="RATE",
            show_default="stays as it is",
            help="Upload so fast at most: 51.2kbit and more.",
        ),
    ] = None,
    download: Annotated[
        str | None,
        typer.Option(
            "--download",
            metavar="RATE",
            show_default="stays as it is",
            help="Download so fast at most: 102.4kbit and more.",
        ),
    ] = None,
    output: Output = None,
) -> None:
    """Limit uploads, downloads or both, at all times.

    A RATE is bits a second, as 100Mbit or 51200, or bytes a second with a capital B, as 10MB/s.
    """
    from tapectl.gateway.bandwidth import set_limits

    with change_gateway(context) as (state, _):
        set_limits(
            state,
            upload_bits_per_s=None if upload is None else parse_rate(upload),
            download_bits_per_s=None if download is None else parse_rate(download),
            actor=actor(),
        )
        _render(state, output)


@app.command(
    "schedule",
    epilog=examples(
        (
            "tapectl bandwidth schedule 'mon-fri 08:00-17:59 upload=10Mbit'",
            "slow in office hours, unlimited at other times",
        ),
        (
            "tapectl bandwidth schedule 'mon-fri 08:00-17:59 upload=10Mbit download=50Mbit'"
            " 'mon-fri 18:00-23:59 upload=50Mbit' 'sat,sun 00:00-23:59 upload=200Mbit'",
            "the whole week",
        ),
    ),
)
def schedule(
    context: typer.Context,
    intervals: Annotated[
        list[str],
        typer.Argument(
            metavar="INTERVAL...",
            show_default=False,
            help="'DAYS HH:MM-HH:MM upload=RATE download=RATE', up to 20 of them.",
        ),
    ],
    output: Output = None,
) -> None:
    """Set limits for times of the week, in place of all there were.

    Times are of the gateway's time zone; an interval holds to the end of its last minute, so one to
    17:59 ends at 18:00. Intervals may not overlap. Outside of them there is no limit.
    """
    from tapectl.gateway.bandwidth import set_schedule
    from tapectl.gateway.bandwidth_schedule import parse_interval

    with change_gateway(context) as (state, _):
        set_schedule(state, [parse_interval(text) for text in intervals], actor=actor())
        _render(state, output)


@app.command("show", epilog=examples(("tapectl bandwidth show", "the limits, and which hold now")))
def show(context: typer.Context, output: Output = None) -> None:
    """Show the limits."""
    with open_gateway(context) as (state, _):
        _render(state, output)


@app.command(
    "clear",
    epilog=examples(
        ("tapectl bandwidth clear", "no limits any more"),
        ("tapectl bandwidth clear --upload", "none on uploads; those on downloads stay"),
    ),
)
def clear(
    context: typer.Context,
    upload: Annotated[bool, typer.Option("--upload", help="Only the limits of uploads.")] = False,
    download: Annotated[
        bool, typer.Option("--download", help="Only the limits of downloads.")
    ] = False,
    output: Output = None,
) -> None:
    """Lift the limits, at all times."""
    from tapectl.gateway.bandwidth import clear_limits

    both = upload is download
    with change_gateway(context) as (state, _):
        clear_limits(state, upload=upload or both, download=download or both, actor=actor())
        _render(state, output)


def _render(state: State, output: OutputFormat | None) -> None:
    from tapectl.gateway.bandwidth import show_bandwidth

    rows = [_interval_row(info) for info in show_bandwidth(state)]
    render_rows(rows, COLUMNS, output=output, empty="no limits")


def _interval_row(info: BandwidthInfo) -> Row:
    """Return the JSON object of an interval: AWS's BandwidthRateLimitInterval, and more."""
    from tapectl.gateway.bandwidth_schedule import format_minute

    one = info.interval
    return {
        "DaysOfWeek": sorted(one.days),
        "StartTime": format_minute(one.start_minute),
        "EndTime": format_minute(one.end_minute),
        "StartHourOfDay": one.start_minute // 60,
        "StartMinuteOfHour": one.start_minute % 60,
        "EndHourOfDay": one.end_minute // 60,
        "EndMinuteOfHour": one.end_minute % 60,
        "AverageUploadRateLimitInBitsPerSec": one.upload_bits_per_s,
        "AverageDownloadRateLimitInBitsPerSec": one.download_bits_per_s,
        "Active": info.active,
    }
