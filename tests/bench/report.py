"""Tables in Markdown, and the place between two markers where they stand."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

BEGIN, END = "<!-- speed: begin -->", "<!-- speed: end -->"


@dataclass(slots=True)
class Table:
    """A titled table; `notes` are sentences below it."""

    title: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        assert len(cells) == len(self.head), cells
        self.rows.append(cells)

    def markdown(self) -> str:
        lines = [f"### {self.title}", _line(self.head), "|" + "---|" * len(self.head)]
        lines += map(_line, self.rows)
        if self.notes:
            lines += ["", *self.notes]
        return "\n".join(lines)


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def replace_between_markers(page: str, text: str) -> str:
    """Return a page with `text` between its markers; raise ValueError if it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no place for the tables: want {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{text.strip()}\n{END}{after}"


def write_page(path: Path, text: str) -> None:
    """Put the tables into a page that has the markers."""
    path.write_text(replace_between_markers(path.read_text(), text))
