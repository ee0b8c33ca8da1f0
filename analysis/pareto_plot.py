"""A search on one page: AA top-1 against MC(all), its front, and what became of the picks when they were confirmed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from analysis.drawing import as_png_and_svg, new_figure
from analysis.point_names import Ends, Place, place_names
from analysis.search_parts import Metrics, Outcome, Search, Trial
from grid.search_front import front_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ACROSS, UP = "mc_all", "aa_top1"
_STOPPED, _FINISHED, _FRONT, _UNDEFENDED = "#b5b5b5", "#6baed6", "#08519c", "#1a1a1a"
_PICKS = ("#d62728", "#9467bd", "#e6850e", "#2ca02c", "#8c564b")
_SIZE = 34  # of a dot, in square points
_NAMED = 16  # front trials that get their names written beside them
_STEM = "pareto"


def pareto_pictures(search: Search) -> dict[str, bytes]:
    """pareto.png and .svg; nothing where no finished trial has both rates.

    Drawn in percent: stopped trials (grey, as they stood when they were stopped), finished ones, those on the front
    of all objectives, the line of those that are undominated in the two drawn ones, and for each pick an arrow from
    what the search saw to what was confirmed.
    """
    finished = [trial for trial in search.finished if drawable(trial.metrics)]
    if not finished:
        return {}
    figure = new_figure(width=8.6, height=6.2)
    axes = figure.subplots()
    stopped = [trial for trial in search.by_state("stopped") if drawable(trial.metrics)]
    _dots(axes, stopped, _STOPPED, "x", f"stopped early ({len(stopped)})")
    _dots(axes, finished, _FINISHED, "o", f"finished ({len(finished)})")
    front = [trial for trial in search.front_trials if drawable(trial.metrics)]
    several = len(search.objectives) > 2 or {goal.metric for goal in search.objectives} != {ACROSS, UP}
    of = f" of all {len(search.objectives)} objectives" if several else ""
    _dots(axes, front, _FRONT, "o", f"front{of} ({len(front)})")
    _line(axes, front)
    _limit(axes, search)
    outcomes = _outcomes(search)
    for name, colour, outcome in outcomes:
        _outcome(axes, name, colour, outcome)
    _limits(axes, [*finished, *stopped], [outcome for _, _, outcome in outcomes])
    axes.set_xlabel("accuracy MC(all), %   (better →)")
    axes.set_ylabel("attack accuracy AA top-1, %   (← better)")
    axes.set_title(_title(search, outcomes), fontsize=10)
    axes.grid(color="#eeeeee", linewidth=0.6, zorder=0)
    _legend(axes, finished, stopped)
    figure.canvas.draw()  # fixes the layout, in which labels are then placed
    _names(axes, front, outcomes, [*finished, *stopped])
    png, svg = as_png_and_svg(figure, _STEM, dpi=110)
    return {f"{_STEM}.png": png, f"{_STEM}.svg": svg}


def drawable(metrics: Metrics) -> bool:
    return ACROSS in metrics and UP in metrics


def in_percent(metrics: Metrics) -> Place:
    return 100 * metrics[ACROSS], 100 * metrics[UP]


def _outcomes(search: Search) -> list[tuple[str, str, Outcome]]:
    """(name, colour, outcome) of the undefended model and of each picked trial; rules that agree share one."""
    found = [("undefended", _UNDEFENDED, search.undefended)] if search.undefended else []
    named: dict[str, list[str]] = {}
    for pick in search.picks:
        named.setdefault(pick.trial, []).append(pick.name)
    for order, (trial, names) in enumerate(named.items()):
        outcome = next(pick.outcome for pick in search.picks if pick.trial == trial)
        found.append((f"{' = '.join(names)} ({trial})", _PICKS[order % len(_PICKS)], outcome))
    return [(name, colour, outcome) for name, colour, outcome in found if drawable(outcome.search)]


def _dots(axes: Axes, trials: Sequence[Trial], colour: str, marker: str, label: str) -> None:
    """Rates are multiples of one image, so trials meet: more trials in one place are a larger dot."""
    places = Counter(in_percent(trial.metrics) for trial in trials)
    if not places:
        return
    style: dict[str, Any] = {"edgecolors": "white", "linewidths": 0.6} if marker == "o" else {"linewidths": 1.2}
    sizes = [_SIZE * (1 + 0.7 * (count - 1)) for count in places.values()]
    order = {_STOPPED: 2.0, _FINISHED: 2.1, _FRONT: 2.3}[colour]
    across, up = zip(*places, strict=True)
    axes.scatter(across, up, s=sizes, c=colour, marker=marker, label=label, zorder=order, **style)


def _legend(axes: Axes, *groups: Sequence[Trial]) -> None:
    """Marks in one size; and why some dots are larger, if some are."""
    from matplotlib.collections import PathCollection

    if any(len({in_percent(trial.metrics) for trial in group}) < len(group) for group in groups):
        axes.plot([], [], " ", label="larger: several trials in one place")
    legend = axes.legend(fontsize=8, loc="upper left", framealpha=0.9)
    for handle in legend.legend_handles:
        if isinstance(handle, PathCollection):
            handle.set_sizes([_SIZE])


def _line(axes: Axes, front: Sequence[Trial]) -> None:
    """The undominated ones of (MC(all), AA top-1) alone, as the staircase that they bound."""
    places = sorted({in_percent(trial.metrics) for trial in front})
    corners = [places[i] for i in front_of(places, ["max", "min"])]
    if len(corners) > 1:
        label = "front of the two drawn"
        axes.step(*zip(*corners, strict=True), where="pre", color=_FRONT, linewidth=1.3, label=label, zorder=2.2)


def _limit(axes: Axes, search: Search) -> None:
    """Where the search's limit on the loss of MC(all) lies; the front is to the right of it."""
    if search.max_drop is not None and search.undefended and ACROSS in search.undefended.search:
        place = 100 * search.undefended.search[ACROSS] - search.max_drop
        label = f"limit: {search.max_drop:g} points below undefended"
        axes.axvline(place, color="#555555", linewidth=0.9, linestyle=":", label=label, zorder=1.5)


