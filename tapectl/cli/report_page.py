"""The gateway on one page of HTML that needs nothing but itself: for a mail, or an auditor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from tapectl.cli.render import Column, show_time
from tapectl.cli.report_charts import bar_chart
from tapectl.units import format_duration, format_size

if TYPE_CHECKING:
    from tapectl.gateway.history import Day

Row = Mapping[str, Any]

# Light and dark as the reader has it; meters and scroll bars follow by `color-scheme`.
_STYLE = """\
:root { color-scheme: light dark; --ink: #1c1f23; --soft: #5b6570; --line: #d9dee3;
  --paper: #fff; --card: #f5f7f9; --bar: #3572b0;
  --good: #1a7f37; --wait: #9a6700; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #9aa5b1; --line: #333b44;
  --paper: #14181d; --card: #1d232a; --bar: #6ca6e0;
  --good: #4cc38a; --wait: #e3b341; --bad: #ff7b72; } }
body { margin: 0 auto; max-width: 75rem; padding: 1.5rem; background: var(--paper);
  color: var(--ink); font: 0.95rem/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.6rem; } h1 small { color: var(--soft); font-size: 1rem;
  font-weight: normal; white-space: nowrap; } h2 { margin: 2rem 0 0.5rem; font-size: 1.15rem; }
p.made { margin: 0.2rem 0 1.5rem; color: var(--soft); }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); gap: 0.75rem;
  margin: 0; }
dl div { padding: 0.7rem 0.9rem; border: 1px solid var(--line); border-radius: 0.5rem;
  background: var(--card); }
dt { color: var(--soft); font-size: 0.8rem; } dd { margin: 0; overflow-wrap: anywhere; }
meter { width: 100%; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr));
  gap: 1.5rem; margin-top: 1.5rem; }
figure { margin: 0; } figcaption { color: var(--soft); font-size: 0.8rem; }
svg { display: block; width: 100%; font-size: 12px; } svg text { fill: var(--soft); }
svg .end { text-anchor: end; } svg line { stroke: var(--line); } .bar { fill: var(--bar); }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.35rem 1.5rem 0.35rem 0; border-bottom: 1px solid var(--line);
  text-align: left; white-space: nowrap; }
th { color: var(--soft); font-weight: 600; } .number { text-align: right; }
.good { color: var(--good); } .wait { color: var(--wait); } .bad { color: var(--bad); }
@media print { body { max-width: none; padding: 0; } }
"""

_CLASSES = {
    "AVAILABLE": "good",
    "RETRIEVED": "good",
    "SOUND": "good",
    "CREATING": "wait",
    "IN TRANSIT TO VTS": "wait",
    "ARCHIVING": "wait",
    "RETRIEVING": "wait",
    "DELETING": "wait",
    "IRRECOVERABLE": "bad",
    "DAMAGED": "bad",
    "missing": "bad",
    "mismatch": "bad",
}


def report_page(
    status: Row,
    history: Sequence[Day],
    tables: Sequence[tuple[str, Sequence[Row], Sequence[Column]]],
    *,
    made_at: str,
) -> str:
    """Return the page: the JSON object of `tapectl status`, what there was day by day, and tables
    with their titles.

    `made_at` is ISO 8601.
    """
    name = f"{status['GatewayName']} ({status['GatewayId']})"
    sections = [_table(title, rows, columns) for title, rows, columns in tables]
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tape gateway {escape(name)}</title>
<style>
{_STYLE}</style>
</head>
<body>
<header>
<h1>Tape gateway {escape(str(status["GatewayName"]))} <small>{status["GatewayId"]}</small></h1>
<p class="made">As it was at <time datetime="{escape(made_at)}">{show_time(made_at)}</time></p>
</header>
<main>
{_alarms(status)}<dl>
{"".join(_card(title, text) for title, text in _cards(status))}</dl>
{_charts(history)}{"".join(sections)}</main>
</body>
</html>
"""


def _alarms(status: Row) -> str:
    troubles = [f"{one['Alert']}: {one['Message']}" for one in status.get("Alerts", ())]
    if status["StateDetail"]:
        troubles.append(status["StateDetail"])
    if not troubles:
        return ""
    lines = "".join(f'<li class="bad">{escape(one)}</li>\n' for one in troubles)
    return f"<h2>Alarms</h2>\n<ul>\n{lines}</ul>\n"


