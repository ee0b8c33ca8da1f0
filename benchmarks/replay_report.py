"""What replays say: hypervolume over steps as CSV, Markdown and picture, a paired test, and the steps that ASHA saved.

Pure functions of a table and its replays: equal input, equal bytes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np
from scipy.stats import permutation_test

from analysis.drawing import as_png, default_style, new_figure
from analysis.formats import escape_markdown, markdown_line
from analysis.search_parts import Search, Trial
from analysis.search_tables import Steps, steps_of
from analysis.wording import NOTHING, percent
from benchmarks.replay import Run, Strategy
from benchmarks.search_table import Table

BASELINE = Strategy("random", halving=False)
LEVEL = 0.05
FLIPS = 9999
PLACES = 20  # along the steps, at which the CSV and the picture show the hypervolume
_SHOWN = (0.25, 0.5, 0.75, 1.0)  # shares of the steps, in the Markdown table
Runs = Mapping[Strategy, Sequence[Run]]  # of each strategy the same seeds, in the same order
_HEADINGS = ("algorithm", "scheduler", "seed", "steps", "hypervolume", "of_table", "finished", "stopped", "saved")


def replay_csv(table: Table, runs: Runs) -> str:
    """A row per strategy, seed and place along the steps; in full precision.

    of_table: hypervolume as a share of that of all points of the table. saved: share of the steps that the trials
    which had ended by then did not take.
    """
    whole = table.volume(table.points)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_HEADINGS)
    for strategy, run in ((strategy, run) for strategy, found in runs.items() for run in found):
        for steps in places(run.steps):
            trials = run.until(steps)
            volume = table.volume(trials)
            counts = [sum(trial.state == state for trial in trials) for state in ("finished", "stopped")]
            about = [strategy.algorithm, "asha" if strategy.halving else "none", run.seed, steps]
            writer.writerow([*about, volume, volume / whole, *counts, saved_steps(table.search, trials).share])
    return out.getvalue()


def replay_markdown(table: Table, runs: Runs, searches: Sequence[Search] = (), picture: str | None = None) -> str:
    """The page. searches: recorded ones, whose stopped trials say what ASHA saved outside of a replay."""
    parts = [
        f"# Replay of {escape_markdown(table.search.name)}",
        _about(table, runs),
        *([f"![Hypervolume over the steps spent]({picture})"] if picture else []),
        "## Hypervolume, mean over seeds",
        _means_table(table, runs),
        "## By seed, when all steps are spent",
        _seeds_table(table, runs),
        f"## Against {BASELINE.name}, seed by seed",
        _tests_table(table, runs),
        "## Steps that ASHA saved, counted from trials",
        _saved_table(table, runs, searches),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def replay_picture(table: Table, runs: Runs) -> bytes:
    """PNG: mean hypervolume over the steps spent, with the range over the seeds; dashed: all points of the table."""
    with default_style():
        figure = new_figure(width=8.0, height=4.8)
        axes = figure.subplots()
        for order, (strategy, found) in enumerate(runs.items()):
            at = places(found[0].steps)
            curves = [[table.volume(run.until(steps)) for steps in at] for run in found]
            columns = list(zip(*curves, strict=True))
            axes.plot(at, [fmean(column) for column in columns], color=f"C{order}", label=strategy.name)
            axes.fill_between(at, list(map(min, columns)), list(map(max, columns)), color=f"C{order}", alpha=0.12)
        axes.axhline(table.volume(table.points), color="#1a1a1a", linestyle="--", linewidth=0.9)
        axes.set_xlabel("fine-tune steps spent by all workers")
        axes.set_ylabel("hypervolume of finished trials")
        axes.grid(color="#eeeeee", linewidth=0.6)
        axes.legend(fontsize=8, loc="lower right")
        return as_png(figure, dpi=110)


def places(steps: int) -> list[int]:
    """Steps spent at which a run is looked at; the last one is the end."""
    return [steps * (place + 1) // PLACES for place in range(PLACES)]


def saved_steps(search: Search, trials: Sequence[Trial]) -> Steps:
    """Steps taken and saved by these trials, as a search's own report counts them."""
    return steps_of(replace(search, trials=tuple(trials)))


