"""The report as one self-contained HTML file: table, pictures, protocol. No script, nothing fetched."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

from analysis.rows import ComparisonRow
from analysis.wording import WIDE, Remark, groups, title, used

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 82rem; padding: 0 1rem;
  color: #1a1a1a; background: #fff; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .6rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th { border-bottom: 2px solid #444; vertical-align: bottom; }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left; }
td small { display: block; color: #666; }
.warning, .missing { color: #9a3412; font-weight: 600; }
img { max-width: 100%; height: auto; image-rendering: pixelated; }
"""


def html(
    heading: str,
    rows: Sequence[ComparisonRow],
    remarks: Sequence[Remark] = (),
    *,
    pictures: Mapping[str, bytes] | None = None,
    protocol: Sequence[str] = (),
    searches: str = "",
) -> str:
    """The whole page. pictures: heading -> PNG bytes, embedded; protocol: lines on how it was measured.

    searches: links to the pages of the spec's searches, as HTML.
    """
    body = [f"<h1>{escape(heading)}</h1>"]
    for group in groups(rows).values():
        body += [f"<h2>{escape(title(group))}</h2>", f'<div class="wide">{_table(group)}</div>']
    if remarks:
        body += ["<ul>", *(_remark(remark) for remark in remarks), "</ul>"]
    body += [searches] if searches else []
    for name, data in (pictures or {}).items():
        source = f"data:image/png;base64,{base64.b64encode(data).decode()}"
        body += [f"<h2>{escape(name)}</h2>", f'<img alt="{escape(name)}" src="{source}">']
    if protocol:
        body += ["<h2>Protocol</h2>", "<ul>", *(f"<li>{escape(line)}</li>" for line in protocol), "</ul>"]
    return whole_page(heading, body)


def whole_page(heading: str, body: Sequence[str]) -> str:
    """A page of these parts, which are HTML, in the style of all pages."""
    head = f'<meta charset="utf-8"><title>{escape(heading)}</title><style>{_STYLE}</style>'
    lines = ["<!doctype html>", f'<html lang="en"><head>{head}</head>', "<body>", *body, "</body></html>"]
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[ComparisonRow]) -> str:
    shown = used(WIDE, rows)
    names = ["defense", "attack", *(column.heading for column in shown)]
    heads = "".join(f"<th>{escape(name)}</th>" for name in names)
    lines = [f"<table><thead><tr>{heads}</tr></thead><tbody>"]
    for row in rows:
        cells = [f"<td>{escape(row.defense)}</td><td>{escape(row.attack)}</td>"]
        for column in shown:
            value, interval = column.text(row)
            below = f"<small>{escape(interval)}</small>" if interval else ""
            cells.append(f"<td>{escape(value)}{below}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return "\n".join(lines) + "\n</tbody></table>"


def _remark(remark: Remark) -> str:
    prefix = "" if remark.kind == "note" else f"{remark.kind}: "
    return f'<li class="{remark.kind}">{escape(prefix + remark.text)}</li>'
