"""Tables I-VI of Gong et al. (IEEE TIFS 2023) from a grid's document and its pooled rows: one function a table.

Lines and columns are the paper's, in its order; what only we have comes after. For the paper's datasets its own
numbers stand beside ours, with a footnote where the paper contradicts itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from analysis.paper_columns import SLOTS, Defended, defended, placed
from analysis.paper_layout import (
    AA,
    AA_TOP5,
    ACCURACY,
    CONFIDENCE,
    FID,
    MC_ALL,
    MC_TARGET,
    Cell,
    Group,
    Line,
    PaperTable,
)
from analysis.paper_lines import attacked, dataset_kind, places, uncontrolled
from analysis.paper_misprints import misprints
from analysis.paper_notes import notes
from analysis.paper_values import PAPER, Place
from analysis.records import Document
from analysis.rows import ComparisonRow

_METRICS = (AA, MC_ALL, MC_TARGET, FID)
_EXTRAS = (AA_TOP5, CONFIDENCE)
_JUDGES = (
    ("Victim model", "victim"),
    ("Evaluation model", "evaluator"),
    ("Second evaluation model", ""),  # the paper has none
)
About = Mapping[str, Any]


def table_1(document: Document, rows: Sequence[ComparisonRow]) -> PaperTable:
    """Test accuracy of victim and evaluation models, a column for each dataset.

    The victim's is the MC(all) of an undefended row; a grid without one has none. The second evaluator is ours.
    """
    pairs = uncontrolled(document, rows)
    headings = places(document, pairs)
    groups = tuple(
        Group(heading, (ACCURACY,), {"dataset": dataset, "victim": victim})
        for (dataset, victim), heading in headings.items()
    )
    lines = []
    for name, column in _JUDGES:
        cells = []
        for dataset, victim in headings:
            own = [(about, row) for about, row in pairs if (row.dataset, row.victim) == (dataset, victim)]
            place = Place("table1", dataset_kind(document, dataset), "", column)
            cells.append(Cell(values={ACCURACY.field: _judge(column, own)}, paper=PAPER.get(place, {})))
        lines.append(Line((name,), {"model": name}, tuple(cells)))
    table = PaperTable(
        name="table1",
        title="Table I: accuracy of victim and evaluation models on the test images",
        headings=("model",),
        of="dataset",
        groups=groups,
        lines=tuple(lines),
        metrics=(ACCURACY,),
    )
    return replace(table, notes=tuple(notes(table, pairs)))


def table_2(document: Document, rows: Sequence[ComparisonRow]) -> PaperTable:
    """Every attack on the undefended victim, under DP, Ad-mi (met through its output), GAN-D and GAN-ID."""
    return _attacked("table2", "Table II: GAN-D and GAN-ID beside DP and Ad-mi, under every attack", document, rows)


def table_3(document: Document, rows: Sequence[ComparisonRow]) -> PaperTable:
    """Fine-tuning on random photographs instead of inversed samples, beside GAN-D and GAN-ID."""
    return _attacked("table3", "Table III: fine-tuning on randomly selected fake samples", document, rows)


def table_4(document: Document, rows: Sequence[ComparisonRow]) -> PaperTable:
    """The loss terms of eq. 10 one after the other, for GAN-D: the defender knows the attacker's GAN structure."""
    return _attacked("table4", "Table IV: loss terms; the attacker's GAN structure is known (GAN-D)", document, rows)


def table_5(document: Document, rows: Sequence[ComparisonRow]) -> PaperTable:
    """The loss terms of eq. 10 one after the other, for GAN-ID: the defender does not know the attacker's GAN."""
    title = "Table V: loss terms; the attacker's GAN structure is not known (GAN-ID)"
    return _attacked("table5", title, document, rows)


def table_6(document: Document, rows: Sequence[ComparisonRow]) -> PaperTable:
    """GAN-ID with InfoGAN, CGAN and WGAN as its substitute."""
    return _attacked("table6", "Table VI: GAN structure of GAN-ID", document, rows)


