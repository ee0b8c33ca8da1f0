"""A search replayed on a table: the project's own proposers and halving, with workers that only count steps.

As tabular benchmarks do (Klein and Hutter 2019; Dong and Yang 2020): no model is trained again, what a trial
reports is looked up. Time is counted in fine-tune steps, and every worker always has a trial, so two strategies that
ran equally long have spent equally much.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from analysis.search_parts import State, Trial
from benchmarks.search_table import Table
from grid.problems import Problem, SpecError, choices
from grid.search_halving import Halving
from grid.search_proposals import make_proposals

WORKERS = 2
_APART = 100_000  # between the seeds of two replays: each trial of one adds at most 2
_HALVED = "+asha"


class Strategy(NamedTuple):
    """An algorithm of `decoygrid search`, with its ASHA or without."""

    algorithm: str
    halving: bool

    @property
    def name(self) -> str:
        """As it is typed: optuna+asha."""
        return self.algorithm + _HALVED * self.halving


class Ended(NamedTuple):
    """A trial that is finished or stopped; `spent`: steps that all workers together had taken by then."""

    trial: Trial
    spent: int


@dataclass(frozen=True)
class Run:
    """A replay. `cut`: trials on their way when the steps were spent; they count for nothing but their steps."""

    strategy: Strategy
    seed: int
    steps: int
    ended: tuple[Ended, ...]
    cut: tuple[Trial, ...]

    def until(self, steps: float) -> list[Trial]:
        """Trials that had ended when so many steps were spent."""
        return [one.trial for one in self.ended if one.spent <= steps]


def replay(table: Table, strategy: Strategy, seed: int, steps: int, workers: int = WORKERS) -> Run:
    """Search the table until `steps` fine-tune steps are spent, to the step. SpecError if its points run out before.

    A trial that reports below its last rung is stopped where `Halving` says so; a worker that is free takes the next
    proposal at once. steps: a multiple of workers (ValueError).
    """
    if steps % workers or steps < workers:
        raise ValueError(f"the steps must be a multiple of the workers, but got {steps=}, {workers=}")
    proposals = _Snapped(table, strategy.algorithm, seed)
    halving = Halving(table.goals.directions) if strategy.halving else None
    order = itertools.count()
    reports: list[tuple[int, int, Trial, int]] = []  # (clock, order, point, rung), the next one first

    def take_up(now: int) -> None:
        point = proposals.ask()
        heapq.heappush(reports, (now + table.steps_at(point, 1), next(order), point, 1))

    for _ in range(workers):
        take_up(0)
    ended = []
    while reports[0][0] * workers <= steps:
        now, _, point, rung = heapq.heappop(reports)
        state = _state(table, point, rung, halving)
        if state == "running":
            more = table.steps_at(point, rung + 1) - table.steps_at(point, rung)
            heapq.heappush(reports, (now + more, next(order), point, rung + 1))
            continue
        trial = table.trial_at(point, rung, state)
        ended.append(Ended(trial, now * workers))
        proposals.tell(trial)
        take_up(now)
    cut = [_cut(table, point, rung, at - steps // workers) for at, _, point, rung in sorted(reports)]
    return Run(strategy, seed, steps, tuple(ended), tuple(cut))


def parse_strategies(names: str, problems: list[Problem]) -> list[Strategy]:
    """`optuna+asha,random`."""
    valid = [algorithm + end for algorithm in ("optuna", "hyperopt", "random") for end in ("", _HALVED)]
    found = [name.strip() for name in names.split(",") if name.strip()]
    problems += [Problem("--strategies", choices(name, valid, what="strategy")) for name in found if name not in valid]
    if not found or len(set(found)) < len(found):
        problems.append(Problem("--strategies", f"names each strategy once, at least one, but got {names!r}"))
    return [Strategy(name.removesuffix(_HALVED), name.endswith(_HALVED)) for name in found]


class _Snapped:
    """Proposals that are points of the table, each at most once.

    What an algorithm proposes becomes the nearest point that is left. It is told the point's own coefficients with
    its result, as a search that is resumed is told of its trials; a result at coefficients that nobody measured would
    mislead it. Algorithms are made anew for each proposal, since none takes back what it has proposed.
    """

    def __init__(self, table: Table, algorithm: str, seed: int) -> None:
        self._table, self._algorithm, self._seed = table, algorithm, seed
        self._used: set[str] = set()
        self._known: list[dict[str, Any]] = []

    def ask(self) -> Trial:
        table, number = self._table, len(self._used) + 1
        proposals = make_proposals(
            self._algorithm,
            table.space,
            table.goals,
            table.undefended,
            _APART * self._seed + number,
            len(table.points),
            self._known,
        )
        chosen = proposals.ask("next", number)
        point = None if chosen is None else table.nearest(table.space.complete(chosen), self._used)
        if point is None:
            text = f"{self._algorithm} has used all {len(table.points)} points of the table; give it fewer steps"
            raise SpecError([Problem("--trials", text)])
        self._used.add(point.id)
        return point

    def tell(self, trial: Trial) -> None:
        self._known.append({"state": trial.state, "coefficients": trial.coefficients, "metrics": trial.metrics})


def _state(table: Table, point: Trial, rung: int, halving: Halving | None) -> State:
    """What becomes of a trial that reports at a rung, by the rules of grid/search_driver.py."""
    if rung == table.rungs:
        return "finished"
    metrics = point.curve[rung - 1].metrics
    if halving is None:
        return "running"
    violation = table.goals.violation(metrics, table.undefended)
    goes_on = halving.record(point.id, rung, table.goals.values(metrics), violation)
    return "running" if goes_on else "stopped"


def _cut(table: Table, point: Trial, rung: int, lacking: int) -> Trial:
    """A trial that is `lacking` steps short of a rung."""
    steps = table.steps_at(point, rung) - lacking
    curve = point.curve[: rung - 1]
    return replace(point, state="running", steps=steps, curve=curve, metrics=curve[-1].metrics if curve else {})