def _outcome(axes: Axes, name: str, colour: str, outcome: Outcome) -> None:
    """Search value hollow, confirmed value full with its interval, an arrow from one to the other."""
    undefended = name == "undefended"
    style: dict[str, Any] = {"markersize": 14 if undefended else 10, "marker": "*" if undefended else "D", "zorder": 4}
    seen = in_percent(outcome.search)
    axes.plot(*seen, **style, markerfacecolor="none", markeredgecolor=colour, markeredgewidth=1.6)
    if outcome.confirmed is None or not drawable(outcome.confirmed):
        return
    (x, y), ((left, right), (low, high)) = in_percent(outcome.confirmed), ends_in_percent(outcome.confirmed)
    axes.errorbar([x], [y], [[y - low], [high - y]], [[x - left], [right - x]], fmt="none", ecolor=colour, zorder=3.5)
    axes.plot([x], [y], **style, color=colour)
    arrow = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.4, "shrinkA": 6, "shrinkB": 6}
    axes.annotate("", (x, y), xytext=seen, arrowprops=arrow, zorder=3.8)


def ends_in_percent(metrics: Metrics) -> Ends:
    """Where the bars end, in percent; the point itself where there is no interval."""

    def bar(name: str) -> tuple[float, float]:
        value = metrics[name]
        low, high = min(value, metrics.get(f"{name}_low", value)), max(value, metrics.get(f"{name}_high", value))
        return 100 * low, 100 * high

    return bar(ACROSS), bar(UP)


def _limits(axes: Axes, trials: Sequence[Trial], outcomes: Sequence[Outcome]) -> None:
    """All that is drawn, with room for names; AA from 0."""
    shown = [found for outcome in outcomes for found in (outcome.search, outcome.confirmed) if found]
    ends = [ends_in_percent(found) for found in [*(trial.metrics for trial in trials), *shown] if drawable(found)]
    left, right = min(x[0] for x, _ in ends), max(x[1] for x, _ in ends)
    room = max(2.0, 0.08 * (right - left))
    axes.set_xlim(left - room, right + room)
    axes.set_ylim(-3, max(y[1] for _, y in ends) * 1.12 + 3)
    axes.set_xticks([tick for tick in axes.get_xticks() if left - room <= tick <= min(100, right + room)])
    axes.set_yticks([tick for tick in axes.get_yticks() if 0 <= tick <= axes.get_ylim()[1]])


def _names(
    axes: Axes, front: Sequence[Trial], outcomes: Sequence[tuple[str, str, Outcome]], dots: Sequence[Trial]
) -> None:
    """Names of the picks and the undefended model, then of front trials that are no pick, if they are few."""
    entries: list[tuple[Place, str, Ends, str]] = []
    for name, colour, outcome in outcomes:
        metrics = outcome.confirmed if outcome.confirmed and drawable(outcome.confirmed) else outcome.search
        entries.append((in_percent(metrics), name, ends_in_percent(metrics), colour))
    drawn = {in_percent(outcome.search) for _, _, outcome in outcomes}
    rest: dict[Place, list[Trial]] = {}
    for trial in front:
        if (place := in_percent(trial.metrics)) not in drawn:
            rest.setdefault(place, []).append(trial)
    if len(rest) <= _NAMED:
        for place, trials in rest.items():
            entries.append((place, ", ".join(trial.id for trial in trials), ends_in_percent(trials[0].metrics), _FRONT))
    if entries:
        places, names, bars, colours = zip(*entries, strict=True)
        avoid = {in_percent(trial.metrics) for trial in dots} | drawn | set(_arrows(outcomes))
        place_names(axes, places, names, bars, colours, sorted(avoid))
        for text in axes.texts:  # on white: the other dots lie where they lie
            text.set_bbox({"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.4})


def _arrows(outcomes: Sequence[tuple[str, str, Outcome]]) -> Iterator[Place]:
    """Points along the arrows, so that no name lies on one."""
    for _, _, outcome in outcomes:
        if outcome.confirmed and drawable(outcome.confirmed):
            (x0, y0), (x1, y1) = in_percent(outcome.search), in_percent(outcome.confirmed)
            yield from ((x0 + share * (x1 - x0), y0 + share * (y1 - y0)) for share in (0.25, 0.5, 0.75))


def _title(search: Search, outcomes: Sequence[tuple[str, str, Outcome]]) -> str:
    confirmed = [outcome.confirmed for _, _, outcome in outcomes if outcome.confirmed]
    text = f"{search.name}: {search.algorithm}, scheduler {search.scheduler}, {len(search.trials)} trials"
    hollow = "hollow: as the search saw it (second evaluator, validation)"
    bars = "; bars: 95% interval" if any(f"{UP}_low" in metrics for metrics in confirmed) else ""
    return f"{text}\n{hollow}" + (f" → full: confirmed (F_E, test split){bars}" if confirmed else "")
