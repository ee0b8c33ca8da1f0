"""A table in the paper's layout as Markdown, LaTeX and CSV. Pure functions: table -> text."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence

from analysis.formats import csv_text, escape_latex, escape_markdown, markdown_line
from analysis.paper_layout import AA, Cell, Group, Metric, PaperTable
from analysis.wording import interval

_INTERVAL = (f"{AA.field}_low", f"{AA.field}_high")


def paper_files(tables: Iterable[PaperTable], formats: Sequence[str]) -> dict[str, str]:
    """table2.md, table2.csv, table2.tex of each table, as far as their formats are asked for."""
    found: dict[str, str] = {}
    for table in tables:
        if "markdown" in formats:
            found[f"{table.name}.md"] = paper_markdown(table)
        if "csv" in formats:
            found[f"{table.name}.csv"] = paper_csv(table)
        if "latex" in formats:
            found[f"{table.name}.tex"] = paper_latex(table)
    return found


def paper_csv(table: PaperTable) -> str:
    """A line for each line and group of the table, in its order; the names are those of table.csv.

    Fractions in [0, 1]; paper_*: the paper's value. Beside the paper's measures stand the 95% interval of AA, the
    extras, how many cells are missing, and the footnotes. What was not measured or not printed is empty.
    """
    extras = [*_INTERVAL, *(metric.field for metric in table.extras)] if table.extras else []
    measured = [metric.field for metric in table.metrics]
    keys = [*table.lines[0].keys, *table.groups[0].keys] if table.lines and table.groups else []
    header = [*keys, *measured, *(f"paper_{name}" for name in measured), *extras, "missing", "footnotes"]
    lines = []
    for line in table.lines:
        for group, cell in zip(table.groups, line.cells, strict=True):
            values = {**cell.values, _INTERVAL[0]: cell.low, _INTERVAL[1]: cell.high}
            ours = [values.get(name) for name in measured]
            papers = [_plain(cell.paper.get(metric.field), metric) for metric in table.metrics]
            texts = dict.fromkeys(table.footnotes[mark - 1] for marks in cell.marks.values() for mark in marks)
            names = [*line.keys.values(), *group.keys.values()]
            more = [values.get(name) for name in extras]
            lines.append([*names, *ours, *papers, *more, cell.missing, " ".join(texts)])
    return csv_text(header, lines)


def paper_markdown(table: PaperTable) -> str:
    """The paper's columns in one GitHub table; below it the interval of AA and the extras, a line for each group."""
    names = [f"{table.groups[i].heading} · {metric.heading}" for i, metric in table.columns]
    lines = [f"### {escape_markdown(table.title)}", "", markdown_line([*table.headings, *names])]
    lines.append("|" + "---|" * len(table.headings) + "--:|" * len(names))
    for line in table.lines:
        lines.append(markdown_line([*line.names, *(line.cells[i].text(metric) for i, metric in table.columns)]))
    if table.extras:
        lines += ["", *_beside(table)]
    lines += ["", *(f"- {escape_markdown(note)}" for note in table.notes)]
    lines += [f"- {escape_markdown(note)}" for note in table.numbered]
    return "\n".join(lines) + "\n"


def paper_latex(table: PaperTable) -> str:
    r"""A booktabs `table*` with the groups as \multicolumn headings. Needs \usepackage{booktabs,graphicx}."""
    left = len(table.headings)
    starts = itertools.accumulate((len(group.metrics) for group in table.groups), initial=left + 1)
    spans = [(start, start + len(group.metrics) - 1) for start, group in zip(starts, table.groups, strict=False)]
    heads = [rf"\multicolumn{{{len(g.metrics)}}}{{c}}{{{_latex(g.heading)}}}" for g in table.groups]
    lines = [r"% needs \usepackage{booktabs,graphicx}", r"\begin{table*}", r"\centering"]
    lines += [rf"\caption{{{_latex(table.title)}}}", rf"\label{{tab:{table.name}}}", r"\resizebox{\textwidth}{!}{%"]
    lines += [rf"\begin{{tabular}}{{{'l' * left}{'r' * len(table.columns)}}}", r"\toprule"]
    lines.append(" & ".join([""] * left + heads).strip() + r" \\")
    lines.append(" ".join(rf"\cmidrule(lr){{{first}-{last}}}" for first, last in spans))
    metrics = [_latex(metric.heading) for _, metric in table.columns]
    lines += [" & ".join([*map(_latex, table.headings), *metrics]) + r" \\", r"\midrule"]
    before: str | None = None
    for line in table.lines:
        new = line.names[0] != before or left == 1
        if new and before is not None and left > 1:
            lines.append(r"\midrule")
        names = [line.names[0] if new else "", *line.names[1:]]
        cells = [line.cells[i].text(metric) for i, metric in table.columns]
        lines.append(" & ".join(map(_latex, [*names, *cells])) + r" \\")
        before = line.names[0]
    lines += [r"\bottomrule", r"\end{tabular}}", r"\par\smallskip", r"\begin{minipage}{\textwidth}\footnotesize"]
    lines += [_latex(note) + r"\par" for note in (*table.notes, *table.numbered)]
    return "\n".join([*lines, r"\end{minipage}", r"\end{table*}"]) + "\n"


def with_interval(cell: Cell, metric: Metric = AA) -> str:
    """Our AA with its 95% interval: `40.0 [31.2–49.1]`."""
    around = interval(cell.low, cell.high)
    return f"{cell.ours(metric)} [{around}]" if around else cell.ours(metric)


def measured(table: PaperTable) -> list[tuple[Sequence[str], Group, Cell]]:
    """(names of the line, group, cell) of every cell that is in the grid, in the table's order."""
    return [
        (line.names, group, cell)
        for line in table.lines
        for group, cell in zip(table.groups, line.cells, strict=True)
        if cell.values
    ]


def _beside(table: PaperTable) -> list[str]:
    """What the paper's columns have no room for: a low AA is evidence only where the attack convinced the target."""
    headings = [*table.headings, table.of, f"{AA.heading} [95%]", *(metric.heading for metric in table.extras)]
    lines = [markdown_line(headings), "|" + "---|" * (len(table.headings) + 1) + "--:|" * (1 + len(table.extras))]
    for names, group, cell in measured(table):
        values = [with_interval(cell), *(cell.ours(metric) for metric in table.extras)]
        lines.append(markdown_line([*names, group.heading, *values]))
    return lines


def _plain(printed: float | None, metric: Metric) -> float | None:
    """The paper's number in the unit of ours: 87.46 percent is 0.8746."""
    return printed if printed is None or not metric.fraction else round(printed / 100, 6)


def _latex(text: str) -> str:
    """Escaped; `L_pri` and `l_t` as formulas, superscript digits as footnote marks."""
    escaped = re.sub(r"\b([Ll])\\_([A-Za-z]+)\b", r"$\1_{\2}$", escape_latex(text))
    digits = "⁰¹²³⁴⁵⁶⁷⁸⁹"

    def mark(found: re.Match[str]) -> str:
        return rf"\textsuperscript{{{''.join(str(digits.index(digit)) for digit in found[0])}}}"

    return re.sub(f"[{digits}]+", mark, escaped)
