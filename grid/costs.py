"""How long stages take, from recorded durations: for `plan`, for the order of work, and for the ETA."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tasks.stage import Stage

DURATIONS = Path(__file__).with_name("durations.json")  # written by benchmarks/durations.py
_UNLIKE = {"seed", "label", "role"}  # fields that do not change how long a stage takes
_GROUP_SECONDS = {"data": 1.0, "metrics": 1.0, "classifier": 30.0, "gan": 150.0, "inversion": 15.0}
_OTHER_SECONDS = 10.0  # orders the work until something has been measured


class Costs:
    """Durations by likeness: the same kind with the same settings, whatever seed, label or upstream.

    What was recorded here comes first, then the shipped durations of the shipped specs.
    """

    def __init__(self, records: Iterable[Mapping[str, Any]] = ()) -> None:
        self._seconds: dict[str, list[float]] = defaultdict(list)
        self._by_kind: dict[str, list[float]] = defaultdict(list)
        self._shipped: dict[str, float] = json.loads(DURATIONS.read_text()) if DURATIONS.exists() else {}
        for record in records:
            self.learn(record)

    def learn(self, record: Mapping[str, Any]) -> None:
        """Take in a finished stage's record; one that was resumed took longer than it says and is left out."""
        if record.get("resumed_from_step") is None:
            self._seconds[likeness(record["kind"], record["config"])].append(record["seconds"])
            self._by_kind[record["kind"]].append(record["seconds"])

    def estimate(self, stage: Stage) -> float | None:
        """Median seconds of stages like this one, else of its kind; None if no such stage was ever recorded."""
        alike = likeness(stage.kind, stage.config)
        if found := self._seconds.get(alike):
            return statistics.median(found)
        if alike in self._shipped:
            return self._shipped[alike]
        same_kind = self._by_kind.get(stage.kind)
        return statistics.median(same_kind) if same_kind else None

    def guess(self, stage: Stage) -> float:
        """The estimate, or a rough figure by group, good enough to order work by."""
        known = self.estimate(stage)
        return known if known is not None else _GROUP_SECONDS.get(stage.group, _OTHER_SECONDS)


def likeness(kind: str, config: Mapping[str, Any]) -> str:
    """What stages of about equal cost have in common: the kind and all own settings but seed, label and role."""
    own = {name: value for name, value in config.items() if name not in _UNLIKE and not _upstream(value)}
    return f"{kind} {json.dumps(own, sort_keys=True)}"


def _upstream(value: object) -> bool:
    """Whether a config value holds upstream keys."""
    return '"stage":' in json.dumps(value)
