"""Several searches of one spec in one picture: the front of each, and where its picks were confirmed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from analysis.drawing import as_png_and_svg, default_style, new_figure
from analysis.pareto_plot import drawable, ends_in_percent, in_percent
from analysis.search_parts import Outcome, Search
from grid.search_front import front_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#e6850e", "#8c564b", "#17a2b8", "#7f7f7f")
_STEM = "fronts"


@default_style()
def fronts_pictures(searches: Sequence[Search]) -> dict[str, bytes]:
    """fronts.png and .svg; nothing for fewer than two searches that have something to draw.

    Left: the finished trials as the searches saw them (second evaluator, validation split), with the staircase of
    those that no other of the same search beats in AA top-1 and MC(all). Right: the undefended victims and the picks
    as F_E, the full attacks and the test split confirmed them, with the 95% intervals. A search on other labels has
    another undefended victim to be read against, so each search has a star in its own colour.
    """
    drawn = [search for search in searches if any(drawable(trial.metrics) for trial in search.finished)]
    if len(drawn) < 2:
        return {}
    figure = new_figure(width=12.4, height=5.6)
    seen, confirmed = figure.subplots(1, 2, sharex=True, sharey=True)
    for search, colour in zip(drawn, _colours(len(drawn)), strict=True):
        _seen(seen, search, colour)
        _confirmed(confirmed, search, colour)
    seen.set_title("as the search saw it: second evaluator, validation split", fontsize=10)
    confirmed.set_title("confirmed: F_E, test split, full attacks (bars: 95% interval)", fontsize=10)
    for axes in (seen, confirmed):
        axes.set_xlabel("accuracy MC(all), %   (better →)")
        axes.grid(color="#eeeeee", linewidth=0.6, zorder=0)
    seen.set_ylabel("attack accuracy AA top-1, %   (← better)")
    seen.set_ylim(bottom=-2)
    seen.legend(fontsize=8, loc="upper left", framealpha=0.9)
    if confirmed.get_legend_handles_labels()[0]:
        confirmed.legend(fontsize=8, loc="upper left", framealpha=0.9)
    png, svg = as_png_and_svg(figure, _STEM, dpi=110)
    return {f"{_STEM}.png": png, f"{_STEM}.svg": svg}


def _colours(count: int) -> list[str]:
    return [_COLOURS[place % len(_COLOURS)] for place in range(count)]


def _seen(axes: Axes, search: Search, colour: str) -> None:
    """Dots of the finished trials, the staircase of the undominated, and the undefended victim as a hollow star.

    The staircase gives the least AA top-1 for every MC(all) asked for, so it goes on to the least accurate trial.
    """
    places = sorted({in_percent(trial.metrics) for trial in search.finished if drawable(trial.metrics)})
    across, up = zip(*places, strict=True)
    axes.scatter(across, up, s=18, color=colour, alpha=0.45, zorder=2)
    corners = [places[place] for place in front_of(places, ["max", "min"])]
    stairs = sorted([(min(across), min(up)), *corners])
    best, least = zip(*corners, strict=True)
    axes.scatter(best, least, s=42, color=colour, zorder=3.1)
    axes.step(*zip(*stairs, strict=True), where="pre", color=colour, linewidth=1.5, label=_label(search), zorder=3)
    if search.undefended and drawable(search.undefended.search):
        axes.plot(*in_percent(search.undefended.search), marker="*", markersize=13, markerfacecolor="none",
                  markeredgecolor=colour, markeredgewidth=1.4, zorder=4)  # fmt: skip


def _label(search: Search) -> str:
    about = f"{search.name}: {len(search.finished)} of {len(search.trials)} finished"
    labels, seeds = (search.basis.labels, search.basis.seeds) if search.basis else ((), ())
    for word, found in (("label", labels), ("seed", seeds)):
        about += f", {len(found)} {word}{'s' * (len(found) != 1)}" if found else ""
    about += ", in one model" if search.protect == "joint" else ""
    return about


def _confirmed(axes: Axes, search: Search, colour: str) -> None:
    """The undefended victim (star) and each picked trial (diamonds), with their intervals."""
    if search.undefended:
        _outcome(axes, search.undefended, colour, "*", f"{search.name}: undefended")
    shown: set[str] = set()
    for pick in search.picks:
        if pick.trial not in shown:
            shown.add(pick.trial)
            rules = " = ".join(other.name for other in search.picks if other.trial == pick.trial)
            _outcome(axes, pick.outcome, colour, "Ds^v"[(len(shown) - 1) % 4], f"{search.name}: {rules}")


def _outcome(axes: Axes, outcome: Outcome, colour: str, marker: str, label: str) -> None:
    found = outcome.confirmed
    if found is None or not drawable(found):
        return
    (x, y), ((left, right), (low, high)) = in_percent(found), ends_in_percent(found)
    across, up = [[x - left], [right - x]], [[y - low], [high - y]]
    axes.errorbar([x], [y], xerr=across, yerr=up, fmt="none", ecolor=colour, elinewidth=0.9, alpha=0.6, zorder=3)
    axes.plot(x, y, marker=marker, markersize=13 if marker == "*" else 8, color=colour, linestyle="none",
              label=f"{label} ({_attack(outcome)})", zorder=4)  # fmt: skip


def _attack(outcome: Outcome) -> str:
    """The attack that got most out of it, as the label says it."""
    return outcome.attack or "attack unknown"
