"""A recorded search as a table: points of a space, each measured at every rung, from which searches are replayed.

The table is the record of an ordinary `decoygrid search --algorithm random --scheduler none`, so what measured it is
what measures every search; here it is only read and checked.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from analysis.search_parts import Search, State, Trial
from analysis.search_record import read_search
from analysis.search_tables import front_volume
from grid.problems import Problem, SpecError
from grid.search_objectives import Goals
from grid.search_proposals import within
from grid.search_space import Domain, Space, Value

LEAST = 200  # points of a table


@dataclass(frozen=True)
class Table:
    """`points`: finished trials that were measured at every rung; `left_out`: trials that were not."""

    search: Search
    space: Space
    goals: Goals
    undefended: Mapping[str, float]
    points: tuple[Trial, ...]
    left_out: tuple[Trial, ...]

    @property
    def rungs(self) -> int:
        """How often each point was measured."""
        return len(self.points[0].curve)

    def steps_at(self, point: Trial, rung: int) -> int:
        """Fine-tune steps of a point up to a rung (from 1), over labels and rounds, as a trial counts them."""
        return point.max_steps - _models(point) * (point.curve[-1].step - point.curve[rung - 1].step)

    def trial_at(self, point: Trial, rung: int, state: State) -> Trial:
        """The trial that a search would record of a point which it leaves in `state` at a rung."""
        curve = point.curve[:rung]
        stopped = rung if state == "stopped" else None
        steps = self.steps_at(point, rung)
        return replace(point, state=state, rung=stopped, steps=steps, curve=curve, metrics=curve[-1].metrics)

    def nearest(self, chosen: Mapping[str, Value], used: Container[str]) -> Trial | None:
        """The point nearest to a set of coefficients, of those whose id is not in `used`; None if all are.

        Euclidean, each range scaled to [0, 1], by logarithms where the range is logarithmic; of a choice, other values
        are all at distance 1. Equally near: the first in the record.
        """
        left = [point for point in self.points if point.id not in used]
        return min(left, key=lambda point: self._distance(chosen, point.coefficients), default=None)

    def volume(self, trials: Iterable[Trial]) -> float:
        """Hypervolume in [0, 1] of those that are finished and keep the limit on accuracy, from MC 0 and AA 1.

        The reference point and the limit are those of a search's own report.
        """
        counted = [trial for trial in trials if trial.state == "finished" and self._keeps_limit(trial)]
        volume = front_volume(replace(self.search, trials=tuple(counted), front=tuple(trial.id for trial in counted)))
        return volume if volume is not None else math.nan  # read_table lets no more objectives through

    def _keeps_limit(self, trial: Trial) -> bool:
        return self.goals.violation(trial.metrics, self.undefended) <= 1e-9

    def _distance(self, one: Mapping[str, Value], other: Mapping[str, Value]) -> float:
        total = 0.0
        for name in self.space.searched:
            domain = self.space.domains[name]
            if domain.values:
                total += one[name] != other[name]
            else:
                total += (_unit(domain, one[name]) - _unit(domain, other[name])) ** 2
        return total


def read_table(document: Mapping[str, Any], least: int = LEAST) -> Table:
    """The table in the record of a search. SpecError with everything that stands against it."""
    search = read_search(document)
    space = space_of(search)
    whole = max((len(trial.curve) for trial in search.finished), default=0)
    points = [trial for trial in search.finished if len(trial.curve) == whole]
    table = Table(
        search,
        space,
        Goals(tuple((goal.metric, goal.direction) for goal in search.objectives), search.max_drop),
        search.undefended.search if search.undefended else {},
        tuple(points),
        tuple(trial for trial in search.trials if trial not in points),
    )
    if problems := list(_problems(table, least)):
        raise SpecError([Problem(f"search {search.name}: {problem.place}", problem.message) for problem in problems])
    return table


def space_of(search: Search) -> Space:
    """The space of a recorded search, with Tune's domains made again from what the record says of them."""
    found = {name: Domain(d.kind, d.low, d.high, d.values, d.log) for name, d in search.space.items()}
    tune = {name: _tune_domain(domain) for name, domain in found.items() if domain.searched}
    return Space(Path(f"{search.name}.py"), search.defense, None, found, {}, tune)


def _problems(table: Table, least: int) -> Iterable[Problem]:
    search = table.search
    if search.scheduler != "none":
        text = f"trials may have been stopped, so a table needs 'none', got {search.scheduler!r}"
        yield Problem("scheduler", text)
    if not table.undefended:
        yield Problem("undefended", "was not measured, and the limit on accuracy is counted from it")
    if len(table.points) < least:
        states = ", ".join(f"{len(search.by_state(state))} {state}" for state in ("finished", "failed", "running"))
        text = f"a table needs at least {least} points measured at every rung, got {len(table.points)} ({states})"
        yield Problem("trials", text)
    for point in table.points:
        models = _models(point)
        if not models or point.max_steps < models * point.curve[-1].step:
            text = f"{point.max_steps} steps and {models} models do not explain a curve to step {point.curve[-1].step}"
            yield Problem(f"{point.id}.max_steps", text)
        if not within(table.space, {"coefficients": point.coefficients}):
            yield Problem(f"{point.id}.coefficients", f"lie outside the space: {dict(point.coefficients)}")


def _models(point: Trial) -> int:
    """Fine-tunes that a trial runs side by side: one a label, or one for all."""
    return len(set(point.artifacts.values()))


def _unit(domain: Domain, value: Value) -> float:
    """Where a value lies in its range, from 0 to 1; in the middle of a range that is a point."""
    low, high = (float(end) for end in domain.ends() if isinstance(end, int | float))
    number = float(value) if isinstance(value, int | float) else math.nan
    if low == high:
        return 0.5
    if domain.log:
        return (math.log(number) - math.log(low)) / (math.log(high) - math.log(low))
    return (number - low) / (high - low)


def _tune_domain(domain: Domain) -> Any:
    from ray import tune

    if domain.values:
        return tune.choice(list(domain.values))
    low, high = domain.low, domain.high
    if domain.kind == "randint":
        return (tune.lograndint if domain.log else tune.randint)(int(low or 0), int(high or 0))
    return tune.loguniform(low, high) if domain.log else tune.uniform(low, high)
