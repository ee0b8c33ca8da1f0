"""What stages cost, from records: seconds for `plan`, the order of work and the ETA; memory for their placement."""

from __future__ import annotations

import json
from bisect import insort
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tasks.stage import Stage

DURATIONS = Path(__file__).with_name("durations.json")  # written by benchmarks/durations.py
_UNLIKE = {"seed", "label", "role"}  # fields that do not change how long a stage takes
_GROUP_SECONDS = {"data": 1.0, "metrics": 1.0, "classifier": 30.0, "gan": 150.0, "inversion": 15.0}
_OTHER_SECONDS = 10.0  # orders the work until something has been measured


class Peak(NamedTuple):
    """The most memory that stages of a likeness have used, in bytes; `gpu` is 0 where no GPU was."""

    host: int = 0
    gpu: int = 0


class Costs:
    """Durations and memory by likeness: the same kind with the same settings, whatever seed, label or upstream.

    What was recorded here comes first, then the shipped durations of the shipped specs.
    """

    def __init__(self, records: Iterable[Mapping[str, Any]] = ()) -> None:
        self._seconds: dict[str, list[float]] = defaultdict(list)  # each in ascending order
        self._by_kind: dict[str, list[float]] = defaultdict(list)
        self._peaks: dict[str, Peak] = {}  # by likeness, and by kind
        self._alike: dict[str, str] = {}
        self._stated: dict[str, float] = {}
        self._shipped: dict[str, float] = json.loads(DURATIONS.read_text()) if DURATIONS.exists() else {}
        for record in records:
            self.learn(record)

    def learn(self, record: Mapping[str, Any]) -> None:
        """Take in a finished stage's record; the time of one that was resumed says too little and is left out."""
        alike, kind = likeness(record["kind"], record["config"]), record["kind"]
        if record.get("resumed_from_step") is None:
            insort(self._seconds[alike], record["seconds"])
            insort(self._by_kind[kind], record["seconds"])
        used = Peak(record.get("peak_memory_bytes") or 0, record.get("peak_gpu_memory_bytes") or 0)
        for name in (alike, kind):
            before = self._peaks.get(name, used)
            self._peaks[name] = Peak(max(before.host, used.host), max(before.gpu, used.gpu))

    def state(self, seconds: Mapping[str, float]) -> None:
        """What a person says that a stage of a kind takes; it counts where none with such settings was recorded."""
        self._stated.update(seconds)

    def recorded(self, stage: Stage) -> float | None:
        """Median seconds of stages like this one; None if none was ever recorded."""
        alike = self.alike(stage)
        if found := self._seconds.get(alike):
            return _median(found)
        return self._shipped.get(alike)

    def estimate(self, stage: Stage) -> float | None:
        """Median seconds of stages like this one, else what was stated for its kind, else the median of its kind;
        None if there is none of these."""
        if (found := self.recorded(stage)) is not None:
            return found
        if stage.kind in self._stated:
            return self._stated[stage.kind]
        same_kind = self._by_kind.get(stage.kind)
        return _median(same_kind) if same_kind else None

    def guess(self, stage: Stage) -> float:
        """The estimate, or a rough figure by group, good enough to order work by."""
        known = self.estimate(stage)
        return known if known is not None else _GROUP_SECONDS.get(stage.group, _OTHER_SECONDS)

    def peak(self, stage: Stage) -> Peak | None:
        """The most memory of stages like this one, else of its kind; None if no such stage was recorded here."""
        return self._peaks.get(self.alike(stage)) or self._peaks.get(stage.kind)

    def alike(self, stage: Stage) -> str:
        """The stage's likeness, worked out once."""
        if (found := self._alike.get(stage.key)) is None:
            found = self._alike[stage.key] = likeness(stage.kind, stage.config)
        return found


def likeness(kind: str, config: Mapping[str, Any]) -> str:
    """What stages of about equal cost have in common: the kind and all own settings but seed, label and role."""
    own = {name: value for name, value in config.items() if name not in _UNLIKE and not _upstream(value)}
    return f"{kind} {json.dumps(own, sort_keys=True)}"


def _upstream(value: object) -> bool:
    """Whether a config value holds upstream keys."""
    if isinstance(value, dict):
        return "stage" in value or any(map(_upstream, value.values()))
    return isinstance(value, list) and any(map(_upstream, value))


def _median(ascending: list[float]) -> float:
    middle = len(ascending) // 2
    return ascending[middle] if len(ascending) % 2 else (ascending[middle - 1] + ascending[middle]) / 2
