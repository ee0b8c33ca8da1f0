"""What a defense costs and what it buys: AA top-1 against MC(all) of every row that has both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from analysis.formats import csv_text
from analysis.records import Document
from analysis.rows import ComparisonRow

LEAST = 3
"""Defenses from which on there is something to compare; `none` counts as one, so it and two others are enough."""
_NAMES = ("dataset", "victim", "attack", "defense")
_MEASURED = ("mc_all", "mc_all_low", "mc_all_high", "aa_top1", "aa_top1_low", "aa_top1_high", "target_confidence")


class Point(NamedTuple):
    """A row with both numbers, and whether it is undefended."""

    row: ComparisonRow
    undefended: bool


def points(document: Document, rows: Sequence[ComparisonRow]) -> list[Point]:
    """The rows that can be drawn, in the document's order: AA and MC(all) are known, no control.

    Empty unless a dataset and victim has at least LEAST defenses; only such datasets and victims are kept.
    """
    found: dict[tuple[str, str], list[Point]] = {}
    for about, row in zip(document["rows"], rows, strict=True):
        if not about.get("control") and row.aa_top1 is not None and row.mc_all is not None:
            point = Point(row, bool(about.get("undefended")))
            found.setdefault((row.dataset, row.victim), []).append(point)
    enough = [group for group in found.values() if len({point.row.defense for point in group}) >= LEAST]
    return [point for group in enough for point in group]


def privacy_utility_csv(found: Sequence[Point]) -> str:
    """A line per point; fractions in [0, 1]. A low aa_top1 beside a low target_confidence is no evidence."""
    lines = [
        [*(getattr(row, name) for name in _NAMES), undefended, *(getattr(row, name) for name in _MEASURED)]
        for row, undefended in found
    ]
    return csv_text([*_NAMES, "undefended", *_MEASURED], lines)
