"""What a search consists of: its space, trials with their curves, front and confirmed picks. Frozen plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from grid.search_front import Direction, front_of

Value = float | int | str | bool | None
Metrics = Mapping[str, float]  # fractions in [0, 1] by metric name
State = Literal["finished", "stopped", "failed", "running"]
Kind = Literal["loguniform", "uniform", "choice", "randint", "constant"]

STATES: tuple[State, ...] = get_args(State)
TITLES = {"mc_all": "MC all", "mc_target": "MC l_t", "aa_top1": "AA top-1", "aa_top5": "AA top-5"}
PAPER_ORDER = ("alpha", "beta", "omega", "gamma", "lambda3")  # of eq. 10; a stored document has lost its space's order


@dataclass(frozen=True)
class Domain:
    """What a coefficient may be: a range from low to high (randint: a whole number below high), or some values."""

    kind: Kind
    low: float | None
    high: float | None
    values: tuple[Value, ...]
    log: bool

    @property
    def searched(self) -> bool:
        """Whether there is anything to choose."""
        return self.kind != "constant" and (len(set(self.values)) > 1 or self.low != self.top)

    @property
    def top(self) -> float | None:
        """The largest value of a range."""
        return self.high - 1 if self.kind == "randint" and self.high is not None else self.high

    @property
    def categorical(self) -> bool:
        """Whether the values have no scale: one of them is no number."""
        return self.kind == "choice" and not all(is_number(value) for value in self.values)


@dataclass(frozen=True)
class Objective:
    """A metric, and which way is better."""

    metric: str
    direction: Direction

    @property
    def title(self) -> str:
        """As the tables name it: AA top-1."""
        return TITLES.get(self.metric, self.metric)


@dataclass(frozen=True)
class Point:
    """What a trial reported at a rung: after `step` steps of the fine-tune of each label."""

    step: int
    metrics: Metrics


@dataclass(frozen=True)
class Trial:
    """One set of coefficients. `metrics` is its last report; a stopped trial's is that of a shorter training.

    rung: the one, from 1, at which it was stopped. steps, max_steps: taken, and to the end, summed over its labels.
    """

    id: str
    number: int
    coefficients: Mapping[str, Value]
    state: State
    rung: int | None
    steps: int
    max_steps: int
    curve: tuple[Point, ...]
    metrics: Metrics
    error: str | None
    artifacts: Mapping[str, str]  # key of the fine-tune by label
    seconds: float


@dataclass(frozen=True)
class Basis:
    """What rates rest on: who judged the attack, on which pictures accuracy was measured, labels, seeds, images."""

    judge: str
    split: str
    labels: tuple[int, ...]
    seeds: tuple[int, ...]
    images: int  # attack images behind each AA


@dataclass(frozen=True)
class Outcome:
    """The same coefficients judged twice: as the search saw them, and by F_E and full attacks on the test split.

    attack: the one whose outcome is the confirmed one, and basis: what that rests on, where the record says so.
    """

    search: Metrics
    confirmed: Metrics | None
    attack: str | None = None
    basis: Basis | None = None


@dataclass(frozen=True)
class Pick:
    """A point of the front that was chosen by a rule, and the grid that confirms it."""

    name: str
    trial: str
    outcome: Outcome
    grid: str | None


@dataclass(frozen=True)
class Search:
    """All of it. `front` holds the ids of finished trials; `undefended` is the victim as it was, if it was judged.

    max_drop: percentage points of MC(all) below the undefended one that the front may lose, if there is a limit.
    """

    name: str
    spec: str
    space: Mapping[str, Domain]
    objectives: tuple[Objective, ...]
    algorithm: str
    scheduler: str
    trials: tuple[Trial, ...]
    front: tuple[str, ...]
    picks: tuple[Pick, ...]
    undefended: Outcome | None
    max_drop: float | None = None
    defense: str = ""
    target_images: str = ""  # which images MC(l_t) was measured on
    basis: Basis | None = None  # what the search's own values rest on
    protect: str = ""  # `single`: one model a label; `joint`: all labels in one

    def by_state(self, *states: State) -> list[Trial]:
        """Trials in one of these states, in their order."""
        return [trial for trial in self.trials if trial.state in states]

    @property
    def finished(self) -> list[Trial]:
        """Trials that were trained to the end: the only ones that may stand on the front."""
        return self.by_state("finished")

    @property
    def front_trials(self) -> list[Trial]:
        """The front's trials, in its order."""
        by_id = {trial.id: trial for trial in self.trials}
        return [by_id[name] for name in self.front]

    @property
    def searched(self) -> list[str]:
        """The coefficients that vary, the paper's first."""
        return [name for name, domain in self.space.items() if domain.searched]

    @property
    def directions(self) -> list[Direction]:
        """Which way is better, for each objective."""
        return [objective.direction for objective in self.objectives]

    def values_of(self, trial: Trial) -> list[float]:
        """A finished or stopped trial's objectives, in their order."""
        return [trial.metrics[objective.metric] for objective in self.objectives]

    def at_rung(self, trial: Trial, rung: int) -> Metrics | None:
        """What a trial reported at its rung `rung`, from 1; None if it did not.

        A finished trial with fewer reports than others was not trained but found in the store: it has its end alone.
        """
        rungs = max((len(other.curve) for other in self.finished), default=0)
        found = trial.state == "finished" and len(trial.curve) < rungs
        return trial.curve[rung - 1].metrics if len(trial.curve) >= rung and not found else None

    @property
    def common_rung(self) -> int | None:
        """The last rung that every trial reached which the scheduler stopped; None if it stopped none."""
        return min((len(trial.curve) for trial in self.by_state("stopped")), default=0) or None

    @property
    def undominated(self) -> list[Trial]:
        """The finished trials that no other finished one dominates, in their order."""
        finished = self.finished
        values = [self.values_of(trial) for trial in finished]
        return [finished[place] for place in front_of(values, self.directions)]


def is_number(value: object) -> bool:
    """A finite number, and no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
