"""Asynchronous successive halving over several objectives: which trials are worth their next rung."""

from __future__ import annotations

import math
from collections.abc import Sequence

from grid.search_front import Direction, front_of

FACTOR = 2  # of the trials that reach a rung, one in so many goes on


class Halving:
    """The stopping rule of ASHA (Li et al. 2020), with non-dominated sorting in place of one number.

    At a rung a trial goes on if fewer than 1/FACTOR (rounded up) of those that have reached it so far, itself
    included, are better; so the first always goes on, and equals go on together. Trials rank by the front on which
    they lie after the fronts before it are taken away, as in MO-ASHA (Schmucker et al. 2021); one that breaks the
    limit on accuracy ranks behind all that keep it, the less the better (the order of Deb et al. 2002). Within a
    front the nearer to the ideal is better, each objective scaled to the range seen at the rung; MO-ASHA's epsilon
    net would keep the front's ends as well, which need not keep utility.
    """

    def __init__(self, directions: Sequence[Direction], factor: int = FACTOR) -> None:
        self._directions, self._factor = list(directions), factor
        self._seen: dict[int, dict[str, tuple[tuple[float, ...], float]]] = {}

    def record(self, trial: str, rung: int, values: Sequence[float], violation: float = 0.0) -> bool:
        """Note what a trial reached at a rung (violation <= 0: within the limit), and say whether it goes on."""
        seen = self._seen.setdefault(rung, {})
        seen[trial] = (tuple(values), max(0.0, violation))
        ranks = self._ranks(rung)
        better = sum(rank < ranks[trial] for rank in ranks.values())
        return better < math.ceil(len(seen) / self._factor)

    def _ranks(self, rung: int) -> dict[str, tuple[float, float]]:
        """(front, distance to the ideal) of the trials at a rung; (infinity, violation) beyond the limit."""
        seen = self._seen[rung]
        ranks = {trial: (math.inf, violation) for trial, (_, violation) in seen.items() if violation > 0}
        left = [trial for trial in seen if trial not in ranks]
        number = 0
        while left:
            front = [left[i] for i in front_of([seen[trial][0] for trial in left], self._directions)]
            ranks |= {trial: (float(number), self._distance(rung, trial)) for trial in front}
            left, number = [trial for trial in left if trial not in front], number + 1
        return ranks

    def _distance(self, rung: int, trial: str) -> float:
        """Squared distance to the ideal point of the rung, each objective scaled to [0, 1]."""
        columns = zip(*(values for values, _ in self._seen[rung].values()), strict=True)
        total = 0.0
        for value, column, way in zip(self._seen[rung][trial][0], columns, self._directions, strict=True):
            best, worst = (max(column), min(column)) if way == "max" else (min(column), max(column))
            total += ((value - best) / (worst - best)) ** 2 if worst != best else 0.0
        return total
