"""Curves of a grid that turns one setting of an attack at a time: what moves its attack accuracy, and how far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from analysis.drawing import as_png, default_style, new_figure
from analysis.formats import csv_text
from analysis.records import Document
from analysis.rows import ComparisonRow

_NOT_LEVERS = {"numerics", "threads", "role"}
NAMES = ("dataset", "victim", "attack", "lever", "value", "row")
MEASURED = ("aa_top1", "aa_top1_low", "aa_top1_high", "aa_top5", "passes", "queries")


class Point(NamedTuple):
    """One setting of one lever and what it gave."""

    value: Any
    row: ComparisonRow


class Lever(NamedTuple):
    """An attack's setting, and its points in the order of the values; the base row's is among them."""

    dataset: str
    victim: str
    attack: str
    setting: str
    points: tuple[Point, ...]


def levers(document: Document, rows: Sequence[ComparisonRow]) -> list[Lever]:
    """For each attack of undefended rows: the settings in which exactly one row differs from the first one.

    The first row of an attack (by kind) is the base. A row that differs from it in several settings shows no
    single lever and is left out, as controls are.
    """
    found: dict[tuple[str, str, str, str], list[Point]] = {}
    bases: dict[tuple[str, str, str], tuple[dict[str, Any], ComparisonRow]] = {}
    for about, row in zip(document["rows"], rows, strict=True):
        if about.get("control") or not about.get("undefended") or "attack_kind" not in about:
            continue
        kind, settings = about["attack_kind"], _settings(about)
        place = (row.dataset, row.victim, kind)
        if place not in bases:
            bases[place] = (settings, row)
            continue
        base, first = bases[place]
        changed = [name for name in base.keys() | settings.keys() if base.get(name) != settings.get(name)]
        if len(changed) == 1:
            points = found.setdefault((*place, changed[0]), [Point(base.get(changed[0]), first)])
            points.append(Point(settings.get(changed[0]), row))
    return [Lever(*names, tuple(sorted(points, key=_order))) for names, points in found.items()]


def levers_csv(found: Sequence[Lever]) -> str:
    """A line per point; fractions in [0, 1]."""
    lines = []
    for lever in found:
        for value, row in lever.points:
            measured = [getattr(row, name) for name in MEASURED]
            lines.append([row.dataset, row.victim, lever.attack, lever.setting, value, row.attack, *measured])
    return csv_text([*NAMES, *MEASURED], lines)


@default_style()
def levers_png(found: Sequence[Lever], chance: float | None) -> bytes:
    """AA top-1 with its interval against each lever, a panel per lever, attacks line by line."""
    several = len({lever[:2] for lever in found}) > 1
    attacks = list(dict.fromkeys(lever[:3] for lever in found))
    lines = [[lever for lever in found if lever[:3] == attack] for attack in attacks]
    columns = max(len(line) for line in lines)
    figure = new_figure(width=3.1 * columns, height=2.7 * len(lines))
    axes = figure.subplots(len(lines), columns, squeeze=False)
    for line, panels in zip(lines, axes, strict=True):
        for panel in panels[len(line) :]:
            panel.set_axis_off()
        for lever, panel in zip(line, panels, strict=False):
            known = [(point, rate) for point in lever.points if (rate := _percent(point.row)) is not None]
            places = range(len(known))
            values = [rate[0] for _, rate in known]
            around = [
                [max(0.0, value - low) for _, (value, low, _) in known],
                [max(0.0, high - value) for _, (value, _, high) in known],
            ]
            panel.errorbar(places, values, yerr=around, marker="o", capsize=3, linewidth=1.2)
            panel.set_xticks(list(places), [str(point.value) for point, _ in known], fontsize=8)
            where = f"{lever.dataset}, {lever.victim}\n" if several else ""
            panel.set(title=f"{where}{lever.attack}: {lever.setting}", ylim=(0, 100), ylabel="AA top-1, %")
            panel.title.set_fontsize(9)
            if chance is not None:
                panel.axhline(100 * chance, linestyle=":", linewidth=1, color="grey")
    return as_png(figure)


def _percent(row: ComparisonRow) -> tuple[float, float, float] | None:
    """AA top-1 and its interval in percent."""
    if row.aa_top1 is None or row.aa_top1_low is None or row.aa_top1_high is None:
        return None
    return 100 * row.aa_top1, 100 * row.aa_top1_low, 100 * row.aa_top1_high


def _settings(about: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in about["attack_settings"].items() if name not in _NOT_LEVERS}


def _order(point: Point) -> tuple[bool, float, str]:
    number = isinstance(point.value, int | float) and not isinstance(point.value, bool)
    return (not number, float(point.value) if number else 0.0, str(point.value))
