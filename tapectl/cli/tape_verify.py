"""`tapectl tape verify`: is every copy of a tape what was written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tapectl.cli.options import Barcodes, Output, Timeout, examples
from tapectl.cli.render import Column, Row, iso_time, render_rows, show_size, show_time
from tapectl.cli.session import change_gateway, open_gateway
from tapectl.cli.waiting import Progress, wait_until
from tapectl.units import format_size, parse_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tapectl.gateway.verification import VerificationInfo
    from tapectl.state.database import State

# fmt: off
COLUMNS = (
    Column("TapeBarcode", "Barcode"),
    Column("VerifyStatus", "Found"),
    Column("Segments", "Segments", right=True),
    Column("CheckedBytes", "Read", show_size, right=True),
    Column("HealedCopies", "Made anew", right=True),
    Column("DamagedSegments", "Damaged", right=True),
    Column("LostSegments", "Lost", right=True),
    Column("UnreadSegments", "Not readable now", right=True),
    Column("VerifiedDate", "Verified", show_time),
)
# fmt: on


def register(tape: typer.Typer) -> None:
    """Add the command to the noun."""
    tape.command(
        "verify",
        epilog=examples(
            (
                "tapectl tape verify VTL001L5",
                "read and check all copies, on the disks and in the store",
            ),
            ("tapectl tape verify VTL001L5 --local", "those on the disks: no traffic"),
            ("tapectl tape verify VTL001L5 --rate 20MiB --no-wait", "slowly, by `tapectl serve`"),
        ),
    )(verify)


def verify(
    context: typer.Context,
    barcodes: Barcodes,
    local: Annotated[
        bool,
        typer.Option(
            "--local", help="Only copies on the local disks; the store's where one is damaged."
        ),
    ] = False,
    rate: Annotated[
        str | None,
        typer.Option(
            "--rate",
            metavar="SIZE",
            show_default="setting verify_bytes_per_s, 100MiB",
            help="Read so much a second at most.",
        ),
    ] = None,
    restart: Annotated[
        bool,
        typer.Option("--restart", help="From the beginning, where one was interrupted before."),
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Return when it has begun; `tapectl serve` does it.")
    ] = False,
    timeout: Timeout = None,
    output: Output = None,
) -> None:
    """Read tapes, and check every checksum.

    Every segment of them, and every copy of it. A damaged copy is made anew from one that is right.
    What was interrupted goes on where it was. Objects in an archive class cannot be read before a
    retrieval. Of a tape in a drive the segment that is being written is not read. Exit status 19:
    something is damaged and could not be made anew.
    """
    from tapectl.errors import UsageError
    from tapectl.gateway.tapes import describe_tape
    from tapectl.gateway.verification import (
        TapeDamagedError,
        describe_verification,
        request_verification,
    )

    rate_bytes_per_s = None if rate is None else parse_size(rate)
    if rate_bytes_per_s is not None and rate_bytes_per_s < 1:
        raise UsageError("--rate has to be more than nothing", hint="as in --rate 20MiB")
    with change_gateway(context) as (state, _):
        request_verification(
            state,
            barcodes,
            local_only=local,
            rate_bytes_per_s=rate_bytes_per_s,
            restart=restart,
        )
    with open_gateway(context) as (state, settings):
        if not no_wait:
            what = barcodes[0] if len(barcodes) == 1 else f"{len(barcodes)} tapes"
            wait_until(
                settings,
                lambda: _progress(state, barcodes),
                what=f"verifying {what}",
                timeout_s=timeout,
            )
        found = [
            one
            for barcode in barcodes
            if (one := describe_verification(state, barcode)) is not None
        ]
        in_drives = [
            barcode for barcode in barcodes if describe_tape(state, barcode).vtl_device is not None
        ]
    for barcode in in_drives:
        typer.echo(
            f"warning: {barcode} is in a drive: the end of what that has written is not read;"
            f" verify it again after `tapectl tape unload {barcode}`",
            err=True,
        )
    render_rows([verification_row(one) for one in found], COLUMNS, output=output, empty="no tapes")
    damaged = [one.record.barcode for one in found if one.record.status == "DAMAGED"]
    if damaged and not no_wait:
        raise TapeDamagedError(
            f"damaged: {', '.join(damaged)}", hint=f"run `tapectl events {damaged[0]}`"
        )


def _progress(state: State, barcodes: Sequence[str]) -> Progress:
    from tapectl.gateway.verification import describe_verification

    found = [one for name in barcodes if (one := describe_verification(state, name)) is not None]
    done = sum(one.record.segment_count for one in found)
    left = sum(one.segments_left for one in found if not one.finished)
    checked_bytes = sum(one.record.checked_bytes for one in found)
    percent = 100 * done / (done + left) if done + left else 100.0
    return Progress(
        done=all(one.finished for one in found),
        percent=percent,
        text=f"{format_size(checked_bytes)} read",
    )


def verification_row(info: VerificationInfo) -> Row:
    """Return the JSON object of a verification; docs/json-output.md says what each key means."""
    record = info.record
    return {
        "TapeBarcode": record.barcode,
        "VerifyStatus": record.status,
        "Segments": record.segment_count,
        "SegmentsLeft": info.segments_left,
        "CheckedBytes": record.checked_bytes,
        "HealedCopies": record.healed_count,
        "DamagedSegments": record.damaged_count,
        "LostSegments": record.lost_count,
        "UnreadSegments": record.unread_count,
        "LocalOnly": record.local_only,
        "StartedDate": iso_time(record.started_at_ms),
        "VerifiedDate": iso_time(record.finished_at_ms),
    }
