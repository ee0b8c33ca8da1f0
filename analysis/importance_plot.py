"""Coefficient importance as bars: a panel per objective, the level of pure noise as a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from analysis.drawing import as_png_and_svg, new_figure
from analysis.importance import Importance
from analysis.search_parts import TITLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = ("#08519c", "#9ecae1")
_STEM = "importance"


def importance_pictures(name: str, found: Sequence[Importance]) -> dict[str, bytes]:
    """importance.png and .svg; nothing without importances. name: of the search.

    A panel holds all importances of an objective (at the end, at a common rung), coefficients in the order of the
    first. A dashed line, in the bars' colour, is the largest share that a coefficient of noise got.
    """
    if not found:
        return {}
    by_objective: dict[str, list[Importance]] = {}
    for one in found:
        by_objective.setdefault(one.objective, []).append(one)
    bars = sum(max(len(one.shares) for one in own) for own in by_objective.values()) / len(by_objective)
    across = min(2, len(by_objective))
    down = -(-len(by_objective) // across)
    figure = new_figure(width=4.6 * across, height=0.9 + down * (1.0 + 0.34 * bars))
    panels = figure.subplots(down, across, squeeze=False, sharex=True).ravel()
    for panel in panels[len(by_objective) :]:
        panel.set_axis_off()
    for panel, (objective, own) in zip(panels, by_objective.items(), strict=False):
        _panel(panel, own)
        panel.set_title(TITLES.get(objective, objective), fontsize=10)
        panel.xaxis.set_tick_params(labelbottom=True)
    panels[0].set_xlim(0, 105 * max(max(one.noise, *one.shares.values()) for one in found) or 1)
    for panel in panels[max(0, len(by_objective) - across) : len(by_objective)]:
        panel.set_xlabel("share explained alone, %")
    panels[0].legend(fontsize=7, loc="lower right")
    figure.suptitle(f"{name}: coefficient importance (fANOVA)\ndashed: the most that pure noise got", fontsize=10)
    png, svg = as_png_and_svg(figure, _STEM, dpi=110)
    return {f"{_STEM}.png": png, f"{_STEM}.svg": svg}


def _panel(panel: Axes, own: Sequence[Importance]) -> None:
    names = list(own[0].shares)
    thick = 0.8 / len(own)
    for order, one in enumerate(own):
        places = [row + (order - (len(own) - 1) / 2) * thick for row in range(len(names))]
        when = "at the end" if one.rung is None else f"at rung {one.rung}"
        colour = _COLOURS[order % len(_COLOURS)] if len(own) > 1 else _COLOURS[0]
        label = f"{when}, {one.trials} trials"
        panel.barh(places, [100 * one.shares[name] for name in names], height=thick, color=colour, label=label)
        panel.axvline(100 * one.noise, linestyle="--", linewidth=1, color=colour)
    panel.set_yticks(range(len(names)), names, fontsize=9)
    panel.invert_yaxis()