def verdict(differences: Sequence[float]) -> tuple[str, float]:
    """(larger or not larger, exact one-sided p); differences: a strategy's hypervolume less the baseline's, by seed.

    The hypothesis stands before the data: larger. If it were not so, a seed's difference would be as likely with the
    other sign, so p is the share of sign flips with at least this mean (Fisher 1935); of all of them up to 13 seeds,
    beyond that of random ones, the same every time. Five seeds reach 1/32 when all of them agree.
    """
    if not any(differences):
        return "not larger", 1.0
    found = permutation_test(
        (list(differences),),
        np.mean,
        permutation_type="samples",
        alternative="greater",
        n_resamples=FLIPS,
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    p = float(found.pvalue)
    return ("larger" if p <= LEVEL else "not larger"), p


def _about(table: Table, runs: Runs) -> str:
    search = table.search
    first = next(iter(runs.values()))
    whole = fmean(point.max_steps for point in table.points)
    left_out = f" ({len(table.left_out)} trials without all measurements are left out)" if table.left_out else ""
    goals = ", ".join(f"{goal.direction} {goal.title}" for goal in search.objectives)
    limit = f", MC all at most {search.max_drop:g} points below the undefended" if search.max_drop is not None else ""
    lines = [
        f"Table: {len(table.points)} points of {', '.join(search.searched)}, each fine-tuned to the end and measured "
        f"at {table.rungs} rungs by a search without scheduler{left_out}. Nothing is trained in a replay.",
        f"Each replay spends {first[0].steps} fine-tune steps, as much as {first[0].steps / whole:.3g} whole trials; "
        f"{len(first)} seeds. A proposal becomes the nearest point that its run has not used.",
        f"Hypervolume of finished trials ({goals}{limit}) from the reference point MC 0, AA 1: the share of all "
        f"conceivable outcomes that they are better than. All points of the table together: "
        f"{table.volume(table.points):.4f}.",
        "Seeds vary what is proposed. The table, its victim and its noise stay the same, so a test speaks of this "
        "table alone.",
    ]
    return "\n".join(f"- {escape_markdown(line)}" for line in lines)


def _means_table(table: Table, runs: Runs) -> str:
    shares = [f"{share:.0%} of steps" for share in _SHOWN]
    lines = _heading(["strategy", *shares, "of table", "finished", "stopped", "steps saved"])
    whole = table.volume(table.points)
    for strategy, found in runs.items():
        means = [fmean(table.volume(run.until(share * run.steps)) for run in found) for share in _SHOWN]
        ended = [run.until(run.steps) for run in found]
        counts = [
            fmean(sum(trial.state == state for trial in trials) for trials in ended)
            for state in ("finished", "stopped")
        ]
        saved = fmean(saved_steps(table.search, trials).share for trials in ended) if strategy.halving else None
        cells = [f"{mean:.4f}" for mean in means] + [f"{percent(means[-1] / whole)}%"]
        shown = NOTHING if saved is None else f"{percent(saved)}%"
        lines.append(markdown_line([strategy.name, *cells, *(f"{count:.1f}" for count in counts), shown]))
    return "\n".join(lines)


def _seeds_table(table: Table, runs: Runs) -> str:
    seeds = [run.seed for run in next(iter(runs.values()))]
    lines = _heading(["strategy", *(f"seed {seed}" for seed in seeds), "mean"])
    for strategy, volumes in _ends(table, runs).items():
        lines.append(markdown_line([strategy.name, *(f"{volume:.4f}" for volume in [*volumes, fmean(volumes)])]))
    return "\n".join(lines)


def _tests_table(table: Table, runs: Runs) -> str:
    ends = _ends(table, runs)
    if BASELINE not in ends or len(ends) < 2:
        return f"Nothing to compare: it takes {BASELINE.name} and another strategy."
    lines = _heading(["strategy", "mean difference", "seeds above", "p", "hypervolume"])
    for strategy, volumes in ends.items():
        if strategy != BASELINE:
            differences = [one - other for one, other in zip(volumes, ends[BASELINE], strict=True)]
            said, p = verdict(differences)
            above = f"{sum(difference > 0 for difference in differences)} of {len(differences)}"
            lines.append(markdown_line([strategy.name, f"{fmean(differences):+.4f}", above, f"{p:.3g}", said]))
    note = (
        f"Larger: said from p <= {LEVEL:g} on, by a one-sided sign-flip test of the mean difference; p is not adjusted "
        f"for the number of lines. The least p that {len(ends[BASELINE])} seeds can give: "
        f"{verdict([1.0] * len(ends[BASELINE]))[1]:.3g}."
    )
    return "\n".join(lines) + f"\n\n{note}"


def _saved_table(table: Table, runs: Runs, searches: Sequence[Search]) -> str:
    lines = _heading(["trials of", "ended", "stopped", "steps taken", "steps saved", "share saved"])
    for name, trials in _saving(runs, searches):
        steps = saved_steps(table.search, trials)
        counts = [len(trials), sum(trial.state == "stopped" for trial in trials), steps.spent, steps.saved]
        lines.append(markdown_line([name, *map(str, counts), f"{percent(steps.share)}%"]))
    note = "Saved: what stopped trials did not take, of what all trials that ended would have taken to their end."
    return "\n".join([*lines, "", note]) if len(lines) > 2 else "No strategy here stops trials."


def _saving(runs: Runs, searches: Sequence[Search]) -> Iterator[tuple[str, list[Trial]]]:
    """(name, trials that ended) of whatever stops trials: replays, all seeds together, and recorded searches."""
    for strategy, found in runs.items():
        if strategy.halving:
            yield f"replay {strategy.name}", [trial for run in found for trial in run.until(run.steps)]
    for search in searches:
        if search.scheduler == "asha":
            yield f"search {search.name} ({search.algorithm})", search.by_state("finished", "stopped")


def _ends(table: Table, runs: Runs) -> dict[Strategy, list[float]]:
    """Hypervolume of each seed when all steps are spent."""
    return {strategy: [table.volume(run.until(run.steps)) for run in found] for strategy, found in runs.items()}


def _heading(names: Sequence[str]) -> list[str]:
    return [markdown_line(names), "|---|" + "--:|" * (len(names) - 1)]
