"""All trials of a search at once: a line per trial across its coefficients and objectives, coloured by AA top-1."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from analysis.drawing import as_png_and_svg, new_figure
from analysis.search_parts import Domain, Objective, Search, Trial, Value, is_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize

COLOURED_BY = "aa_top1"  # or the first objective, where a search has no AA top-1
_STOPPED, _AXIS = "#9a9a9a", "#333333"
_STEM = "parallel_coordinates"


class Axis(NamedTuple):
    """One vertical axis: a place in [0, 1] for each trial (None: it has no value), ticks, and what stands above it."""

    title: str
    note: str  # its scale, or which end is the good one
    place: Callable[[Trial], float | None]
    ticks: tuple[tuple[float, str], ...]


def parallel_pictures(search: Search) -> dict[str, bytes]:
    """parallel_coordinates.png and .svg; nothing where there is no finished trial or nothing varies.

    The coefficients that vary come first, then the objectives, each turned so that up is better. Trials of the front
    are drawn last and thick, stopped ones thin and grey with their last report.
    """
    if not search.finished or not search.searched:
        return {}
    shown = search.by_state("finished", "stopped")
    axes_of = [*_coefficient_axes(search, shown), *_objective_axes(search, shown)]
    figure = new_figure(width=1.2 + 1.25 * len(axes_of), height=5.4)
    axes = figure.subplots()
    colour, scale, palette = _colours(search)
    front = set(search.front)
    stopped = search.by_state("stopped")
    others = [trial for trial in search.finished if trial.id not in front]
    _lines(axes, stopped, axes_of, lambda _: _STOPPED, width=0.6, alpha=0.35, order=1.0)
    faint = 0.8 if len(others) <= 60 else 0.5
    _lines(axes, others, axes_of, colour, width=0.9, alpha=faint, order=2.0)
    _lines(axes, search.front_trials, axes_of, lambda _: "white", width=3.6, alpha=0.9, order=3.0)
    _lines(axes, search.front_trials, axes_of, colour, width=2.2, alpha=1.0, order=3.1)
    _draw_axes(axes, axes_of, len(search.searched))
    from matplotlib.cm import ScalarMappable

    bar = figure.colorbar(ScalarMappable(scale, palette), ax=axes, pad=0.01, fraction=0.025, aspect=30)
    bar.set_label(f"{_coloured(search).title}, %", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    values = {100 * trial.metrics[_coloured(search).metric] for trial in search.finished}
    if len(values) == 1:
        bar.set_ticks(list(values), labels=[f"{next(iter(values)):.4g}, all"])
    counts = f"thick: front ({len(front)}); thin: other finished ({len(others)})"
    grey = f"; grey: stopped early ({len(stopped)})" if stopped else ""
    failed = f"; not drawn: failed ({len(search.by_state('failed'))})" if search.by_state("failed") else ""
    figure.suptitle(f"{search.name}: {counts}{grey}{failed}; on the objectives up is better", fontsize=10)
    png, svg = as_png_and_svg(figure, _STEM, dpi=110)
    return {f"{_STEM}.png": png, f"{_STEM}.svg": svg}


def _coefficient_axes(search: Search, trials: Sequence[Trial]) -> list[Axis]:
    found = []
    for name in search.searched:
        domain = search.space[name]
        values = [trial.coefficients.get(name) for trial in trials]
        made = _choices if domain.kind == "choice" else _range
        found.append(made(name, domain, values))
    return found


def _choices(name: str, domain: Domain, values: Sequence[Value]) -> Axis:
    """A place per value: numbers by size, others in the space's order. 1 and True are told apart, by their names."""
    known = [*domain.values, *values]
    names = list(dict.fromkeys(map(str, known if domain.categorical else sorted(known, key=_size))))
    places = {value: (order + 0.5) / len(names) for order, value in enumerate(names)}
    ticks = tuple((place, _short(value)) for value, place in places.items())
    return Axis(name, "choice", lambda trial: places.get(str(trial.coefficients.get(name))), ticks)


def _range(name: str, domain: Domain, values: Sequence[Value]) -> Axis:
    """From the least to the largest of space and trials; 0 on a logarithmic axis lies at its foot."""
    ends = [
        float(end) for end in (domain.low, domain.top, *domain.values, *values) if is_number(end) and end is not None
    ]
    log = domain.log and any(end > 0 for end in ends)
    low, high = min(end for end in ends if end > 0 or not log), max(ends)

    def turned(value: float) -> float:
        return math.log10(max(value, low)) if log else value

    def place(trial: Trial) -> float | None:
        value = trial.coefficients.get(name)
        if value is None or not is_number(value):
            return None
        return _share(turned(float(value)), turned(low), turned(high))

    whole = domain.kind == "randint"
    shown = _ticks(low, high, log=log, whole=whole)
    ticks = tuple((_share(turned(tick), turned(low), turned(high)), _number(tick)) for tick in shown)
    return Axis(name, "log" if log else "linear", place, ticks)


