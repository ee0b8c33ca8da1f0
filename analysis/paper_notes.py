"""What a reader of a table in the paper's layout must know: measures, whose numbers, which rows, what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from analysis.paper_layout import ACCURACY, FID, STALLED, PaperTable
from analysis.rows import ComparisonRow
from analysis.wording import CONVERGED, NOT_CONVERGED, percent

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


def notes(table: PaperTable, rows: Sequence[ComparisonRow]) -> Iterator[str]:
    """The notes below a table, in reading order; rows: those that the table is made from."""
    attacked = ACCURACY not in table.metrics
    if attacked:
        yield _MEASURES
        yield _FID
    else:
        yield "Accuracy on the test images in percent, averaged over the models of all seeds."
        yield "Not in the paper: the second evaluation model."
    if any(cell.paper for line in table.lines for cell in line.cells):
        text = _PAPER.format(_SCALE if attacked else "")
        yield text if table.footnotes else text.partition(" Small numbers")[0]
    if attacked:
        yield from _columns(table, rows)
    yield from _counts(table, rows, attacked=attacked)
    if any(cell.stalled for line in table.lines for cell in line.cells):
        yield f"{STALLED} target conf. below {percent(CONVERGED)}%: {NOT_CONVERGED}."
    if gaps := list(_gaps(table)):
        yield f"Not complete, and pooled over what is there: {'; '.join(gaps)}."


def _columns(table: PaperTable, rows: Sequence[ComparisonRow]) -> Iterator[str]:
    """Which row of the grid each of the paper's columns is, and how attacks meet output wrappers."""
    papers = [group for group in table.groups if not group.ours]
    there = [f"{group.heading} is {group.keys['defense']}" for group in papers if group.keys["defense"]]
    absent = [group.heading for group in papers if not group.keys["defense"]]
    ours = [group.heading for group in table.groups if group.ours]
    parts = [f"Rows of this grid: {'; '.join(there)}."] if there else []
    parts += [f"Not in this grid: {', '.join(absent)}."] if absent else []
    parts += [f"Not in the paper: {', '.join(ours)}."] if ours else []
    yield " ".join(parts)
    if any(group.heading == "Original" for group in papers):
        yield "The paper prints no MC(l_t) of the original; ours stands last."
    if outputs := dict.fromkeys((row.defense, row.output) for row in rows if row.output):
        yield f"How attacks meet output wrappers: {'; '.join(f'{name} ({how})' for name, how in outputs)}."


def _counts(table: PaperTable, rows: Sequence[ComparisonRow], *, attacked: bool) -> Iterator[str]:
    """How much each dataset's numbers rest on."""
    for dataset in dict.fromkeys(part.keys["dataset"] for part in (table.lines if attacked else table.groups)):
        own = [row for row in rows if row.dataset == dataset]
        labels, seeds = max(row.labels for row in own), max(row.seeds for row in own)
        most = max(row.images for row in own)
        text = f"{labels} protected label{'s' * (labels != 1)}, {seeds} seed{'s' * (seeds != 1)}"
        yield f"{dataset}: {text}" + (f", up to {most} attack images behind an AA." if attacked else ".")


def _gaps(table: PaperTable) -> Iterator[str]:
    """Where cells of the grid are missing."""
    for line in table.lines:
        for group, cell in zip(table.groups, line.cells, strict=True):
            if cell.missing:
                yield f"{' / '.join(line.names)} / {group.heading} ({cell.missing} cells missing)"
