"""How long a stage may run, and how often it is tried again after what ran it was lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Literal

from grid.costs import Costs
from tasks.stage import Stage

Loss = Literal["worker", "node", "memory", "timeout", "store"]
RETRIES: Mapping[Loss, int] = {
    "worker": 3,  # the stage itself may have killed it
    "node": 20,  # spot nodes come and go
    "memory": 3,  # Ray ended it, since its node had no memory left
    "timeout": 2,  # each goes on from the last checkpoint
    "store": 20,  # each after the store was seen to work again
}
LEAST_SECONDS = 3600.0
TIMES_RECORDED = 20.0  # how much longer than recorded a stage may take: a slow or busy machine is no hang
UNRECORDED_SECONDS = 24 * 3600.0


class Limits:
    """Bounds of one run of a plan."""

    def __init__(self, costs: Costs, timeouts: Mapping[str, float] | None = None) -> None:
        """`timeouts`: seconds by a stage's kind or group, as a spec has them; the kind's word counts first."""
        self._costs, self._timeouts = costs, dict(timeouts or {})
        self._losses: Counter[tuple[str, Loss]] = Counter()

    def seconds(self, stage: Stage) -> float:
        """How long one attempt at a stage may run."""
        for name in (stage.kind, stage.group):
            if name in self._timeouts:
                return float(self._timeouts[name])
        recorded = self._costs.recorded(stage)
        return UNRECORDED_SECONDS if recorded is None else max(LEAST_SECONDS, TIMES_RECORDED * recorded)

    def lose(self, key: str, loss: Loss) -> int | None:
        """Count a loss of a stage: the number of the retry that follows, or None if there is none left."""
        self._losses[key, loss] += 1
        count = self._losses[key, loss]
        return count if count <= RETRIES[loss] else None