def _objective_axes(search: Search, trials: Sequence[Trial]) -> list[Axis]:
    return [_objective_axis(objective, trials) for objective in search.objectives]


def _objective_axis(objective: Objective, trials: Sequence[Trial]) -> Axis:
    values = [100 * trial.metrics[objective.metric] for trial in trials]
    low, high = min(values), max(values)
    foot, top = (low, high) if objective.direction == "max" else (high, low)

    def place(trial: Trial) -> float | None:
        return _share(100 * trial.metrics[objective.metric], foot, top)

    ticks = tuple((_share(tick, foot, top), f"{tick:.4g}") for tick in _ticks(low, high))
    note = "%, high is good" if objective.direction == "max" else "%, low is good"
    return Axis(objective.title, note, place, ticks)


def _share(value: float, foot: float, top: float) -> float:
    """Where value lies from foot (0) to top (1); the middle if they are one."""
    return 0.5 if foot == top else (value - foot) / (top - foot)


def _ticks(low: float, high: float, *, log: bool = False, whole: bool = False) -> list[float]:
    """Ends and decades (not too near to an end) on a logarithmic axis, round numbers on a linear one."""
    if low == high:
        return [low]
    if not log:
        from matplotlib.ticker import MaxNLocator

        return [float(tick) for tick in MaxNLocator(6, integer=whole).tick_values(low, high) if low <= tick <= high]
    decades = [10.0**power for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
    far = 0.06 * math.log10(high / low)
    apart = [d for d in decades if min(abs(math.log10(d / low)), abs(math.log10(d / high))) > far]
    return [low, *apart, high]


def _coloured(search: Search) -> Objective:
    by_metric = {objective.metric: objective for objective in search.objectives}
    return by_metric.get(COLOURED_BY, search.objectives[0])


def _colours(search: Search) -> tuple[Callable[[Trial], object], Normalize, Colormap]:
    """Dark is good. The palette's brightest part is left out: it cannot be seen on white."""
    import matplotlib
    from matplotlib.colors import ListedColormap, Normalize

    objective = _coloured(search)
    colours = matplotlib.colormaps["plasma"](np.linspace(0, 0.88, 256))
    palette = ListedColormap(colours if objective.direction == "min" else colours[::-1])
    values = [100 * trial.metrics[objective.metric] for trial in search.finished]
    scale = Normalize(min(values), max(values) if max(values) > min(values) else min(values) + 1)
    return lambda trial: palette(scale(100 * trial.metrics[objective.metric])), scale, palette


def _lines(
    axes: Axes,
    trials: Sequence[Trial],
    axes_of: Sequence[Axis],
    colour: Callable[[Trial], object],
    *,
    width: float,
    alpha: float,
    order: float,
) -> None:
    from matplotlib.collections import LineCollection

    lines, colours = [], []
    for trial in trials:
        places = [(x, axis.place(trial)) for x, axis in enumerate(axes_of)]
        lines.append([(x, y) for x, y in places if y is not None])
        colours.append(colour(trial))
    style: dict[str, Any] = {
        "linewidths": width,
        "alpha": alpha,
        "zorder": order,
        "capstyle": "round",
        "joinstyle": "round",
    }
    axes.add_collection(LineCollection(lines, colors=colours, **style))


def _draw_axes(axes: Axes, axes_of: Sequence[Axis], coefficients: int) -> None:
    axes.set_xlim(-0.35, len(axes_of) - 0.55)
    axes.set_ylim(-0.03, 1.16)
    axes.set_axis_off()
    halo = {"facecolor": "white", "alpha": 0.9, "edgecolor": "none", "pad": 0.8}
    for x, axis in enumerate(axes_of):
        axes.plot([x, x], [0, 1], color=_AXIS, linewidth=1.1, zorder=4)
        for place, name in axis.ticks:
            axes.plot([x - 0.035, x], [place, place], color=_AXIS, linewidth=1, zorder=4)
            axes.text(x - 0.05, place, name, ha="right", va="center", fontsize=7.5, zorder=5, bbox=halo)
        axes.text(x, 1.085, axis.title, ha="center", va="bottom", fontsize=10, weight="bold")
        axes.text(x, 1.04, axis.note, ha="center", va="bottom", fontsize=7.5, color="#666666")
    if coefficients < len(axes_of):
        axes.axvline(coefficients - 0.5, color="#cccccc", linewidth=1, linestyle=":", zorder=0)


def _size(value: Value) -> float:
    return float(value) if value is not None else 0.0


def _short(text: str) -> str:
    return text if len(text) <= 12 else text[:11] + "…"


def _number(value: float) -> str:
    return f"{value:g}" if abs(value) < 1e5 else f"{value:.0e}"
