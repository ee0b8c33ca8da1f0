"""Where a search's coefficients come from: Optuna, HyperOpt, chance or a grid, behind one ask and tell."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from grid.problems import Problem, SpecError
from grid.search_objectives import Goals
from grid.search_space import Space, Value

ALGORITHMS = ("optuna", "hyperopt", "random", "grid")
LEARNING = ("optuna", "hyperopt")  # those that what ended before tells something
Ended = Mapping[str, Any]  # a trial's record


class Proposals(Protocol):
    """Proposes what a space varies. `ticket` names a trial until it is told how it ended."""

    def ask(self, ticket: str, number: int) -> dict[str, Value] | None:
        """The coefficients of trial `number` (from 1); None when there are no more."""
        ...

    def tell(self, ticket: str, state: str, metrics: Mapping[str, float]) -> None:
        """How it ended. Only of a `finished` one do the metrics count."""
        ...


def make_proposals(
    algorithm: str,
    space: Space,
    goals: Goals,
    undefended: Mapping[str, float],
    seed: int,
    trials: int,
    ended: Iterable[Ended],
    first: Sequence[Mapping[str, Value]] = (),
) -> Proposals:
    """The algorithm, told of the trials that `ended` before: of this search, and of others that measured alike.

    One that learns proposes the coefficients `first` before its own.
    """
    if algorithm == "random":
        return RandomProposals(space, seed)
    if algorithm == "grid":
        return GridProposals(space, trials)
    known = [trial for trial in ended if trial["state"] in ("finished", "stopped", "failed") and within(space, trial)]
    return ModelProposals(algorithm, space, goals, undefended, seed, known, first)


class RandomProposals:
    """Independent draws; trial n is the same whatever happened before."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space, self._seed = space, seed

    def ask(self, ticket: str, number: int) -> dict[str, Value] | None:
        import numpy as np

        state = np.random.RandomState(np.random.MT19937(np.random.SeedSequence([self._seed, number])))
        return {key: _plain(domain.sample(random_state=state)) for key, domain in self._space.tune.items()}

    def tell(self, ticket: str, state: str, metrics: Mapping[str, float]) -> None:
        return


class GridProposals:
    """Every combination of values evenly over the ranges, as many as fit into the number of trials."""

    def __init__(self, space: Space, trials: int) -> None:
        self._points = grid_points(space, trials)

    def ask(self, ticket: str, number: int) -> dict[str, Value] | None:
        return self._points[number - 1] if number <= len(self._points) else None

    def tell(self, ticket: str, state: str, metrics: Mapping[str, float]) -> None:
        return


def grid_points(space: Space, trials: int) -> list[dict[str, Value]]:
    """At most `trials` combinations: all values of every choice, and of the ranges as many as then fit.

    SpecError if not even the choices fit.
    """
    keys = space.searched
    counts = {key: len(space.domains[key].values) or 1 for key in keys}
    if math.prod(counts.values()) > trials:
        text = f"the choices of {space.name!r} alone have {math.prod(counts.values())} combinations, but got {trials=}"
        raise SpecError([Problem("--trials", text)])
    grown = [key for key in keys if not space.domains[key].values]
    while more := [k for k in grown if math.prod({**counts, k: counts[k] + 1}.values()) <= trials]:
        counts[min(more, key=lambda key: (counts[key], keys.index(key)))] += 1
    values = [space.domains[key].points(counts[key]) for key in keys]
    return [dict(zip(keys, point, strict=True)) for point in itertools.product(*values)]


class ModelProposals:
    """Optuna's multi-objective TPE, or HyperOpt's TPE on the scalar score, by Ray Tune's own wrappers.

    What ended before is replayed into the model by the wrappers' public interface: suggested as a point to
    evaluate, and told at once. A trial that the scheduler stopped is told as pruned, never as complete, and a
    failed one as failed. With a limit on accuracy Optuna's sampler is constrained (Deb's rule).
    """

    def __init__(
        self,
        algorithm: str,
        space: Space,
        goals: Goals,
        undefended: Mapping[str, float],
        seed: int,
        known: Sequence[Ended],
        first: Sequence[Mapping[str, Value]] = (),
    ) -> None:
        self._goals, self._undefended, self._violation = goals, undefended, 0.0
        points = [{key: trial["coefficients"][key] for key in space.searched} for trial in known]
        points += [dict(point) for point in first]
        make = self._optuna if algorithm == "optuna" else self._hyperopt
        self._search = make(space, seed + len(known), points)
        for place, trial in enumerate(known):
            self._search.suggest(f"known-{place}")
            self.tell(f"known-{place}", trial["state"], trial["metrics"])

    def ask(self, ticket: str, number: int) -> dict[str, Value] | None:
        found = self._search.suggest(ticket)
        return None if found is None else {key: _plain(value) for key, value in found.items()}

    def tell(self, ticket: str, state: str, metrics: Mapping[str, float]) -> None:
        result = None
        if state == "finished":
            self._violation = self._goals.violation(metrics, self._undefended)
            result = {**metrics, "score": self._goals.score(metrics, self._undefended)}
        self._search.on_trial_complete(ticket, result=result, error=state == "failed")

    def _optuna(self, space: Space, seed: int, points: list[dict[str, Any]]) -> Any:
        import optuna
        from ray.tune.search.optuna import OptunaSearch

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        constraints = None if self._goals.max_drop is None else lambda trial: (self._violation,)
        with warnings.catch_warnings():
            # Optuna 5 would have it set on its own trials, which Ray's wrapper does not hand out
            warnings.filterwarnings("ignore", "`constraints_func`", FutureWarning)
            warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(seed=seed, constraints_func=constraints)
        search = OptunaSearch(
            metric=self._goals.names,
            mode=list(self._goals.directions),
            sampler=sampler,
            points_to_evaluate=points,
        )
        search.set_search_properties(None, None, dict(space.tune))
        return search

    def _hyperopt(self, space: Space, seed: int, points: list[dict[str, Any]]) -> Any:
        from ray.tune.search.hyperopt import HyperOptSearch

        try:
            search = HyperOptSearch(
                metric="score", mode="max", random_state_seed=seed, points_to_evaluate=points or None
            )
        except AssertionError as error:
            text = "needs the package hyperopt, which is not installed: pip install 'decoygrid[search]'"
            raise SpecError([Problem("--algorithm hyperopt", text)]) from error
        search.set_search_properties(None, None, dict(space.tune))
        return search


def within(space: Space, trial: Ended) -> bool:
    """Whether an earlier trial lies in the space: every coefficient in its range, every constant the same."""
    for key, domain in space.domains.items():
        value = trial["coefficients"].get(key)
        if domain.values:
            if value not in domain.values:
                return False
        elif not isinstance(value, int | float) or not float(domain.low or 0) <= value <= float(domain.high or 0):
            return False
    return set(trial["coefficients"]) == set(space.domains)


def _plain(value: Any) -> Value:
    """A sampled value without numpy."""
    return value.item() if hasattr(value, "item") else value  # type: ignore[no-any-return]
