"""`tapectl check`: the state against disks, store and host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from tapectl.cli.options import DryRun, Output, examples
from tapectl.cli.render import (
    Column,
    OutputFormat,
    Row,
    chosen,
    render_record,
    render_rows,
    show_list,
    show_yes,
)
from tapectl.cli.session import actor, open_gateway
from tapectl.errors import ExitCode

if TYPE_CHECKING:
    from tapectl.gateway.check.findings import Finding
    from tapectl.gateway.check.run import CheckReport, CheckRequest, Repair
    from tapectl.gateway.settings import Settings
    from tapectl.state.database import State

COLUMNS = (
    Column("Severity", "Severity"),
    Column("Code", "Finding"),
    Column("Subject", "Subject"),
    Column("Message", "What"),
    Column("Hint", "Hint"),
)
REPAIR_COLUMNS = (
    Column("Code", "Finding"),
    Column("Subject", "Subject"),
    Column("Repair", "Repair"),
    Column("Done", "Done", show_yes),
    Column("Reason", "Why not"),
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
            ("tapectl check --repair --dry-run", "what would be repaired?"),
            ("tapectl check --repair --data", "find and repair damage anywhere on the disks"),
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
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Repair what can be without losing anything, then look again: copies are made"
            " anew, files that nothing needs removed, tapes put where they belong.",
        ),
    ] = False,
    dry_run: DryRun = False,
    output: Output = None,
) -> None:
    """Examine the gateway: the state against disks, store and host.

    Changes nothing without --repair; may run while the gateway serves, with it, too. Exit status 3
    when there is an error or a warning, with --repair when one is left; what is only worth knowing
    (info) is none. It reads data of the store only to repair a copy: all of it reads `tapectl tape
    verify`.
    """
    from tapectl.errors import UsageError
    from tapectl.gateway.check.run import CheckRequest

    if dry_run and not repair:
        raise UsageError("--dry-run goes with --repair", hint="alone, `check` changes nothing")
    request = CheckRequest(store=store, deep=data)
    with open_gateway(context) as (state, settings):
        report = _report(state, settings, request, repair=repair, dry_run=dry_run)
    _show(report, output, repaired=repair)
    if not report.clean:
        raise typer.Exit(int(ExitCode.CHECK_FINDINGS))


def _report(
    state: State, settings: Settings, request: CheckRequest, *, repair: bool, dry_run: bool
) -> CheckReport:
    from tapectl.gateway.check.repair import repair_gateway
    from tapectl.gateway.check.run import check_gateway
    from tapectl.serve.client import repairing, who_serves

    lacking = _lacking(settings)
    if not repair:
        serving = replace(who_serves(settings.state_path), lacking=lacking)
        return check_gateway(state, settings, request, serving=serving)
    if dry_run:
        serving = replace(who_serves(settings.state_path), lacking=lacking)
        return repair_gateway(state, settings, request, serving=serving, dry_run=True)
    with repairing(settings.state_path) as found:
        serving = replace(found, lacking=lacking)
        return repair_gateway(state, settings, request, serving=serving, actor=actor())


def _lacking(settings: Settings) -> Sequence[tuple[str, str]]:
    """Return what this host lacks for the kernel's target, where that is to be used."""
    from tapectl.gateway.settings import FrontEndKind
    from tapectl.lio.requirements import missing

    if settings.frontend is FrontEndKind.USER:
        return ()
    return [(one.what, one.hint) for one in missing(settings.fabric)]


def _show(report: CheckReport, output: OutputFormat | None, *, repaired: bool) -> None:
    repairs = [_repair_row(one) for one in report.repairs]
    rows = [_row(found) for found in report.findings]
    if chosen(output) is OutputFormat.JSON:
        document = {
            "Clean": report.clean,
            "TapeBarcodes": list(report.tapes),
            "Findings": rows,
        }
        if repaired:
            document["Repairs"] = repairs
        render_record(document, (), output=output)
        return
    if repairs and chosen(output) is not OutputFormat.TSV:
        render_rows(repairs, REPAIR_COLUMNS, output=output, empty="")
    render_rows(rows, COLUMNS, output=output, empty="all is well")
    if report.tapes and chosen(output) is not OutputFormat.TSV:
        named = show_list(report.tapes[:TAPES_NAMED])
        more = ", ..." if len(report.tapes) > TAPES_NAMED else ""
        typer.echo(f"tapes affected ({len(report.tapes)}): {named}{more}", err=True)


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


def _repair_row(repair: Repair) -> Row:
    return {
        "Code": repair.code.value,
        "SubjectType": repair.subject_type,
        "Subject": repair.subject,
        "Repair": repair.what,
        "Done": repair.done,
        "Reason": repair.reason,
    }
