"""What alpha and the strength of the consolidation do together: AA top-1 and MC(all) over (alpha, omega x lambda3).

Of omega and lambda3 only the product counts (eq. 9 and 10), so the picture has two axes and not three.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.drawing import as_png_and_svg, new_figure
from analysis.search_parts import TITLES, Metrics, Search, Trial, is_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.tri import Triangulation

ALPHA, STRENGTH = "alpha", ("omega", "lambda3")
PANELS = (("aa_top1", "plasma"), ("mc_all", "viridis_r"))  # dark is good
LEAST = 8  # places; fewer make no surface
_LEVELS = 12
_STEM = "contour"
Place = tuple[float, float]  # log10 of alpha and of omega x lambda3
Places = dict[Place, Metrics]


def contour_pictures(search: Search) -> dict[str, bytes]:
    """contour.png and .svg, with a panel for each rate; nothing where `why_no_contour` says why.

    Between finished trials the rates are interpolated linearly (Delaunay triangles in the logarithms); outside of
    their convex hull nothing is claimed. Other coefficients vary too, so the surface is rough; trials with the same
    two values are averaged. Stopped trials are crosses without colour.
    """
    if why_no_contour(search):
        return {}
    places = _places(search)
    figure = new_figure(width=5.6 * len(PANELS), height=5.0)
    panels = figure.subplots(1, len(PANELS), squeeze=False)[0]
    stopped = [place for trial in search.by_state("stopped") if (place := _place(trial)) is not None]
    for panel, (metric, palette) in zip(panels, PANELS, strict=True):
        _panel(figure, panel, places, metric, palette)
        if stopped:
            label = f"stopped early ({len(stopped)})"
            panel.scatter(*zip(*stopped, strict=True), marker="x", s=16, linewidths=0.7, color="#888888", label=label)
            panel.legend(loc="upper left", fontsize=7, framealpha=0.85)
    left_out = len(search.finished) - sum(1 for trial in search.finished if _place(trial))
    zero = f"; {left_out} with a product or alpha of 0 are not shown" if left_out else ""
    trials = len(search.finished) - left_out
    figure.suptitle(f"{search.name}: {trials} finished trials, interpolated between them only{zero}", fontsize=10)
    png, svg = as_png_and_svg(figure, _STEM, dpi=110)
    return {f"{_STEM}.png": png, f"{_STEM}.svg": svg}


def why_no_contour(search: Search) -> str:
    """The reason why there is no contour, or ""."""
    if not all(metric in trial.metrics for trial in search.finished for metric, _ in PANELS):
        return f"trials lack {' or '.join(TITLES[metric] for metric, _ in PANELS)}"
    places = _places(search)
    if len(places) < LEAST:
        return f"places with alpha > 0 and omega x lambda3 > 0: {len(places)}; {LEAST} are needed"
    if _triangles(places) is None:
        return "alpha and omega x lambda3 do not vary apart from each other"
    return ""


def _place(trial: Trial) -> Place | None:
    """log10 of (alpha, omega x lambda3), if the trial has them and they have one. Rounded: equal products are equal."""
    values = [trial.coefficients.get(name) for name in (ALPHA, *STRENGTH)]
    if not all(is_number(value) for value in values):
        return None
    alpha, omega, lambda3 = (float(value or 0) for value in values)
    if min(alpha, omega * lambda3) <= 0:
        return None
    return round(math.log10(alpha), 6), round(math.log10(omega * lambda3), 6)


def _places(search: Search) -> Places:
    """The mean of each rate by place, over finished trials."""
    found: dict[Place, list[Metrics]] = {}
    for trial in search.finished:
        if (place := _place(trial)) is not None:
            found.setdefault(place, []).append(trial.metrics)
    means: Places = {}
    for place, rates in sorted(found.items()):
        means[place] = {metric: math.fsum(own[metric] for own in rates) / len(rates) for metric, _ in PANELS}
    return means


def _triangles(places: Collection[Place]) -> Triangulation | None:
    """Delaunay triangles over places whose axes are scaled to their range; None if all lie on one line."""
    from matplotlib.tri import Triangulation

    logs = np.array(list(places), dtype=float)
    spread = np.ptp(logs, axis=0)
    if (spread == 0).any():
        return None
    scaled = (logs - logs.min(axis=0)) / spread
    if np.linalg.matrix_rank(scaled - scaled.mean(axis=0), tol=1e-4) < 2:
        return None
    return Triangulation(*logs.T, triangles=Triangulation(*scaled.T).triangles)


def _panel(figure: Figure, panel: Axes, places: Places, metric: str, palette: str) -> None:
    from matplotlib.colors import Normalize
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    rates = np.array([100 * own[metric] for own in places.values()])
    low, high = float(rates.min()), float(rates.max())
    scale = Normalize(low, high if high > low else low + 1)
    triangles = _triangles(places)
    if high > low and triangles is not None:
        levels = np.linspace(low, high, _LEVELS + 1)
        panel.tricontourf(triangles, rates, levels=levels, cmap=palette, norm=scale, alpha=0.75, extend="both")
    across, up = zip(*places, strict=True)
    style: dict[str, Any] = {"s": 42, "edgecolors": "black", "linewidths": 0.7, "zorder": 3}
    dots = panel.scatter(across, up, c=rates, cmap=palette, norm=scale, **style)
    panel.use_sticky_edges = False
    panel.margins(0.06)
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(MaxNLocator(6, integer=True))
        axis.set_major_formatter(FuncFormatter(lambda power, _: f"{10**power:g}"))
    panel.set_xlabel("alpha")
    panel.set_ylabel("omega × lambda3")
    panel.set_title(f"{TITLES[metric]}, %   ({'low' if metric.startswith('aa') else 'high'} is good)", fontsize=10)
    bar = figure.colorbar(dots, ax=panel, pad=0.02)
    if high == low:
        bar.set_ticks([low], labels=[f"{low:.4g}, all"])