TABLES: Mapping[str, Callable[[Document, Sequence[ComparisonRow]], PaperTable]] = {
    "table1": table_1,
    "table2": table_2,
    "table3": table_3,
    "table4": table_4,
    "table5": table_5,
    "table6": table_6,
}


def paper_tables(document: Document, rows: Sequence[ComparisonRow], more: Sequence[str] = ()) -> tuple[PaperTable, ...]:
    """The tables that the grid's spec names with `paper:`, in its order; what is no table is left to others.

    more: notes that stand below every table of defenses.
    """
    made = [TABLES[name](document, rows) for name in named(document) if name in TABLES]
    return tuple(replace(table, notes=(*table.notes, *more)) if table.attacks else table for table in made)


def named(document: Document) -> list[str]:
    """What a grid's spec names with `paper:`: nothing, one, or several."""
    value = (document.get("spec") or {}).get("paper") or []
    return [value] if isinstance(value, str) else list(value)


def _attacked(name: str, title: str, document: Document, rows: Sequence[ComparisonRow]) -> PaperTable:
    """A table of attacks (lines) and defenses (groups of columns)."""
    slots, pairs = SLOTS[name], uncontrolled(document, rows)
    chosen, others = placed(slots, defended(document))
    columns = [*zip(chosen, (slot.column for slot in slots), strict=True), *((found, "") for found in others)]
    groups = [Group(s.heading, s.metrics, _keys(s.heading, found)) for s, found in zip(slots, chosen, strict=True)]
    groups += [Group(found.name, _METRICS, _keys(found.name, found), ours=True) for found in others]
    known = {(row.dataset, row.victim, row.attack, row.defense): row for _, row in pairs}
    footnotes: list[str] = []
    lines = []
    for line in attacked(document, pairs):
        cells = []
        for found, column in columns:
            row = known.get((line.dataset, line.victim, line.attack, found.name if found else ""))
            cells.append(_cell(row, Place(name, *line.paper, column), footnotes))
        keys = {"dataset": line.dataset, "victim": line.victim, "attack": line.attack}
        lines.append(Line(line.shown, keys, tuple(cells)))
    table = PaperTable(
        name=name,
        title=title,
        headings=("dataset", "attack"),
        of="column",
        groups=tuple(groups),
        lines=tuple(lines),
        metrics=_METRICS,
        extras=_EXTRAS,
        footnotes=tuple(footnotes),
    )
    return replace(table, notes=tuple(notes(table, pairs)))


def _keys(heading: str, found: Defended | None) -> dict[str, str]:
    return {"column": heading, "defense": found.name if found else ""}


def _cell(row: ComparisonRow | None, place: Place, footnotes: list[str]) -> Cell:
    """One line under one defense; the paper's footnotes that are new are appended to `footnotes`."""
    printed = PAPER.get(place, {})
    fields = [metric.field for metric in _METRICS]
    marks: dict[str, tuple[int, ...]] = {}
    for name, texts in misprints(place, fields).items() if place in PAPER else ():
        footnotes += [text for text in texts if text not in footnotes]
        marks[name] = tuple(footnotes.index(text) + 1 for text in texts)
    if row is None:
        return Cell(paper=printed, marks=marks)
    return Cell(
        values={metric.field: getattr(row, metric.field) for metric in (*_METRICS, *_EXTRAS)},
        low=row.aa_top1_low,
        high=row.aa_top1_high,
        paper=printed,
        marks=marks,
        missing=f"{row.cells_missing} of {row.cells}" if row.cells_missing else "",
    )


def _judge(column: str, pairs: Sequence[tuple[About, ComparisonRow]]) -> float | None:
    """Test accuracy of one model, from the first row that knows it."""
    if column == "victim":
        found = [row.mc_all for about, row in pairs if about.get("undefended")]
    elif column == "evaluator":
        found = [row.evaluator_accuracy for _, row in pairs]
    else:
        found = [row.second_accuracy for _, row in pairs]
    return next((value for value in found if value is not None), None)
