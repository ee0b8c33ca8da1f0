"""What a reader of a table in the paper's layout must know: measures, whose numbers, which rows, what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from analysis.paper_layout import FID, PaperTable
from analysis.paper_lines import Pair
from analysis.records import evaluations
from analysis.report_notes import output_notes
from analysis.rows import ComparisonRow
from analysis.wording import CONVERGED, NOT_CONVERGED, STALLED, percent

_MEASURES = (
    "AA: share of attack images that the evaluation model F_E, which selects nothing, takes for the protected label; "
    "MC: accuracy on the test images, of all labels and of the protected ones alone. In percent."
)
_FID = (
    f"{FID.heading}: the paper's FID is no Fréchet inception distance. It is the squared distance between the mean F_E "
    "features of inversed and private images (eq. 13; feat_mean_sqdist in table.csv)."
)
_PAPER = (
    "In parentheses: the paper's value, of its own victims, evaluators and images.{} Small numbers mark where the "
    "paper contradicts itself."
)
_SCALE = f" {FID.heading} has the scale of the evaluator's features: compare directions, not values."


def notes(table: PaperTable, pairs: Sequence[Pair]) -> Iterator[str]:
    """The notes below a table, in reading order; pairs: the rows that the table is made from."""
    rows = [row for _, row in pairs]
    if table.attacks:
        yield _MEASURES
        yield _FID
    else:
        yield "Accuracy on the test images in percent, averaged over the models of all seeds."
        yield "Not in the paper: the second evaluation model."
    if any(cell.paper for line in table.lines for cell in line.cells):
        text = _PAPER.format(_SCALE if table.attacks else "")
        yield text if table.footnotes else text.partition(" Small numbers")[0]
    if table.attacks:
        yield from _columns(table)
        yield from output_notes(rows)
        yield from _same(table, pairs)
    yield from _counts(table, rows)
    if any(cell.stalled for line in table.lines for cell in line.cells):
        yield f"{STALLED} target conf. below {percent(CONVERGED)}%: {NOT_CONVERGED}."
    if gaps := list(_gaps(table)):
        yield f"Not complete, and pooled over what is there: {'; '.join(gaps)}."


def _columns(table: PaperTable) -> Iterator[str]:
    """Which row of the grid each of the paper's columns is."""
    papers = [group for group in table.groups if not group.ours]
    there = [f"{group.heading} is {group.keys['defense']}" for group in papers if group.keys["defense"]]
    absent = [group.heading for group in papers if not group.keys["defense"]]
    ours = [group.heading for group in table.groups if group.ours]
    parts = [f"Rows of this grid: {'; '.join(there)}."] if there else []
    parts += [f"Not in this grid: {', '.join(absent)}."] if absent else []
    parts += [f"Not in this table of the paper: {', '.join(ours)}."] if ours else []
    yield " ".join(parts)
    if any(group.heading == "Original" for group in papers):
        yield "The paper prints no MC(l_t) of the original; ours stands last."


def _same(table: PaperTable, pairs: Sequence[Pair]) -> Iterator[str]:
    """Which columns share their cells: GAN-D and GAN-ID are one defense where the attack has no GAN to know."""
    measured = {(row.dataset, row.victim, row.attack, row.defense): evaluations(about) for about, row in pairs}
    found: dict[tuple[str, ...], list[str]] = {}
    for line in table.lines:
        columns: dict[object, list[str]] = {}
        for group in table.groups:
            row = (line.keys["dataset"], line.keys["victim"], line.keys["attack"], group.keys["defense"])
            if cells := measured.get(row):
                columns.setdefault(cells, []).append(group.heading)
        for headings in columns.values():
            if len(headings) > 1:
                found.setdefault(tuple(headings), []).append(" / ".join(line.names))
    if found:
        parts = [f"{' and '.join(headings)} ({', '.join(lines)})" for headings, lines in found.items()]
        yield f"One and the same measurement, shown in each of its columns: {'; '.join(parts)}."


def _counts(table: PaperTable, rows: Sequence[ComparisonRow]) -> Iterator[str]:
    """How much each dataset's numbers rest on."""
    if table.attacks:
        places = {(line.keys["dataset"], line.keys["victim"]): line.names[0] for line in table.lines}
    else:
        places = {(group.keys["dataset"], group.keys["victim"]): group.heading for group in table.groups}
    for place, heading in places.items():
        own = [row for row in rows if (row.dataset, row.victim) == place]
        labels, seeds = max(row.labels for row in own), max(row.seeds for row in own)
        most = max(row.images for row in own)
        text = f"{labels} protected label{'s' * (labels != 1)}, {seeds} seed{'s' * (seeds != 1)}"
        yield f"{heading}: {text}" + (f", up to {most} attack images behind an AA." if table.attacks else ".")


def _gaps(table: PaperTable) -> Iterator[str]:
    """Where cells of the grid are missing."""
    for line in table.lines:
        for group, cell in zip(table.groups, line.cells, strict=True):
            if cell.missing:
                yield f"{' / '.join(line.names)} / {group.heading} ({cell.missing} cells missing)"
