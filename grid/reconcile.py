"""Reconcile a plan with the store: skip what is done, run what is missing, go on past what fails.

The one scheduler of both executors: it decides what is ready and in which order; an executor only runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from grid.costs import Costs
from grid.limits import RETRIES, Limits, Loss
from grid.remaining import Remaining
from grid.runner import Outcome
from grid.store import Store
from grid.store_patience import away, patience, wait_until_back
from grid.work_queue import WorkQueue, chains
from tasks.stage import Stage

MAX_REPAIRS = 3  # times that one stage is computed again because its artifact was found damaged


class Work(Protocol):
    """What is to be there: stages by key, upstream first, and their short names. A `Plan` is one."""

    @property
    def names(self) -> Mapping[str, str]: ...

    def stages(self) -> dict[str, Stage]: ...


class ExecutorLostError(Exception):
    """What runs the stages, or keeps them, is gone as a whole (the cluster, the store); what is done is stored."""


class Executor(Protocol):
    """Runs stages that are ready. Two implementations: in-process and Ray."""

    def room(self) -> bool:
        """Whether another stage should be submitted now (bounded work in flight)."""
        ...

    def submit(self, stage: Stage, *, timeout: float | None = None) -> None:
        """Start a stage, or take it into a short queue. It is stopped when it has run for `timeout` seconds."""
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
) -> tuple[dict[str, Stage], dict[str, str], dict[str, dict[str, Any]]]:
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

    def __init__(
        self,
        plan: Work,
        store: Store,
        executor: Executor,
        observer: Observer,
        costs: Costs,
        timeouts: Mapping[str, float] | None = None,
    ) -> None:
        """`timeouts`: seconds by kind or group of stage; others get what grid.limits derives from `costs`."""
        self._plan, self._store, self._executor, self._observer = plan, store, executor, observer
        self._costs, self._limits = costs, Limits(costs, timeouts)
        self._stages = plan.stages()
        self._repairs: dict[str, int] = {}

    def run(self, missing: Mapping[str, Stage], damaged: Mapping[str, str]) -> Result:
        """Run all that is missing; returns when nothing more can be done."""
        rank = chains(self._stages, self._costs.guess)
        self._queue = WorkQueue(self._stages, missing, rank)
        self._left = Remaining(missing.values(), self._costs)
        self._result = Result(len(self._stages), len(self._stages) - len(missing), repaired=dict(damaged))
        self._finished: set[str] = set()
        for key, reason in damaged.items():
            self._observer.said(f"{key} ({self._plan.names[key]}) is damaged: {reason}; it is computed again")
        self._observer.begin(len(self._stages), self._result.reused, self._left.seconds())
        self._submit_ready()
        while self._queue.running:
            for outcome in self._executor.wait():
                self._settle(outcome)
            self._submit_ready()
        return self._result

    def _settle(self, outcome: Outcome) -> None:
        key = outcome.key
        if outcome.lost is not None and self._tries_again(outcome, outcome.lost):
            self._queue.again(key)
            return
        if outcome.damaged is not None and self._repairs.get(outcome.damaged, 0) < MAX_REPAIRS:
            self._repair(outcome.damaged, outcome.damaged_attempt, str(outcome.error))
            self._queue.again(key)
        elif outcome.error is not None:
            if outcome.lost is not None:
                outcome = self._given_up(outcome)
            self._fail(key, str(outcome.error))
        else:
            self._queue.done(key)
            self._left.remove(self._stages[key])
            self._result.computed.append(key)
            self._finished.add(key)
            if outcome.record is not None:
                self._costs.learn(outcome.record)
        self._observer.ended(outcome, self._plan.names[key], self._progress())

    def _tries_again(self, outcome: Outcome, loss: Loss) -> bool:
        """Whether a stage whose worker, node or store was lost runs once more; the store is waited for."""
        retry = self._limits.lose(outcome.key, loss)
        if retry is None:
            return False
        if loss == "store":
            self._wait_for_store(str(outcome.error))
        again = f"it is tried again ({retry} of {RETRIES[loss]})"
        self._observer.said(f"{self._plan.names[outcome.key]}: {outcome.error}; {again}")
        return True

    def _given_up(self, outcome: Outcome) -> Outcome:
        """A stage that was lost too often has failed; its log is what is known of the last attempt."""
        error = f"{outcome.error}, {RETRIES[outcome.lost or 'worker'] + 1} times"
        with suppress(OSError):
            self._store.fail(outcome.key, error, outcome.log)
        return outcome._replace(error=error)

    def _wait_for_store(self, reason: str) -> None:
        """Wait until the store can be used; ExecutorLostError if it does not come back."""
        if away(self._store) is None:
            return
        self._observer.said(f"{reason}; waiting for it")
        still, seconds = wait_until_back(self._store, patience())
        if still is not None:
            raise ExecutorLostError(f"{still}; it was waited for {seconds:.0f} s")
        self._observer.said(f"the store is back after {seconds:.0f} s")

    def _fail(self, key: str, error: str) -> None:
        self._result.failed[key] = error
        self._left.remove(self._stages[key])
        for blocked in self._queue.fail(key):
            self._result.blocked[blocked] = key
            self._left.remove(self._stages[blocked])

    def _repair(self, key: str, attempt: str | None, reason: str) -> None:
        """An artifact was found damaged when it was loaded: forget it and compute it again first.

        Several dependants may report the same damage; one that speaks of an attempt that is no longer the
        stored one is late, and only has to try again.
        """
        stored = self._store.done(key)
        late = stored is not None and attempt is not None and stored["attempt"] != attempt
        if late or self._queue.is_open(key):
            return
        self._repairs[key] = self._repairs.get(key, 0) + 1
        if stored is not None and self._store.damage(stored) is None:  # it could not be read for a moment
            return
        self._store.invalidate(key)
        if key not in self._result.repaired and key not in self._finished:
            self._result.reused -= 1
        self._result.repaired[key] = reason
        self._queue.again(key)
        self._left.add(self._stages[key])
        self._observer.said(f"{reason}; {self._plan.names[key]} is computed again")

    def _submit_ready(self) -> None:
        while self._executor.room() and (key := self._queue.take()) is not None:
            stage = self._stages[key]
            self._executor.submit(stage, timeout=self._limits.seconds(stage))
            self._observer.submitted(key, self._plan.names[key])

    def _progress(self) -> Progress:
        result = self._result
        return Progress(
            total=result.total,
            done=result.reused + len(self._finished),
            failed=len(result.failed),
            blocked=len(result.blocked),
            seconds_left=self._left.seconds(),
        )
