"""A table in the paper's layout on a terminal: a line for each attack and column, since a screen is not a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.paper_formats import with_interval
from analysis.paper_layout import AA, Cell, Metric, PaperTable

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

_WIDE = 112


def paper_terminal(table: PaperTable, *, width: int = _WIDE) -> RenderableType:
    """Title, table, notes and footnotes.

    Below 112 columns without the extras and the interval of AA, and with the paper's value beneath ours.
    """
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    wide = width >= _WIDE
    metrics = (*table.metrics, *table.extras) if wide else table.metrics
    title = Text(table.title)
    shown = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in (*table.headings, table.of):
        shown.add_column(heading, overflow="fold", max_width=24)
    for metric in metrics:
        heading = metric.heading.replace(" (", "\n(").replace(" conf", "\nconf").replace(" top", "\ntop")
        shown.add_column(heading, justify="right", no_wrap=True)
    for line in table.lines:
        there = [(g, c) for g, c in zip(table.groups, line.cells, strict=True) if c.values or c.paper or not g.ours]
        for i, (group, cell) in enumerate(there):
            names = line.names if i == 0 else [""] * len(line.names)
            cells = [_text(cell, metric, wide=wide) for metric in metrics]
            shown.add_row(*map(Text, names), Text(group.heading), *cells, end_section=i == len(there) - 1)
    lines = [Text(note, style="dim") for note in (*table.notes, *table.numbered)]
    return Group(shown, *lines, Text())


def _text(cell: Cell, metric: Metric, *, wide: bool) -> Text:
    """Ours, the interval of AA beside it, and the paper's value."""
    from rich.text import Text

    ours = with_interval(cell) if metric is AA and wide else cell.ours(metric)
    papers = cell.papers(metric)
    return Text(ours).append(f"{' ' if wide else chr(10)}{papers}" if papers else "", style="dim")
