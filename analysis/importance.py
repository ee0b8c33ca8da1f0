"""How much each coefficient of a search matters for each objective: optuna's fANOVA on a study rebuilt from the record.

fANOVA (Hutter et al. 2014) fits a forest to the trials and gives each coefficient the share of the forest's variance
that it explains alone. A forest finds a pattern in anything, so each of 19 forests gets a coefficient of pure noise
beside the real ones. A coefficient that does nothing beats all 19 about once in 20 times (Barnard 1963): what stays
below the largest of them has not been shown to matter.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.search_parts import Domain, Metrics, Objective, Search, Trial, Value, is_number

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study

LEAST = 30  # trials; from 20 that a scheduler let finish, fANOVA put an idle coefficient first
LEAST_EACH = 6  # trials per coefficient
_FORESTS, _TREES, _DEPTH = 19, 16, 4  # each forest with its own seed and noise; shares are their means
_STREAM = 1963  # of the noise: apart from the seeds that a search draws its trials from
_NOISE = "(noise)"  # no coefficient's name


@dataclass(frozen=True)
class Importance:
    """Shares of what the coefficients explain of one objective, each alone; largest first.

    rung: None for finished trials at their end, else all trials that reported at that rung. noise: the largest
    share that a coefficient of noise got. All are 0 if the objective did not vary.
    """

    objective: str
    rung: int | None
    trials: int
    shares: Mapping[str, float]
    noise: float


class TooFewTrialsError(ValueError):
    """There are not enough trials to tell a coefficient's effect from chance."""


def importances(search: Search, rung: int | None = None) -> list[Importance]:
    """Importance for every objective, of finished trials or, with `rung`, of all that reported there.

    Trials that a scheduler let finish are chosen by their outcome; those at a rung that all reached are not.
    Raises TooFewTrialsError, with the numbers, below LEAST trials or LEAST_EACH per coefficient.
    """
    seen = list(_observed(search, rung))
    names = search.searched
    need = max(LEAST, LEAST_EACH * len(names))
    if len(seen) < need:
        what = "finished trials" if rung is None else f"trials that reported at rung {rung}"
        raise TooFewTrialsError(f"{what}: {len(seen)}; {need} are needed for {len(names)} coefficients")
    if not names:
        raise TooFewTrialsError("the space varies nothing")
    return [_importance(search, seen, objective, rung) for objective in search.objectives]


def importance_csv(found: Sequence[Importance]) -> str:
    """A line per objective, rung and coefficient; the noise's share in a column of its own."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["objective", "rung", "trials", "coefficient", "share", "noise"])
    for one in found:
        for name, share in one.shares.items():
            rung = "end" if one.rung is None else one.rung
            writer.writerow([one.objective, rung, one.trials, name, f"{share:.4f}", f"{one.noise:.4f}"])
    return out.getvalue()


def _observed(search: Search, rung: int | None) -> Iterator[tuple[Trial, Metrics]]:
    wanted = {objective.metric for objective in search.objectives}
    for trial in search.trials:
        ended = trial.metrics if trial.state == "finished" else None
        metrics = ended if rung is None else search.at_rung(trial, rung)
        if metrics is not None and wanted <= metrics.keys():
            yield trial, metrics


def _importance(
    search: Search, seen: Sequence[tuple[Trial, Metrics]], objective: Objective, rung: int | None
) -> Importance:
    values = [metrics[objective.metric] for _, metrics in seen]
    names = search.searched
    if len(set(values)) == 1:
        return Importance(objective.metric, rung, len(seen), dict.fromkeys(names, 0.0), 0.0)
    trials = [trial for trial, _ in seen]
    forests = [_shares(search, trials, values, seed) for seed in range(_FORESTS)]
    means = {name: math.fsum(shares[name] for shares in forests) / _FORESTS for name in names}
    noise = max(shares[_NOISE] for shares in forests)
    return Importance(objective.metric, rung, len(seen), dict(sorted(means.items(), key=lambda m: -m[1])), noise)


def _shares(search: Search, trials: Sequence[Trial], values: Sequence[float], seed: int) -> dict[str, float]:
    """Shares by coefficient and of `noise`, from one forest."""
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    with _quiet():
        study = _study(search, trials, values, np.random.default_rng([_STREAM, seed]).random(len(trials)))
        evaluator = FanovaImportanceEvaluator(n_trees=_TREES, max_depth=_DEPTH, seed=seed)
        found = get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in found.items()}


def _study(search: Search, trials: Sequence[Trial], values: Sequence[float], noise: np.ndarray) -> Study:
    """The trials as a study with one objective.

    A logarithmic coefficient enters as its log10: fANOVA averages over the range as it stands, and of 0.1 to 1000 on
    a linear scale all but the last decade would weigh nothing.
    """
    import optuna

    study = optuna.create_study()
    columns = {name: [trial.coefficients[name] for trial in trials] for name in search.searched}
    shown = {name: [_scaled(value, search.space[name]) for value in column] for name, column in columns.items()}
    domains = {name: _distribution(search.space[name], column) for name, column in shown.items()}
    domains[_NOISE] = optuna.distributions.FloatDistribution(0.0, 1.0)
    for place, value in enumerate(values):
        params = {name: column[place] for name, column in shown.items()} | {_NOISE: float(noise[place])}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=domains, value=value))
    return study


def _distribution(domain: Domain, shown: Sequence[Value]) -> BaseDistribution:
    """The range of the space, wider where a trial (a seed from elsewhere) lies outside of it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if domain.categorical:
        return CategoricalDistribution(list(dict.fromkeys([*domain.values, *shown])))
    ends = [_scaled(end, domain) for end in (domain.low, domain.top, *domain.values) if is_number(end)]
    numbers = [float(value) for value in (*ends, *shown) if value is not None]
    return FloatDistribution(min(numbers), max(numbers))


def _scaled(value: Value, domain: Domain) -> Value:
    if domain.categorical or not is_number(value):
        return value
    number = float(value or 0)
    return math.log10(number) if domain.log and number > 0 else number


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna tells of every study that it makes; what was set before is set again."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
