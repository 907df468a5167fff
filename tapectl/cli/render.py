"""What a command found, as a table, plain text, tab-separated values or JSON.

Commands hand over rows whose keys are the JSON keys (AWS's field names where
AWS has the field) and the columns a person wants to see. `rich` and
`tabulate` are imported when they are used: they cost more than most commands.
"""

from __future__ import annotations

import enum
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from tapectl.units import format_size

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

Row = Mapping[str, object]


class OutputFormat(enum.StrEnum):
    """The formats of `--output`."""

    TABLE = "table"
    PLAIN = "plain"
    JSON = "json"
    TSV = "tsv"


STATUS_STYLES = {
    "AVAILABLE": "green",
    "RETRIEVED": "green",
    "ARCHIVED": "blue",
    "CREATING": "yellow",
    "IN TRANSIT TO VTS": "yellow",
    "ARCHIVING": "yellow",
    "RETRIEVING": "yellow",
    "RECOVERED": "magenta",
    "IRRECOVERABLE": "bold red",
    "DELETING": "dim",
    "DELETED": "dim",
    "present": "green",
    "missing": "bold red",
    "mismatch": "bold red",
    "error": "bold red",
    "warning": "yellow",
    "info": "dim",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One field of a row: its JSON key, its title for people and how people read it."""

    key: str
    title: str
    show: Callable[[object], str] = str
    right: bool = False


def show_size(value: object) -> str:
    """Return bytes for people."""
    return format_size(value) if isinstance(value, int) else ""


def show_percent(value: object) -> str:
    """Return a percentage for people."""
    return f"{value:.1f}%" if isinstance(value, int | float) else ""


def show_time(value: object) -> str:
    """Return an ISO 8601 time in the time zone of whoever reads it, to the second."""
    if not isinstance(value, str):
        return ""
    return datetime.fromisoformat(value).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def show_yes(value: object) -> str:
    """Return `yes`, and nothing for what is not so: a record leaves it out then."""
    return "yes" if value else ""


def show_list(value: object) -> str:
    """Return a list of words for people."""
    return ", ".join(str(item) for item in value) if isinstance(value, list | tuple) else str(value)


def show_fields(value: object) -> str:
    """Return a JSON object for people, on one line."""
    if not isinstance(value, dict):
        return ""
    return " ".join(f"{name}={field}" for name, field in value.items() if field is not None)


def iso_time(milliseconds: int | None) -> str | None:
    """Return the JSON form of a time: ISO 8601, UTC, or None."""
    if milliseconds is None:
        return None
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def chosen(output: OutputFormat | None) -> OutputFormat:
    """Return the format to write: what was asked for, else a table for people only."""
    if output is not None:
        return output
    return OutputFormat.TABLE if sys.stdout.isatty() else OutputFormat.PLAIN


def render_rows(
    rows: Sequence[Row],
    columns: Sequence[Column],
    *,
    output: OutputFormat | None,
    empty: str,
    headings: bool = True,
) -> None:
    """Write a list; `empty` is what a person is told where it has no rows.

    Without `headings` it goes on where an earlier one ended.
    """
    match chosen(output):
        case OutputFormat.JSON:
            _write_json([dict(row) for row in rows])
        case OutputFormat.TSV:
            keys = list(rows[0]) if rows else [column.key for column in columns]
            _write_tsv(keys, rows, headings=headings)
        case _ if not rows:
            typer.echo(empty, err=True)
        case OutputFormat.PLAIN:
            _write_plain(rows, columns, headings=headings)
        case OutputFormat.TABLE:
            _write_table(rows, columns, headings=headings)


def render_record(row: Row, columns: Sequence[Column], *, output: OutputFormat | None) -> None:
    """Write one thing; for people one field a line, leaving out those without a value."""
    match chosen(output):
        case OutputFormat.JSON:
            _write_json(dict(row))
        case OutputFormat.TSV:
            _write_tsv(list(row), [row])
        case OutputFormat.PLAIN:
            _write_fields(row, columns)
        case OutputFormat.TABLE:
            _write_fields_styled(row, columns)


def stdout_console() -> Console:
    """Return a console on standard output; colours only on a terminal and without NO_COLOR."""
    from rich.console import Console

    return Console(highlight=False, markup=False, no_color=bool(os.environ.get("NO_COLOR")) or None)


def _write_json(document: Row | Sequence[Row]) -> None:
    typer.echo(json.dumps(document, indent=2))


def _write_tsv(keys: Sequence[str], rows: Sequence[Row], *, headings: bool = True) -> None:
    if headings:
        typer.echo("\t".join(keys))
    for row in rows:
        typer.echo("\t".join(_tsv_value(row.get(key)) for key in keys))


def _tsv_value(value: object) -> str:
    """Return a value as one field: raw, and never with a tab or a line end in it."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value)
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def _cells(row: Row, columns: Sequence[Column]) -> list[str]:
    return [_cell(row, column) for column in columns]


def _cell(row: Row, column: Column) -> str:
    value = row.get(column.key)
    return "" if value is None else column.show(value)


def _write_plain(rows: Sequence[Row], columns: Sequence[Column], *, headings: bool) -> None:
    from tabulate import tabulate

    text = tabulate(
        [_cells(row, columns) for row in rows],
        headers=[column.title for column in columns] if headings else (),
        tablefmt="plain",
        disable_numparse=True,
        colalign=["right" if column.right else "left" for column in columns],
    )
    typer.echo("\n".join(line.rstrip() for line in text.splitlines()))


def _write_table(rows: Sequence[Row], columns: Sequence[Column], *, headings: bool) -> None:
    """Write a table as wide as it is: a terminal that is narrower folds the lines, and barcodes
    and target names stay whole for copy and paste."""
    from rich.text import Text

    cells = [_cells(row, columns) for row in rows]
    titles = [column.title for column in columns] if headings else [""] * len(columns)
    widths = [max(map(len, texts)) for texts in zip(titles, *cells, strict=True)]
    lines = [_line(line, columns, widths, STATUS_STYLES) for line in cells]
    if headings:
        lines.insert(0, Text(_line(titles, columns, widths, {}).plain, "bold"))
        rule = _rule()
        lines.insert(1, Text("  ".join(rule * width for width in widths), "dim"))
    stdout_console().print(Text("\n").join(lines), soft_wrap=True)


def _rule() -> str:
    """Return what the line below the titles is made of, as the terminal has it."""
    try:
        "─".encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return "-"
    return "─"


def _line(
    cells: Sequence[str],
    columns: Sequence[Column],
    widths: Sequence[int],
    styles: Mapping[str, str],
) -> Text:
    """Return one line of a table, its statuses coloured."""
    from rich.text import Text

    line = Text()
    for cell, column, width in zip(cells, columns, widths, strict=True):
        padding = " " * (width - len(cell))
        line.append(padding if column.right else "")
        line.append(cell, styles.get(cell))
        line.append("  " if column.right else padding + "  ")
    line.rstrip()
    return line


def _write_fields(row: Row, columns: Sequence[Column]) -> None:
    filled = [(column.title, _cell(row, column)) for column in columns]
    width = max(len(title) for title, text in filled if text)
    for title, text in filled:
        if text:
            typer.echo(f"{title:<{width}}  {text}")


def _write_fields_styled(row: Row, columns: Sequence[Column]) -> None:
    from rich.text import Text

    filled = [(column.title, _cell(row, column)) for column in columns]
    width = max(len(title) for title, text in filled if text)
    console = stdout_console()
    for title, text in filled:
        if text:
            line = Text().append(f"{title:<{width}}  ", "bold")
            line.append(text, STATUS_STYLES.get(text))
            console.print(line, soft_wrap=True)
