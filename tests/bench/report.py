"""Tables in Markdown, and the places between two markers where those of a section stand."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


def markers(section: str) -> tuple[str, str]:
    """Return what stands before and behind the tables of a section."""
    return f"<!-- {section}: begin -->", f"<!-- {section}: end -->"


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


def replace_between_markers(page: str, section: str, text: str) -> str:
    """Return a page with `text` between a section's markers; raise ValueError if it has none."""
    begin, end = markers(section)
    before, found_begin, rest = page.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise ValueError(f"no place for the tables: want {begin} and {end}")
    return f"{before}{begin}\n{text.strip()}\n{end}{after}"


def write_page(path: Path, section: str, text: str) -> None:
    """Put the tables of a section into a page that has its markers."""
    path.write_text(replace_between_markers(path.read_text(), section, text))
