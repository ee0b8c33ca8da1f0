"""AA top-1 against MC(all), a panel per attack and a point per defense: the good ones are at the lower right."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from analysis.drawing import as_png_and_svg, default_style, file_stem, new_figure
from analysis.point_names import place_names
from analysis.privacy_utility import Point
from analysis.rows import ComparisonRow
from analysis.wording import CONVERGED, converged, groups, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = 8
_COLOURS = (
    "#1f77b4",
    "#d62728",
    "#2ca02c",
    "#9467bd",
    "#8c564b",
    "#e377c2",
    "#808000",
    "#17becf",
    "#ff7f0e",
    "#7f7f7f",
)
_MARKERS = "osD^vPX"
_STEM = "privacy_utility"


@default_style()
def privacy_utility_pictures(found: Sequence[Point], chances: Mapping[str, float]) -> dict[str, bytes]:
    """privacy_utility.png and .svg; with the dataset and victim in the name where there are several.

    chances: AA top-1 of a guess by dataset. At most PANELS attacks are drawn, the first ones; the CSV has all.
    """
    by_group = groups(point.row for point in found)
    undefended = {id(point.row) for point in found if point.undefended}
    files: dict[str, bytes] = {}
    for (dataset, victim), rows in by_group.items():
        stem = file_stem(_STEM, dataset, victim, taken=files) if len(by_group) > 1 else _STEM
        own = [Point(row, id(row) in undefended) for row in rows]
        png, svg = _drawn(own, f"{dataset} · {victim}", chances.get(dataset))
        files |= {f"{stem}.png": png, f"{stem}.svg": svg}
    return files


def _drawn(found: Sequence[Point], title: str, chance: float | None) -> tuple[bytes, bytes]:
    by_attack: dict[str, list[Point]] = {}
    for point in found:
        by_attack.setdefault(point.row.attack, []).append(point)
    shown = list(by_attack.items())[:PANELS]
    down = 1 if len(shown) < 4 else 2
    across = math.ceil(len(shown) / down)
    figure = new_figure(width=0.5 + 5.0 * across, height=0.8 + 4.2 * down)
    axes = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).ravel()
    names = list(dict.fromkeys(point.row.defense for point in found))
    for panel in axes[len(shown) :]:
        panel.set_axis_off()
    for panel, (attack, own) in zip(axes, shown, strict=False):
        _panel(panel, own, names, chance)
        _good_corner(panel)
        panel.set_title(f"attack {attack}", fontsize=10)
    _limits(axes[0], [point.row for _, own in shown for point in own])
    more = f"; {len(shown)} of {len(by_attack)} attacks" if len(shown) < len(by_attack) else ""
    figure.suptitle(f"{title}{more}\n{_reading([point for _, own in shown for point in own])}", fontsize=10)
    for panel in axes[max(0, len(shown) - across) : len(shown)]:
        panel.set_xlabel("test accuracy MC(all), %   (better →)")
        panel.xaxis.set_tick_params(labelbottom=True)
    for panel in axes[::across]:
        panel.set_ylabel("attack accuracy AA top-1, %   (← better)")
    figure.canvas.draw()  # fixes the layout, in which labels are then placed
    for panel, (_, own) in zip(axes, shown, strict=False):
        colours = [_colour(point, names) for point in own]
        rows = [point.row for point in own]
        place_names(panel, [*map(_place, rows)], [row.defense for row in rows], [*map(_ends, rows)], colours)
    return as_png_and_svg(figure, _STEM)


def _reading(found: Sequence[Point]) -> str:
    """The title's second line: what stars, places and bars say, and hollow points where there are any."""
    text = "★ undefended; a good defense is at the lower right; bars: 95% intervals"
    if all(converged(point.row.target_confidence) for point in found):
        return text
    return f"{text}\nhollow: the attack did not converge (target conf. below {percent(CONVERGED)}%)"


def _panel(panel: Axes, found: Sequence[Point], names: Sequence[str], chance: float | None) -> None:
    if chance is not None:
        panel.axhline(100 * chance, linestyle=":", linewidth=1, color="grey", zorder=1)
        panel.annotate(
            f"chance {100 * chance:.3g}%",
            (0.01, 100 * chance),
            xycoords=("axes fraction", "data"),
            xytext=(0, 2),
            textcoords="offset points",
            fontsize=7,
            color="grey",
        )
    for point in found:
        row, undefended = point
        x, y = _place(row)
        (left, right), (low, high) = _ends(row)
        colour = _colour(point, names)
        panel.errorbar(
            [x],
            [y],
            xerr=[[max(0.0, x - left)], [max(0.0, right - x)]],
            yerr=[[max(0.0, y - low)], [max(0.0, high - y)]],
            marker="*" if undefended else _MARKERS[names.index(row.defense) % len(_MARKERS)],
            markersize=12 if undefended else 7,
            markerfacecolor=colour if converged(row.target_confidence) else "white",
            color=colour,
            ecolor=colour,
            elinewidth=0.8,
            alpha=0.9,
            zorder=3,
        )
    panel.grid(visible=True, linewidth=0.4, alpha=0.5)


def _colour(point: Point, names: Sequence[str]) -> str:
    return "black" if point.undefended else _COLOURS[names.index(point.row.defense) % len(_COLOURS)]


def _good_corner(panel: Axes) -> None:
    """Says which way is good; where good begins is the reader's to say, so no region is marked."""
    style: dict[str, Any] = {"ha": "right", "va": "bottom", "fontsize": 9, "weight": "bold", "color": "#2ca02c"}
    panel.text(0.985, 0.015, "good ↘", transform=panel.transAxes, **style)


def _limits(panel: Axes, rows: Sequence[ComparisonRow]) -> None:
    """From 0 to what there is, with room for names; shared axes carry it to every panel."""
    ends = [_ends(row) for row in rows]
    left, right = min(x[0] for x, _ in ends), max(x[1] for x, _ in ends)
    room = max(6.0, 0.12 * (right - left))
    panel.set_xlim(left - room, min(right + room, 106))
    highest = max(y[1] for _, y in ends) + 8
    panel.set_ylim(-6, highest)
    panel.set_xticks([tick for tick in panel.get_xticks() if left - room <= tick <= 100])
    panel.set_yticks([tick for tick in panel.get_yticks() if 0 <= tick <= min(100, highest)])


def _place(row: ComparisonRow) -> tuple[float, float]:
    return 100 * (row.mc_all or 0.0), 100 * (row.aa_top1 or 0.0)


def _ends(row: ComparisonRow) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where the bars end, in percent: MC(all), AA top-1; the point itself where there is no interval."""

    def bar(name: str) -> tuple[float, float]:
        low, high = getattr(row, f"{name}_low"), getattr(row, f"{name}_high")
        value: Any = getattr(row, name)
        return (100 * value, 100 * value) if low is None or high is None else (100 * low, 100 * high)

    return bar("mc_all"), bar("aa_top1")
