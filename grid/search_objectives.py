"""What a search is for: objectives, the limit on the loss of accuracy, the front, and the points picked from it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grid.problems import Problem, choices
from grid.search_front import Direction, front_of, knee

OBJECTIVES: dict[str, Direction] = {"mc_all": "max", "mc_target": "max", "aa_top1": "min", "aa_top5": "min"}
PENALTY = 10.0  # of the scalar score, for each whole unit (100 points) of accuracy lost beyond the limit
KNEE, PRIVACY = "knee", "max-privacy-at-drop"
TrialRecord = Mapping[str, Any]
Metrics = Mapping[str, float]


@dataclass(frozen=True)
class Goals:
    """The objectives in order; `max_drop`: points of MC(all) that may be lost (None: any number)."""

    objectives: tuple[tuple[str, Direction], ...]
    max_drop: float | None = None

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.objectives]

    @property
    def directions(self) -> list[Direction]:
        return [direction for _, direction in self.objectives]

    def values(self, metrics: Metrics) -> list[float]:
        """The objectives of a trial, in order."""
        return [float(metrics[name]) for name in self.names]

    def violation(self, metrics: Metrics, undefended: Metrics) -> float:
        """Loss of MC(all) beyond the limit, as a fraction; 0 or less is allowed. 0 where there is no limit."""
        return 0.0 if self.max_drop is None else drop(metrics, undefended) - self.max_drop / 100

    def score(self, metrics: Metrics, undefended: Metrics) -> float:
        """One number (higher is better) for an algorithm that takes one: the mean of the objectives, each turned
        so that more is better, less `PENALTY` times the loss of accuracy beyond the limit."""
        values = {way: [float(metrics[name]) for name, own in self.objectives if own == way] for way in ("max", "min")}
        signed = [*values["max"], *(-value for value in values["min"])]
        return sum(signed) / len(signed) - PENALTY * max(0.0, self.violation(metrics, undefended))

    def front(self, trials: Iterable[TrialRecord], undefended: Metrics) -> list[str]:
        """Ids of the finished trials within the limit that no other such trial dominates."""
        allowed = [t for t in trials if t["state"] == "finished" and self._allowed(t["metrics"], undefended)]
        best = front_of([self.values(trial["metrics"]) for trial in allowed], self.directions)
        return [allowed[place]["id"] for place in best]

    def pick(self, rule: str, trials: Sequence[TrialRecord], undefended: Metrics) -> TrialRecord | None:
        """The trial of the front that a rule names; None if there is none.

        `knee`: see `search_front.knee`. `max-privacy-at-drop=X`: of those that lose at most X points of MC(all),
        the least AA top-1, then top-5, then the highest MC(all).
        """
        front = self.front(trials, undefended)
        members = [trial for trial in trials if trial["id"] in front]
        if rule == KNEE:
            return members[knee([self.values(t["metrics"]) for t in members], self.directions)] if members else None
        limit = float(rule.partition("=")[2]) / 100
        near = [trial for trial in members if drop(trial["metrics"], undefended) <= limit + 1e-9]
        return min(near, key=_leak, default=None)

    def _allowed(self, metrics: Metrics, undefended: Metrics) -> bool:
        return self.violation(metrics, undefended) <= 1e-9


def drop(metrics: Metrics, undefended: Metrics) -> float:
    """MC(all) lost against the victim as it was, as a fraction."""
    return float(undefended["mc_all"]) - float(metrics["mc_all"])


def rates_text(metrics: Mapping[str, Any], names: Iterable[str]) -> str:
    """`aa_top1 12.5% [0.0–25.0]`, in percent; with the interval where there is one, without what was not measured."""
    found = []
    for name in names:
        if name in metrics:
            low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
            around = "" if low is None or high is None else f" [{100 * low:.1f}–{100 * high:.1f}]"
            found.append(f"{name} {metrics[name]:.1%}{around}")
    return ", ".join(found)


def parse_objectives(text: str, problems: list[Problem]) -> tuple[tuple[str, Direction], ...]:
    """`mc_all,aa_top1` with the direction of each."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    problems += [
        Problem("--objectives", choices(n, OBJECTIVES, what="objective")) for n in names if n not in OBJECTIVES
    ]
    if not names or len(set(names)) < len(names):
        problems.append(Problem("--objectives", f"names each objective once, at least one, but got {text!r}"))
    return tuple((name, OBJECTIVES[name]) for name in names if name in OBJECTIVES)


def parse_picks(rules: Sequence[str], problems: list[Problem]) -> list[str]:
    """The rules of `--pick`; `none` is no rule."""
    for rule in rules:
        number = re.fullmatch(rf"{PRIVACY}=(\d+(?:\.\d+)?)", rule)
        if rule not in (KNEE, "none") and (number is None or not math.isfinite(float(number[1]))):
            text = f"must be {KNEE}, none or {PRIVACY}=POINTS (such as {PRIVACY}=3), but got {rule!r}"
            problems.append(Problem("--pick", text))
    return list(dict.fromkeys(rule for rule in rules if rule != "none"))


def _leak(trial: TrialRecord) -> tuple[float, float, float]:
    metrics = trial["metrics"]
    return metrics["aa_top1"], metrics["aa_top5"], -metrics["mc_all"]
