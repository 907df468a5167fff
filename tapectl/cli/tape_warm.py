"""`tapectl tape warm`: a tape into the cache, before somebody waits for it."""

from __future__ import annotations

import typer

from tapectl.cli.options import Barcodes, Output, examples
from tapectl.cli.render import Column, render_rows, show_size
from tapectl.cli.session import open_gateway
from tapectl.cli.waiting import bytes_progress, progress_bar

COLUMNS = (
    Column("TapeBarcode", "Barcode"),
    Column("CachedBytes", "In the cache", show_size, right=True),
    Column("FetchedBytes", "Fetched", show_size, right=True),
)


def register(tape: typer.Typer) -> None:
    """Add the command to the noun."""
    tape.command(
        "warm",
        epilog=examples(
            ("tapectl tape warm VTL001L5", "before a restore from it begins"),
        ),
    )(warm)


def warm(context: typer.Context, barcodes: Barcodes, output: Output = None) -> None:
    """Bring all that is on tapes into the cache.

    No read has to wait for the store then. Refused for a tape that is larger than what the cache
    keeps. What was read longest ago leaves the cache for it.
    """
    from tapectl.gateway.warming import warmth
    from tapectl.serve.warming import warm as warm_tape

    rows = []
    with open_gateway(context) as (state, settings):
        for barcode in barcodes:
            with progress_bar(f"warming {barcode}") as show:
                found = warm_tape(
                    state,
                    settings,
                    barcode,
                    on_progress=lambda done, total, show=show: show(bytes_progress(done, total)),  # type: ignore[misc]
                )
            row = {
                "TapeBarcode": barcode,
                "CachedBytes": warmth(state, barcode).cached_bytes,
                "FetchedBytes": found.cold_bytes,
            }
            rows.append(row)
    render_rows(rows, COLUMNS, output=output, empty="no tapes")
