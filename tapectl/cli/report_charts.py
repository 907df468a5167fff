"""Charts of the report: bars by day, as SVG that stands in the page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from html import escape

from tapectl.units import format_size

# Of the drawing; the page scales it. Above and below the bars is room for a line of text.
_WIDTH, _HEIGHT, _TEXT = 400, 130, 20
_GAP = 0.2
"""Part of a day's width that is left free."""


def bar_chart(title: str, days: Sequence[tuple[date, int]]) -> str:
    """Return a figure with a bar of bytes for each day."""
    highest = max((size for _, size in days), default=0)
    width = _WIDTH / max(1, len(days))
    room = _HEIGHT - 2 * _TEXT
    bars = []
    for number, (day, size) in enumerate(days):
        height = room * size / highest if highest else 0.0
        bars.append(
            f'<rect class="bar" x="{(number + _GAP / 2) * width:.1f}"'
            f' y="{_HEIGHT - _TEXT - height:.1f}" width="{width * (1 - _GAP):.1f}"'
            f' height="{height:.1f}"><title>{day}: {format_size(size)}</title></rect>\n'
        )
    ends = f"{days[0][0]} to {days[-1][0]}" if days else ""
    label = f"{title}, {ends}: at most {format_size(highest)} a day"
    line = _HEIGHT - _TEXT
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>\n"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}">\n'
        f'<text x="0" y="13">{format_size(highest)}</text>\n'
        f'<line x1="0" y1="{_TEXT}" x2="{_WIDTH}" y2="{_TEXT}"/>\n'
        f"{''.join(bars)}"
        f'<line x1="0" y1="{line}" x2="{_WIDTH}" y2="{line}"/>\n'
        f'<text x="0" y="{_HEIGHT - 4}">{days[0][0] if days else ""}</text>\n'
        f'<text x="{_WIDTH}" y="{_HEIGHT - 4}" class="end">{days[-1][0] if days else ""}</text>\n'
        f"</svg></figure>\n"
    )
