"""A table in the paper's layout, apart from how it is written: names, column groups, lines of cells, footnotes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from analysis.wording import NOTHING, STALLED, converged, number, percent

_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


class Metric(NamedTuple):
    """One measure: its name in table.csv, heading, how ours reads, and the decimals that the paper prints."""

    field: str
    heading: str
    show: Callable[[float | None], str]
    decimals: int = 0
    fraction: bool = True  # in [0, 1], shown in percent


AA = Metric("aa_top1", "AA", percent)
MC_ALL = Metric("mc_all", "MC(all)", percent, 2)
MC_TARGET = Metric("mc_target", "MC(l_t)", percent)
FID = Metric("feat_mean_sqdist", "FID (eq. 13)", number, fraction=False)
ACCURACY = Metric("accuracy", "test accuracy", percent, 2)
AA_TOP5 = Metric("aa_top5", "AA top-5", percent)
CONFIDENCE = Metric("target_confidence", "target conf.", percent)


class Group(NamedTuple):
    """Columns under one heading. keys: names that table.csv knows it by; `ours`: the paper has no such columns."""

    heading: str
    metrics: tuple[Metric, ...]
    keys: Mapping[str, str]
    ours: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What a line and a group have in common.

    values, paper: by the metric's field; ours as in table.csv (fractions), the paper's as printed (percent).
    What was not measured is None or absent. low, high: 95% interval of AA. marks: the paper's contradictions, as
    numbers of footnotes. missing: "2 of 5" where cells of the grid are not there yet.
    """

    values: Mapping[str, float | None] = field(default_factory=dict)
    low: float | None = None
    high: float | None = None
    paper: Mapping[str, float] = field(default_factory=dict)
    marks: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    missing: str = ""

    @property
    def stalled(self) -> bool:
        """The attack did not converge on the target, so that a low AA is not yet evidence."""
        return not converged(self.values.get("target_confidence"))

    def ours(self, metric: Metric) -> str:
        """Our value as text: `40.0`, `40.0*` where the attack did not converge, or the sign for nothing."""
        value = self.values.get(metric.field)
        mark = STALLED if metric is AA and value is not None and self.stalled else ""
        return metric.show(value) + mark

    def papers(self, metric: Metric) -> str:
        """The paper's value as it prints it, with its footnotes: `(87.46)¹`; empty where it has none."""
        printed, marks = self.paper.get(metric.field), self.marks.get(metric.field, ())
        if printed is None and not marks:
            return ""
        shown = NOTHING if printed is None else f"{printed:.{metric.decimals}f}"
        return f"({shown}){superscript(marks)}"

    def text(self, metric: Metric) -> str:
        """Ours, then the paper's: `86.9 (87.46)¹`."""
        return f"{self.ours(metric)} {self.papers(metric)}".rstrip()


class Line(NamedTuple):
    """A line of the table. names: as shown; keys: as table.csv has them; cells: one for each group."""

    names: tuple[str, ...]
    keys: Mapping[str, str]
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperTable:
    """One table of the paper, made from records.

    name: stem of its files; headings: of the lines' names; groups, lines: in the paper's order, then what only
    we have; metrics: each measure of the columns once; extras: further ones, for the formats that have room;
    footnotes: numbered from 1, where the paper contradicts itself; notes: what a reader must know.
    """

    name: str
    title: str
    headings: tuple[str, ...]
    of: str  # what the groups are, as a heading
    groups: tuple[Group, ...]
    lines: tuple[Line, ...]
    metrics: tuple[Metric, ...]
    extras: tuple[Metric, ...] = ()
    footnotes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def attacks(self) -> bool:
        """Whether its lines are attacks and its groups defenses, which is so but for Table I."""
        return ACCURACY not in self.metrics

    @property
    def columns(self) -> list[tuple[int, Metric]]:
        """(position of the group, metric) of every column, from left to right."""
        return [(i, metric) for i, group in enumerate(self.groups) for metric in group.metrics]

    @property
    def numbered(self) -> list[str]:
        """The footnotes with their numbers."""
        return [f"{superscript((i,))} {text}" for i, text in enumerate(self.footnotes, start=1)]


def superscript(marks: tuple[int, ...]) -> str:
    """Footnote numbers as superscript digits: (1, 12) -> `¹ ¹²`."""
    return " ".join(str(mark).translate(_SUPERSCRIPTS) for mark in marks)
