"""A search in words and Markdown tables: what it spent, its front, and what its picks were worth when confirmed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from analysis.formats import markdown_line
from analysis.search_parts import STATES, Basis, Metrics, Objective, Outcome, Search, Value, is_number
from analysis.wording import CONVERGED, INTERVALS, NOT_CONVERGED, NOTHING, interval, percent, seconds
from grid.search_front import MOST, hypervolume

UNSURE = "‡"
_LISTED = 6  # labels that are named one by one


class Steps(NamedTuple):
    """Training steps of a search: taken, and what its stopped trials would have taken besides."""

    spent: int
    saved: int

    @property
    def share(self) -> float:
        """What was saved, as a share of running every trial to its end."""
        return self.saved / (self.spent + self.saved) if self.saved else 0.0


def steps_of(search: Search) -> Steps:
    """Counted from the trials. Failed and running trials save nothing: nobody stopped them."""
    stopped = search.by_state("stopped")
    return Steps(sum(trial.steps for trial in search.trials), sum(trial.max_steps - trial.steps for trial in stopped))


def front_volume(search: Search) -> float | None:
    """Hypervolume of the front from the worst that a rate can be: 0 for what is maximised, 1 for what is minimised.

    In [0, 1]: the share of all conceivable outcomes that the front is better than. 0 without a front, None for more
    objectives than can be done exactly.
    """
    if len(search.objectives) > MOST:
        return None
    worst = [0.0 if objective.direction == "max" else 1.0 for objective in search.objectives]
    return hypervolume([search.values_of(trial) for trial in search.front_trials], worst, search.directions)


def summary(search: Search) -> str:
    """How the search went, as a Markdown table of names and values."""
    counts = {state: len(search.by_state(state)) for state in STATES}
    shown = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    steps, volume = steps_of(search), front_volume(search)
    goals = ", ".join(f"{goal.direction} {goal.title}" for goal in search.objectives)
    rows = {
        "spec": search.spec,
        "defense": search.defense,
        "algorithm": search.algorithm,
        "scheduler": search.scheduler,
        "objectives": goals,
        "MC l_t measured on": search.target_images,
        "limit": "" if search.max_drop is None else f"MC all at most {search.max_drop:g} points below the undefended",
        "space": ", ".join(f"{name} {_domain_text(search, name)}" for name in search.space),
        "trials": f"{len(search.trials)}: {shown}" if shown else "0",
        "stopped at": _rungs(search),
        "steps": f"{steps.spent} spent, {steps.saved} saved by the scheduler ({percent(steps.share)}% of "
        f"{steps.spent + steps.saved} for all trials to their end)",
        "time": f"{seconds(sum(trial.seconds for trial in search.trials))} summed over trials",
        "front": f"{len(search.front)} trial{'s' * (len(search.front) != 1)}",
        "hypervolume": "" if volume is None else f"{volume:.4f} of 1, from the worst rates (MC 0, AA 1)",
    }
    lines = ["| | |", "|---|---|"]
    return "\n".join([*lines, *(markdown_line([name, text]) for name, text in rows.items() if text)])


def front_table(search: Search) -> str:
    """A line per trial of the front, the most accurate first; rates in percent."""
    if not search.front:
        return "No finished trial stands on it yet."
    goals, names = search.objectives, search.searched
    headings = ["trial", *names, *(goal.title for goal in goals), "target conf.", "picked as"]
    lines = [markdown_line(headings), "|---|" + "--:|" * (len(names) + len(goals) + 1) + "---|"]
    first = goals[0]
    sign = -1 if first.direction == "max" else 1
    for trial in sorted(search.front_trials, key=lambda trial: sign * trial.metrics[first.metric]):
        picks = ", ".join(pick.name for pick in search.picks if pick.trial == trial.id)
        settings = [show_value(trial.coefficients.get(name)) for name in names]
        rates = [percent(trial.metrics.get(goal.metric)) for goal in goals]
        confidence = percent(trial.metrics.get("target_confidence")) + (f" {UNSURE}" if _unsure(trial.metrics) else "")
        lines.append(markdown_line([trial.id, *settings, *rates, confidence, picks]))
    return "\n".join(lines)


def picks_table(search: Search) -> str:
    """For the undefended model and each pick: every objective as the search saw it, confirmed, and the difference.

    In percent and points, confirmed rates with their 95% intervals; a difference for the worse is bold.
    """
    lines = [
        markdown_line(["pick", "trial", "value", "rests on", *(g.title for g in search.objectives), "target conf."]),
        "|---|---|---|---|" + "--:|" * (len(search.objectives) + 1),
    ]
    seen = _basis_text(search.basis) or "second evaluator, validation split"
    outcomes = [("undefended", "", None, search.undefended)] if search.undefended else []
    for name, trial, grid, outcome in [*outcomes, *((p.name, p.trial, p.grid, p.outcome) for p in search.picks)]:
        lines.append(_rates_line([name, trial, "search", seen], outcome.search, search.objectives))
        if outcome.confirmed is None:
            lines.append(markdown_line(["", "", "not confirmed yet", "", *[NOTHING] * (len(search.objectives) + 1)]))
            continue
        about = ", ".join(filter(None, (grid, outcome.attack)))
        where = f"confirmed ({about})" if about else "confirmed"
        basis = _basis_text(outcome.basis) or "F_E, test split"
        lines.append(_rates_line(["", "", where, basis], outcome.confirmed, search.objectives))
        changes = [_change(outcome, goal) for goal in search.objectives]
        lines.append("| | | difference | | " + " | ".join([*changes, ""]) + " |")
    return "\n".join(lines)


def _basis_text(basis: Basis | None) -> str:
    """Judge, pictures, labels, seeds and number of attack images in words."""
    if basis is None:
        return ""
    labels = f"{len(basis.labels)} labels" if len(basis.labels) > _LISTED else _named("label", basis.labels)
    return f"{basis.judge}, {basis.split}; {labels}; {_named('seed', basis.seeds)}; {basis.images} images"


def _named(word: str, numbers: Sequence[int]) -> str:
    return f"{word}{'s' * (len(numbers) != 1)} {', '.join(map(str, numbers))}"


def remarks(search: Search) -> Iterator[str]:
    """What a reader of the tables must know."""
    yield (
        "Search values are those that the choice rests on: a cheap attack, the second evaluator, the validation split. "
        "The best of many noisy values is partly luck (the winner's curse); believe the confirmed values: full "
        "attacks, F_E, the test split, other seeds. The undefended victim's own difference is what the other judge, "
        "attack and pictures make; the rest is luck and seeds."
    )
    if any(outcome.confirmed for outcome in (*(pick.outcome for pick in search.picks), search.undefended) if outcome):
        yield (
            "Confirmed values are those of the attack that gets most, which is named. " + INTERVALS + " Search "
            "values have none: they are what was selected by."
        )
    if search.by_state("stopped"):
        yield "Trials that the scheduler stopped count as stopped, and never stand on the front."
    if {"omega", "lambda3"} <= set(search.searched):
        yield "Of omega and lambda3 only the product counts: the same product, split in another way, is the same model."
    if outside := [trial.id for trial in search.undominated if trial.id not in set(search.front)]:
        yield f"Undominated, but not on the front that the search recorded (its limit): {', '.join(outside)}."
    unsure = [trial.id for trial in search.front_trials if _unsure(trial.metrics)]
    if unsure:
        yield f"{UNSURE} target conf. below {percent(CONVERGED)}%: {', '.join(unsure)}: {NOT_CONVERGED}."
    names = [pick.name for pick in search.picks if pick.outcome.confirmed and _unsure(pick.outcome.confirmed)]
    if names:
        yield f"Confirmed with a target conf. below {percent(CONVERGED)}%: {', '.join(names)}: {NOT_CONVERGED}."
    if stale := [f"{pick.name} ({pick.trial})" for pick in search.picks if pick.trial not in search.front]:
        yield f"Picked before later trials; not on the front of all of them: {', '.join(stale)}."
    if running := search.by_state("running"):
        yield f"The search is not over: {len(running)} trials run or were cut off."


def show_value(value: Value) -> str:
    """A coefficient in three digits, 1000 and not 1e+03; words as they are."""
    if value is None or not is_number(value):
        return NOTHING if value is None else str(value)
    return f"{value:.0f}" if 1000 <= abs(float(value)) < 1e6 else f"{value:.3g}"


def _unsure(metrics: Metrics) -> bool:
    """Whether the attack did not converge on the model, so that a low AA proves nothing."""
    return metrics.get("target_confidence", 1.0) < CONVERGED


def _rates_line(about: Sequence[str], metrics: Metrics, goals: Sequence[Objective]) -> str:
    cells = []
    for goal in goals:
        around = interval(metrics.get(f"{goal.metric}_low"), metrics.get(f"{goal.metric}_high"))
        cells.append(percent(metrics.get(goal.metric)) + (f" [{around}]" if around else ""))
    return markdown_line([*about, *cells, percent(metrics.get("target_confidence"))])


def _change(outcome: Outcome, goal: Objective) -> str:
    seen, confirmed = outcome.search.get(goal.metric), (outcome.confirmed or {}).get(goal.metric)
    if seen is None or confirmed is None:
        return NOTHING
    change = 100 * (confirmed - seen)
    worse = change < 0 if goal.direction == "max" else change > 0
    text = f"{change:+.1f}"
    return f"**{text}**" if worse and abs(change) >= 0.05 else text


def _domain_text(search: Search, name: str) -> str:
    domain = search.space[name]
    if domain.kind in ("constant", "choice"):
        return (
            f"{{{', '.join(map(show_value, domain.values))}}}" if domain.kind == "choice" else _constant(search, name)
        )
    log = " log" if domain.log else ""
    return f"[{show_value(domain.low)}, {show_value(domain.high)}]{log}"


def _constant(search: Search, name: str) -> str:
    return f"= {show_value(next(iter(search.space[name].values), None))}"


def _rungs(search: Search) -> str:
    """How many trials were stopped at which rung."""
    counts = Counter(trial.rung if trial.rung is not None else len(trial.curve) for trial in search.by_state("stopped"))
    return ", ".join(f"rung {rung}: {count}" for rung, count in sorted(counts.items()))
