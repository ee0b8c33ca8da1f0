"""The comparison table as a rich renderable: all measures in 120 columns, the most important ones in fewer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from analysis.paper_layout import PaperTable
from analysis.paper_terminal import paper_terminal
from analysis.records import Failure
from analysis.rows import ComparisonRow
from analysis.search_links import SearchLink, links_plain
from analysis.wording import CONFIDENCE, DISTANCES, PASSES, QUERIES, RATES, SECONDS, Column, Remark, groups, title

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from analysis.report import Report

WIDE = 120
ALL = (*RATES, *DISTANCES, CONFIDENCE)
NARROW = (RATES[0], RATES[1], RATES[4], RATES[5], CONFIDENCE)
_STYLES = {"note": "dim", "warning": "bold yellow", "missing": "red"}


def report_terminal(report: Report, width: int) -> RenderableType:
    """A whole report, as wide as the terminal is."""
    return terminal(
        report.rows,
        report.remarks,
        report.failures,
        width=width,
        papers=report.papers,
        searches=report.searches,
    )


def terminal(
    rows: Sequence[ComparisonRow],
    remarks: Sequence[Remark] = (),
    failures: Sequence[Failure] = (),
    *,
    width: int = WIDE,
    papers: Sequence[PaperTable] = (),
    searches: Sequence[SearchLink] = (),
) -> RenderableType:
    """One table for each dataset and victim, then the paper's tables, then the remarks.

    Intervals stand beneath their value. Below WIDE columns only the most important columns are shown, and a line
    says which are not.

    failures: where their logs are is said here only; files for others hold no path of this machine. searches: of the
    spec, a line each.
    """
    from rich.console import Group
    from rich.text import Text

    narrow = width < WIDE
    tables = [_table(group, NARROW if narrow else ALL) for group in groups(rows).values()]
    if narrow:
        hidden = ", ".join(column.heading for column in ALL if column not in NARROW)
        remarks = [*remarks, Remark("note", f"hidden in {width} columns: {hidden}; all are in table.md")]
    lines = [Text(_prefix(remark) + remark.text, style=_STYLES[remark.kind]) for remark in remarks]
    logs = [Text(f"log of {failure.name}: {failure.place}", style="red") for failure in failures]
    spaced = [part for table in tables for part in (table, Text())]
    lines += [Text(line) for line in links_plain(searches)]
    return Group(*spaced, *(paper_terminal(paper, width=width) for paper in papers), *lines, *logs)


def _prefix(remark: Remark) -> str:
    return {"note": "", "warning": "warning: ", "missing": "missing: "}[remark.kind]


def _table(rows: Sequence[ComparisonRow], columns: Sequence[Column]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(title(rows)),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
        show_edge=False,
    )
    table.add_column("defense\nattack · images", overflow="fold", max_width=30)
    for column in (*columns, PASSES):
        heading = "passes or\nqueries,\ntime" if column is PASSES else column.heading
        table.add_column(heading.replace(" top", "\ntop").replace(" conf", "\nconf"), justify="right", no_wrap=True)
    for row in rows:
        cells = [_stacked(*column.text(row)) for column in columns]
        cost = PASSES.text(row)[0] if row.passes or not row.queries else f"{QUERIES.text(row)[0]} q"
        cells.append(_stacked(cost, SECONDS.text(row)[0]))
        table.add_row(_name(row), *cells)
    return table


def _name(row: ComparisonRow) -> Text:
    from rich.text import Text

    name = Text(row.defense, style="bold").append(f"\n{row.attack} · {row.images}", style="not bold")
    if row.cells_missing:
        name.append(f"\n{row.cells_missing} of {row.cells} cells missing", style="not bold red")
    return name


def _stacked(value: str, below: str) -> Text:
    from rich.text import Text

    return Text(value).append(f"\n{below}" if below else "", style="dim")
