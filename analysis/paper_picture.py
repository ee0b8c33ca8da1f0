"""A table in the paper's layout as a picture, PNG or SVG: rules as in print, the paper's value beneath ours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from analysis.drawing import as_png_and_svg, default_style, new_figure
from analysis.paper_layout import Metric, PaperTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FONT = "DejaVu Sans"  # comes with matplotlib: one font on every machine
_SIZE, _SMALL = 9.0, 7.5  # points, as all lengths here
_LINE, _SMALL_LINE = 12.0, 10.0
_BETWEEN, _GROUP_GAP, _MARGIN = 9.0, 14.0, 14.0
_LEAST = 430.0  # width of the notes below a narrow table
_INK, _FAINT, _RULE = "#191919", "#6a6a6a", "#444444"

Text = tuple[float, float, str, dict[str, Any]]
Rule = tuple[float, float, float, float]


class _Layout(NamedTuple):
    """Where the columns are: left edges of the name columns, right edges of the others, and the whole width."""

    names: list[float]
    edges: list[float]
    starts: list[float]  # left edge of each group
    ends: list[float]
    width: float


@default_style()
def paper_pictures(tables: Iterable[PaperTable]) -> dict[str, bytes]:
    """table2.png and table2.svg of each table; equal tables give equal bytes."""
    found: dict[str, bytes] = {}
    for table in tables:
        png, svg = as_png_and_svg(_figure(table), table.name, dpi=150)
        found |= {f"{table.name}.png": png, f"{table.name}.svg": svg}
    return found


def _figure(table: PaperTable) -> Figure:
    """The figure: lines are placed from the top, so its height is known only once they are."""
    from matplotlib.lines import Line2D

    layout = _layout(table)
    texts, rules, height = _content(table, layout)
    figure = new_figure(width=layout.width / 72, height=height / 72, constrained=False)
    for x, y, text, how in texts:
        style = {"color": _INK, "family": _FONT, **how}
        figure.text(x / layout.width, 1 - y / height, text, parse_math=False, **style)
    for first, last, y, thickness in rules:
        across, down = [first / layout.width, last / layout.width], [1 - y / height] * 2
        figure.add_artist(Line2D(across, down, color=_RULE, linewidth=thickness, transform=figure.transFigure))
    return figure


def _content(table: PaperTable, layout: _Layout) -> tuple[list[Text], list[Rule], float]:
    """Everything in points from the top left: texts (x, baseline, text, style), rules (x, x, y, width); height."""
    left, right, last = _MARGIN, layout.width - _MARGIN, layout.ends[-1] if layout.ends else layout.width - _MARGIN
    y = _MARGIN + _SIZE
    texts: list[Text] = []
    for text in _wrapped(table.title, right - left, _SIZE, weight="bold"):
        texts.append((left, y, text, {"size": _SIZE, "weight": "bold"}))
        y += _LINE
    rules: list[Rule] = [(left, last, y - 4, 1.2)]
    y += _LINE - 2
    for group, start, end in zip(table.groups, layout.starts, layout.ends, strict=True):
        style = "italic" if group.ours else "normal"
        texts.append(((start + end) / 2, y, group.heading, {"size": _SIZE, "ha": "center", "style": style}))
        rules.append((start, end, y + 4, 0.6))
    y += _LINE + 5
    headings = [_stacked(metric.heading) for _, metric in table.columns]
    deepest = max((heading.count("\n") for heading in headings), default=0)
    for edge, heading in zip(layout.edges, headings, strict=True):
        for i, part in enumerate(reversed(heading.split("\n"))):
            texts.append((edge, y + (deepest - i) * _SMALL_LINE, part, {"size": _SMALL, "ha": "right"}))
    y += deepest * _SMALL_LINE
    texts += [(x, y, heading, {"size": _SMALL}) for x, heading in zip(layout.names, table.headings, strict=True)]
    rules.append((left, last, y + 5, 0.8))
    y = _body(table, layout, y + 5, texts, rules)
    rules.append((left, last, y, 1.2))
    y += 4
    for note in (*table.notes, *table.numbered):
        for line in _wrapped(note, right - left, _SMALL):
            y += _SMALL_LINE
            texts.append((left, y, line, {"size": _SMALL, "color": _FAINT}))
        y += 2
    return texts, rules, y + _MARGIN


def _body(table: PaperTable, layout: _Layout, y: float, texts: list[Text], rules: list[Rule]) -> float:
    """The lines of the table below `y`, a thin rule between datasets; returns where they end."""
    before: str | None = None
    for line in table.lines:
        repeated = len(line.names) > 1 and line.names[0] == before
        if before is not None and not repeated and len(line.names) > 1:
            rules.append((_MARGIN, layout.ends[-1], y, 0.4))
        y += _LINE + 1
        for x, name in zip(layout.names, ["" if repeated else line.names[0], *line.names[1:]], strict=True):
            texts.append((x, y, name, {"size": _SIZE}))
        papers = [line.cells[i].papers(metric) for i, metric in table.columns]
        for edge, (i, metric), paper in zip(layout.edges, table.columns, papers, strict=True):
            texts.append((edge, y, line.cells[i].ours(metric), {"size": _SIZE, "ha": "right"}))
            below = {"size": _SMALL, "ha": "right", "color": _FAINT}
            texts += [(edge, y + _SMALL_LINE, paper, below)] if paper else []
        y += (_SMALL_LINE if any(papers) else 0) + 4
        before = line.names[0]
    return y


def _layout(table: PaperTable) -> _Layout:
    """Column widths from the texts in them; a group is never narrower than its heading."""
    x, names = _MARGIN, []
    for i, heading in enumerate(table.headings):
        names.append(x)
        widest = max([_width(line.names[i], _SIZE) for line in table.lines], default=0.0)
        x += max(widest, _width(heading, _SMALL)) + _BETWEEN
    edges, starts, ends = [], [], []
    for i, group in enumerate(table.groups):
        x += _GROUP_GAP - _BETWEEN if i else 0.0
        starts.append(x)
        widths = [_widest(table, i, metric) for metric in group.metrics]
        lacking = _width(group.heading, _SIZE) - sum(widths) - _BETWEEN * (len(widths) - 1)
        for width in widths:
            edges.append(x + width + max(0.0, lacking / len(widths)))
            x = edges[-1] + _BETWEEN
        ends.append(edges[-1])
    needed = max(ends[-1] if ends else 0.0, _MARGIN + _LEAST)
    return _Layout(names, edges, starts, ends, needed + _MARGIN)


def _widest(table: PaperTable, group: int, metric: Metric) -> float:
    cells = [line.cells[group] for line in table.lines]
    texts = [(cell.ours(metric), _SIZE) for cell in cells] + [(cell.papers(metric), _SMALL) for cell in cells]
    texts += [(part, _SMALL) for part in _stacked(metric.heading).split("\n")]
    return max(_width(text, size) for text, size in texts)


def _stacked(heading: str) -> str:
    """A heading in two lines, broken before a bracket or else at its space."""
    return heading.replace(" (", "\n(") if " (" in heading else heading.replace(" ", "\n", 1)


def _wrapped(text: str, width: float, size: float, *, weight: str = "normal") -> Iterator[str]:
    """Lines of whole words, none wider than `width` points (but for a longer word)."""
    line: list[str] = []
    for word in text.split():
        if line and _width(" ".join([*line, word]), size, weight) > width:
            yield " ".join(line)
            line = []
        line.append(word)
    yield " ".join(line)


@cache
def _font(weight: str) -> tuple[Any, Any]:
    """What measures texts, and the font at 100 points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    return TextToPath(), FontProperties(family=_FONT, weight=weight, size=100.0)


@lru_cache(maxsize=4096)
def _width(text: str, size: float, weight: str = "normal") -> float:
    """Width of a text in points."""
    measure, font = _font(weight)
    return float(measure.get_text_width_height_descent(text, font, ismath=False)[0]) * size / 100 if text else 0.0
