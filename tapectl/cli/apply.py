"""`tapectl apply`: a library as a file says it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tapectl.cli.files import why_unread
from tapectl.cli.options import Output, examples
from tapectl.cli.render import Column, Row, render_rows, show_yes
from tapectl.cli.secret_file import read_secret
from tapectl.cli.session import actor, load_settings
from tapectl.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from tapectl.gateway.library_change import LibraryChange
    from tapectl.gateway.provisioning.change import Change, Hands
    from tapectl.gateway.provisioning.document import LibraryDocument
    from tapectl.gateway.settings import Settings
    from tapectl.state.database import State

# fmt: off
COLUMNS = (
    Column("Action", "Action"),
    Column("Subject", "What"),
    Column("Detail", "Detail"),
    Column("Done", "Done", show_yes),
)
# fmt: on


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    app.command(
        "apply",
        epilog=examples(
            ("tapectl apply -f library.yaml --dry-run", "what would change"),
            ("tapectl apply -f library.yaml", "make it so; the same again changes nothing"),
            ("tapectl apply -f library.yaml --exit-code", "exit status 4: something has changed"),
        ),
    )(apply)


def apply(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Option(
            "--file",
            "-f",
            metavar="PATH",
            show_default=False,
            help="The file, YAML or JSON; - for standard input.",
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")
    ] = False,
    exit_code: Annotated[
        bool,
        typer.Option("--exit-code", help="Exit with status 4 if something changed, or would."),
    ] = False,
    output: Output = None,
) -> None:
    """Make the library what a file says.

    That is gateway, disks, pools, tapes, tags, rules, limits, and who may log in. What is so
    already is left alone, so the command can run again and again. Disks, pools and tapes that the
    file does not name stay; nothing that holds data is ever removed or changed. CHAP secrets are in
    files that it names. Its form is in docs/provisioning.md.
    """
    from tapectl.gateway.provisioning.document import read_document

    document = read_document(_read(file), str(file), read_secret=read_secret)
    settings = load_settings(context)
    rows: list[Row] = []
    try:
        _apply(settings, document, rows, dry_run=dry_run)
    except BaseException:
        if rows:  # what was done before something failed
            render_rows(rows, COLUMNS, output=output, empty="")
        raise
    render_rows(rows, COLUMNS, output=output, empty="nothing to change")
    if rows and exit_code:
        raise typer.Exit(int(ExitCode.CHANGED))


def _read(file: Path) -> str:
    if str(file) == "-":
        return sys.stdin.read()
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(
            f"cannot read the file ({why_unread(exc)}): {file}", hint="- is standard input"
        ) from exc


def _apply(
    settings: Settings, document: LibraryDocument, rows: list[Row], *, dry_run: bool
) -> None:
    from tapectl.gateway.provisioning import plan
    from tapectl.serve.client import wake
    from tapectl.state.database import State

    if not settings.state_path.exists() and document.gateway is not None:
        if dry_run:
            rows += _anew_rows(document)
            return
        _activate(settings, document)
        rows.append(_row("create", "gateway", document.gateway.store_url, done=True))
    with State.open(settings.state_path) as state:
        hands = _hands(state, settings)
        for step in (plan.plan_library, plan.plan_policies):
            _make(step(state, document, hands), rows, dry_run=dry_run)
    if not dry_run:
        wake(settings.state_path)


def _make(found: Sequence[Change], rows: list[Row], *, dry_run: bool) -> None:
    for change in found:
        if not dry_run:
            change.make()
        rows.append(_row(change.action.value, change.subject, change.detail, done=not dry_run))


def _activate(settings: Settings, document: LibraryDocument) -> None:
    from tapectl.gateway.activation import activate
    from tapectl.gateway.stores import open_store

    assert document.gateway is not None, "the caller looked"
    activate(
        settings.state_path,
        document.gateway,
        open_store=lambda record: open_store(record, settings),
        actor=actor(),
    )


def _hands(state: State, settings: Settings) -> Hands:
    from tapectl.gateway.activation import describe_gateway
    from tapectl.gateway.library_change import change_library
    from tapectl.gateway.provisioning.change import Hands
    from tapectl.gateway.stores import open_store
    from tapectl.serve.client import access_changed, library_change

    def change(wanted: LibraryChange) -> None:
        with library_change(settings.state_path) as served:
            change_library(
                state,
                wanted,
                open_store=lambda record: open_store(record, settings),
                served=served,
                actor=actor(),
            )

    return Hands(
        actor(),
        settings.tape_encryption,
        lambda: open_store(describe_gateway(state), settings),
        change,
        lambda device, initiator: access_changed(settings.state_path, device, initiator),
    )


def _anew_rows(document: LibraryDocument) -> list[Row]:
    from tapectl.gateway.provisioning.plan import plan_anew

    assert document.gateway is not None, "the caller looked"
    first = _row("create", "gateway", document.gateway.store_url, done=False)
    return [first, *(_row("create", subject, "", done=False) for subject in plan_anew(document))]


def _row(action: str, subject: str, detail: str, *, done: bool) -> Row:
    """Return the JSON object of a change; docs/json-output.md says what each key means."""
    return {"Action": action, "Subject": subject, "Detail": detail, "Done": done}
