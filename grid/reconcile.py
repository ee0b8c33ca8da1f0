"""Reconcile a plan with the store: skip what is done, run what is missing, go on past what fails.

The one scheduler of both executors: it decides what is ready and in which order; an executor only runs.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from grid.costs import Costs
from grid.runner import Outcome
from grid.store import Store
from tasks.stage import Stage

MAX_REPAIRS = 3  # times that one stage is computed again because its artifact was found damaged


class Work(Protocol):
    """What is to be there: stages by key, upstream first, and their short names. A `Plan` is one."""

    @property
    def names(self) -> Mapping[str, str]: ...

    def stages(self) -> dict[str, Stage]: ...


class ExecutorLostError(Exception):
    """What runs the stages is gone as a whole (the cluster died); what is done is stored."""


class Executor(Protocol):
    """Runs stages that are ready. Two implementations: in-process and Ray."""

    def room(self) -> bool:
        """Whether another stage should be submitted now (bounded work in flight)."""
        ...

    def submit(self, stage: Stage) -> None:
        """Start a stage, or take it into a short queue."""
        ...

    def wait(self) -> list[Outcome]:
        """Block until at least one submitted stage has ended."""
        ...

    def close(self) -> None:
        """Let go of everything; what still runs is abandoned."""
        ...


class Observer(Protocol):
    """Told what happens, to show it or to mirror it."""

    def begin(self, total: int, done: int, eta: float | None) -> None: ...

    def submitted(self, key: str, name: str) -> None: ...

    def ended(self, outcome: Outcome, name: str, progress: Progress) -> None: ...

    def said(self, text: str) -> None: ...


@dataclass
class Progress:
    """Where a grid stands. `seconds_left` is None until durations are known."""

    total: int
    done: int = 0
    failed: int = 0
    blocked: int = 0
    seconds_left: float | None = None


@dataclass
class Result:
    """How a grid ended."""

    total: int
    reused: int
    computed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)  # key -> error
    blocked: dict[str, str] = field(default_factory=dict)  # key -> the failed stage that it waits for
    repaired: dict[str, str] = field(default_factory=dict)  # key -> what was wrong with its artifact

    @property
    def complete(self) -> bool:
        return not self.failed and not self.blocked


def missing_stages(
    plan: Work, store: Store, *, verify: bool
) -> tuple[dict[str, Stage], dict[str, str], dict[str, Mapping[str, Any]]]:
    """(stages to run, damaged key -> reason, records of the done). With `verify` every file is read and hashed."""
    stages = plan.stages()
    records = store.records(stages)
    absent = [key for key in stages if key not in records]
    damaged = dict.fromkeys(store.damaged_records(absent), "its done.json is not what was written")
    if verify:
        for key, reason in store.damages(records.values()).items():
            damaged[key] = reason
            store.invalidate(key)
    missing = {key: stage for key, stage in stages.items() if key not in records or key in damaged}
    return missing, damaged, {key: record for key, record in records.items() if key not in damaged}


class Reconciler:
    """State of one run of a plan."""

    def __init__(self, plan: Work, store: Store, executor: Executor, observer: Observer, costs: Costs) -> None:
        self._plan, self._store, self._executor, self._observer = plan, store, executor, observer
        self._costs = costs
        self._stages = plan.stages()
        self._repairs: dict[str, int] = {}
        self._needs = {key: stage.closure().keys() - {key} for key, stage in self._stages.items()}

    def run(self, missing: Mapping[str, Stage], damaged: Mapping[str, str]) -> Result:
        """Run all that is missing; returns when nothing more can be done."""
        self._todo = dict(missing)
        self._running: set[str] = set()
        self._result = Result(len(self._stages), len(self._stages) - len(missing), repaired=dict(damaged))
        for key, reason in damaged.items():
            self._observer.said(f"{key} ({self._plan.names[key]}) is damaged: {reason}; it is computed again")
        self._rank = self._priorities()
        self._observer.begin(len(self._stages), self._result.reused, self._seconds_left())
        self._submit_ready()
        while self._running:
            for outcome in self._executor.wait():
                self._settle(outcome)
            self._submit_ready()
        return self._result

    def _settle(self, outcome: Outcome) -> None:
        key = outcome.key
        self._running.discard(key)
        if outcome.damaged is not None and self._repairs.get(outcome.damaged, 0) < MAX_REPAIRS:
            self._repair(outcome.damaged, outcome.damaged_attempt, str(outcome.error))
            self._todo[key] = self._stages[key]
        elif outcome.error is not None:
            self._result.failed[key] = outcome.error
            self._block_dependants(key)
        else:
            self._result.computed.append(key)
            if outcome.record is not None:
                self._costs.learn(outcome.record)
        self._observer.ended(outcome, self._plan.names[key], self._progress())

    def _repair(self, key: str, attempt: str | None, reason: str) -> None:
        """An artifact was found damaged when it was loaded: forget it and compute it again first.

        Several dependants may report the same damage; one that speaks of an attempt that is no longer the
        stored one is late, and only has to try again.
        """
        stored = self._store.done(key)
        late = stored is not None and attempt is not None and stored["attempt"] != attempt
        if late or key in self._todo or key in self._running:
            return
        self._repairs[key] = self._repairs.get(key, 0) + 1
        self._store.invalidate(key)
        if key not in self._result.repaired and key not in self._result.computed:
            self._result.reused -= 1
        self._result.repaired[key] = reason
        self._todo[key] = self._stages[key]
        self._observer.said(f"{reason}; {self._plan.names[key]} is computed again")

    def _block_dependants(self, failed: str) -> None:
        for key in list(self._todo):
            if failed in self._needs[key]:
                self._result.blocked[key] = failed
                del self._todo[key]

    def _ready(self) -> Iterable[str]:
        waiting = self._todo.keys() | self._running
        return (key for key in self._todo if not (self._needs[key] & waiting))

    def _submit_ready(self) -> None:
        heap = [(-self._rank.get(key, 0.0), key) for key in self._ready()]
        heapq.heapify(heap)
        while heap and self._executor.room():
            _, key = heapq.heappop(heap)
            self._running.add(key)
            stage = self._todo.pop(key)
            self._executor.submit(stage)
            self._observer.submitted(key, self._plan.names[key])

    def _priorities(self) -> dict[str, float]:
        """Seconds of the longest chain of work from each stage on: what holds up most goes first."""
        rank: dict[str, float] = {}
        for key, stage in reversed(self._stages.items()):
            rank[key] = rank.get(key, 0.0) + self._costs.guess(stage)
            for parent in stage.upstream:
                rank[parent.key] = max(rank.get(parent.key, 0.0), rank[key])
        return rank

    def _seconds_left(self) -> float | None:
        keys = [*self._todo, *self._running]
        known = [self._costs.estimate(self._stages[key]) for key in keys]
        if not keys:
            return 0.0
        if any(seconds is None for seconds in known):
            return None
        return sum(seconds for seconds in known if seconds is not None)

    def _progress(self) -> Progress:
        result = self._result
        return Progress(
            total=result.total,
            done=result.reused + len(set(result.computed)),
            failed=len(result.failed),
            blocked=len(result.blocked),
            seconds_left=self._seconds_left(),
        )
