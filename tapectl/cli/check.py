"""`tapectl check`: the state against disks, store and host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tapectl.cli.options import Output, examples
from tapectl.cli.render import (
    Column,
    OutputFormat,
    Row,
    chosen,
    render_record,
    render_rows,
    show_list,
)
from tapectl.cli.session import open_gateway
from tapectl.errors import ExitCode

if TYPE_CHECKING:
    from tapectl.gateway.check.findings import Finding
    from tapectl.gateway.check.run import CheckReport

COLUMNS = (
    Column("Severity", "Severity"),
    Column("Code", "Finding"),
    Column("Subject", "Subject"),
    Column("Message", "What"),
    Column("Hint", "Hint"),
)
TAPES_NAMED = 20
"""Tapes that are named to a person; JSON names all."""


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    app.command(
        "check",
        epilog=examples(
            ("tapectl check", "is all well? exit status 0 if it is, 3 if not"),
            ("tapectl check --data", "read every block on the disks, too"),
            ("tapectl check --output json", "findings with stable codes, for monitoring"),
        ),
    )(check)


def check(
    context: typer.Context,
    data: Annotated[
        bool,
        typer.Option(
            "--data", help="Read every block of every segment on the disks, not its ends alone."
        ),
    ] = False,
    store: Annotated[
        bool,
        typer.Option("--store/--no-store", help="Look at the names in the object store, too."),
    ] = True,
    output: Output = None,
) -> None:
    """Examine the gateway: the state against disks, store and host.

    Changes nothing; may run while the gateway serves. Exit status 3 when there is an error or a
    warning; what is only worth knowing (info) is none. It reads no data of the store: that is
    `tapectl tape verify`.
    """
    from tapectl.gateway.check.run import CheckRequest, check_gateway
    from tapectl.serve.client import who_serves

    with open_gateway(context) as (state, settings):
        report = check_gateway(
            state,
            settings,
            CheckRequest(store=store, deep=data),
            serving=who_serves(settings.state_path),
        )
    _show(report, output)
    if not report.clean:
        raise typer.Exit(int(ExitCode.CHECK_FINDINGS))


def _show(report: CheckReport, output: OutputFormat | None) -> None:
    rows = [_row(found) for found in report.findings]
    if chosen(output) is OutputFormat.JSON:
        document = {
            "Clean": report.clean,
            "TapeBarcodes": list(report.tapes),
            "Findings": rows,
        }
        render_record(document, (), output=output)
        return
    render_rows(rows, COLUMNS, output=output, empty="all is well")
    if report.tapes and chosen(output) is not OutputFormat.TSV:
        named = show_list(report.tapes[:TAPES_NAMED])
        more = ", ..." if len(report.tapes) > TAPES_NAMED else ""
        typer.echo(f"{len(report.tapes)} tapes affected: {named}{more}", err=True)


def _row(found: Finding) -> Row:
    return {
        "Severity": found.severity.value,
        "Code": found.code.value,
        "SubjectType": found.subject_type,
        "Subject": found.subject,
        "Message": found.message,
        "Hint": found.hint,
        "TapeBarcodes": list(found.tapes),
    }