def _charts(history: Sequence[Day]) -> str:
    if not any(day.kept_bytes for day in history):
        return ""
    charts = (
        bar_chart("On tapes", [(day.date, day.kept_bytes) for day in history]),
        bar_chart("Written each day", [(day.date, day.written_bytes) for day in history]),
        bar_chart(
            "Uploaded each day, compressed", [(day.date, day.uploaded_bytes) for day in history]
        ),
    )
    return f'<div class="charts">\n{"".join(charts)}</div>\n'


def _cards(status: Row) -> Iterable[tuple[str, str]]:
    """Yield title and HTML of what is told at the top."""
    serves = status["GatewayState"] == "STATE_RUNNING"
    where = ", ".join(status.get("Portals") or ())
    yield "Serving", _classed("good", f"on {where}") if serves else _classed("bad", "no")
    if "Alerts" in status and not status["Alerts"]:
        yield "Alarms", _classed("good", "none")
    yield "Store", escape(status["StoreUrl"])
    yield "Tapes in the library", f"{status['Tapes']}, {format_size(status['TapesSizeInBytes'])}"
    by_status = status["TapesByStatus"].items()
    if by_status:
        yield "Tapes by status", "<br>".join(f"{count} {word}" for word, count in by_status)
    if serves:
        yield "Drives, now", _speeds(status, "written", "read")
        yield "Store, now", _speeds(status, "uploaded", "downloaded")
    yield "Cache", _meter(status["CacheUsedPercentage"], status["CacheAllocatedInBytes"])
    yield "Cache, not uploaded", _meter(status["CacheDirtyPercentage"], None)
    if status.get("CacheHitPercentage") is not None:
        yield "Read from the cache", f"{status['CacheHitPercentage']:.1f}%"
    room = status["UploadBufferAllocatedInBytes"]
    used = 100 * status["UploadBufferUsedInBytes"] / room if room else 0.0
    yield "Upload buffer", _meter(used, room)
    yield "Not in the store yet", _waiting(status)


def _speeds(status: Row, *what: str) -> str:
    speeds = ((word, status[f"{word.capitalize()}BytesPerSecond"]) for word in what)
    return "<br>".join(f"{format_size(speed)}/s {word}" for word, speed in speeds)


def _waiting(status: Row) -> str:
    if not status["WaitingBytes"]:
        return _classed("good", "nothing")
    left_s = status["UploadSecondsLeft"]
    until = "" if left_s is None else f", done in {format_duration(left_s)}"
    return _classed("wait", f"{format_size(status['WaitingBytes'])}{until}")


def _meter(percent: float, size_bytes: int | None) -> str:
    if size_bytes == 0:
        return _classed("bad", "no disk")
    of_all = "" if size_bytes is None else f" of {format_size(size_bytes)}"
    text = f"{percent:.1f}%{of_all}"
    meter = f'<meter min="0" max="100" low="80" high="95" optimum="0" value="{percent:.1f}">'
    return f"{escape(text)}<br>{meter}{escape(text)}</meter>"


def _card(title: str, text: str) -> str:
    return f"<div><dt>{escape(title)}</dt><dd>{text}</dd></div>\n"


def _table(title: str, rows: Sequence[Row], columns: Sequence[Column]) -> str:
    # A column that says nothing of any row is left out.
    columns = [one for one in columns if any(_text(row, one) for row in rows)]
    if not rows:
        return f"<h2>{escape(title)}</h2>\n<p>None.</p>\n"
    heads = "".join(
        f'<th scope="col"{_number(column)}>{escape(column.title)}</th>' for column in columns
    )
    lines = "".join(
        f"<tr>{''.join(_cell(row, column) for column in columns)}</tr>\n" for row in rows
    )
    return (
        f'<h2>{escape(title)}</h2>\n<div class="scroll"><table>\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{lines}</tbody>\n</table></div>\n"
    )


def _cell(row: Row, column: Column) -> str:
    text = _text(row, column)
    kind = _CLASSES.get(text)
    return f"<td{_number(column)}>{escape(text) if kind is None else _classed(kind, text)}</td>"


def _text(row: Row, column: Column) -> str:
    value = row.get(column.key)
    return "" if value is None else column.show(value)


def _number(column: Column) -> str:
    return ' class="number"' if column.right else ""


def _classed(kind: str, text: str) -> str:
    return f'<span class="{kind}">{escape(text)}</span>'
