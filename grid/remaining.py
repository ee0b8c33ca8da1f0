"""How many seconds of work are left of a grid, kept up as stages end: a sum over likenesses, not over stages."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

from grid.costs import Costs
from tasks.stage import Stage

FEW = 64  # likenesses that are summed up whenever one asks; of more, at most once a second
INTERVAL = 1.0


class Remaining:
    """Stages that have not ended yet, counted by likeness."""

    def __init__(self, stages: Iterable[Stage], costs: Costs) -> None:
        self._costs = costs
        self._counts: Counter[str] = Counter()
        self._example: dict[str, Stage] = {}
        self._known: float | None = None
        self._next = 0.0
        for stage in stages:
            self.add(stage)

    def add(self, stage: Stage) -> None:
        """A stage has to run (again)."""
        alike = self._costs.alike(stage)
        self._counts[alike] += 1
        self._example.setdefault(alike, stage)

    def remove(self, stage: Stage) -> None:
        """A stage has ended, or never will run."""
        alike = self._costs.alike(stage)
        self._counts[alike] -= 1
        if self._counts[alike] <= 0:
            del self._counts[alike], self._example[alike]

    def seconds(self) -> float | None:
        """Estimated seconds of all of them; None as long as one has no estimate."""
        if not self._counts:
            return 0.0
        if len(self._counts) <= FEW or time.monotonic() >= self._next:
            self._known = self._sum()
            self._next = time.monotonic() + INTERVAL
        return self._known

    def _sum(self) -> float | None:
        total = 0.0
        for alike, count in self._counts.items():
            seconds = self._costs.estimate(self._example[alike])
            if seconds is None:
                return None
            total += count * seconds
        return total
