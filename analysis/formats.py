"""The comparison table as Markdown, CSV and LaTeX. Pure functions: rows -> text."""

from __future__ import annotations

import csv as csv_writer
import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from analysis.rows import ComparisonRow, columns
from analysis.wording import SECOND, WIDE, Remark, groups, title, used

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "–": "--",
    "·": r"\textperiodcentered{}",
    SECOND: r"\textdagger{}",
}


def csv(rows: Sequence[DataclassInstance], row_type: type[DataclassInstance] | None = None) -> str:
    """A header and one line a row, fields in order: fractions in [0, 1] in full precision; what is not there is empty.

    row_type: the rows' dataclass, for the header where there are no rows (default ComparisonRow).
    """
    names = columns(type(rows[0]) if rows else row_type or ComparisonRow)
    return csv_text(names, ([getattr(row, name) for name in names] for row in rows))


def csv_text(header: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """A header and lines; None is empty."""
    out = io.StringIO()
    writer = csv_writer.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    return out.getvalue()


def markdown(rows: Sequence[ComparisonRow], remarks: Sequence[Remark] = ()) -> str:
    """A GitHub table for each dataset and victim, defense first, intervals in brackets; then the remarks."""
    parts = []
    for group in groups(rows).values():
        shown = used(WIDE, group)
        lines = [f"### {escape_markdown(title(group))}", ""]
        lines.append(markdown_line(["defense", "attack", *(column.heading for column in shown)]))
        lines.append("|---|---|" + "--:|" * len(shown))
        for row in group:
            cells = [_inline(*column.text(row)) for column in shown]
            lines.append(markdown_line([row.defense, row.attack, *cells]))
        parts.append("\n".join(lines))
    if remarks:
        parts.append("\n".join(f"- {_marked(remark, '**')}" for remark in remarks))
    return "\n\n".join(parts) + "\n"


def latex(rows: Sequence[ComparisonRow], remarks: Sequence[Remark] = ()) -> str:
    r"""A booktabs `table*` for each dataset and victim. Needs \usepackage{booktabs,graphicx}."""
    notes = " ".join(escape_latex(remark.text) for remark in remarks if remark.kind == "note")
    lines = [r"% needs \usepackage{booktabs,graphicx}"]
    lines += [f"% {remark.kind}: {' '.join(remark.text.split())}" for remark in remarks if remark.kind != "note"]
    for group in groups(rows).values():
        shown = used(WIDE, group)
        lines += [r"\begin{table*}", r"\centering", rf"\caption{{{escape_latex(title(group))}. {notes}}}"]
        lines += [r"\resizebox{\textwidth}{!}{%", rf"\begin{{tabular}}{{ll{'r' * len(shown)}}}", r"\toprule"]
        lines += [_latex_line(["defense", "attack", *(column.heading for column in shown)]), r"\midrule"]
        lines += [
            _latex_line([row.defense, row.attack, *(_inline(*column.text(row)) for column in shown)]) for row in group
        ]
        lines += [r"\bottomrule", r"\end{tabular}}", r"\end{table*}"]
    return "\n".join(lines) + "\n"


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it is: `l_pri` -> `l\\_pri`."""
    return "".join(_LATEX.get(character, character) for character in text)


def markdown_line(cells: Sequence[str]) -> str:
    """One line of a Markdown table, its cells escaped."""
    return "| " + " | ".join(escape_markdown(cell) for cell in cells) + " |"


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is: `l_pri` -> `l\\_pri`."""
    for character in "\\|_*<`":
        text = text.replace(character, f"\\{character}")
    return text


def _inline(value: str, interval: str) -> str:
    return f"{value} [{interval}]" if interval else value


def _marked(remark: Remark, strong: str) -> str:
    prefix = "" if remark.kind == "note" else f"{strong}{remark.kind}:{strong} "
    return prefix + escape_markdown(" ".join(remark.text.split()))


def _latex_line(cells: Sequence[str]) -> str:
    return " & ".join(escape_latex(cell) for cell in cells) + r" \\"
