"""In which order the missing stages of a plan run: what the executor is given, and what a simulated schedule does.

A stage is ready when all that it needs, however far up, is there. Of the ready ones the one that holds up most
goes first. Only direct edges are kept, so that ten thousand stages cost ten thousand small steps.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping

from tasks.stage import Stage


class WorkQueue:
    """Stages that wait, run, are there, have failed or are blocked; each is told of once, by its key."""

    def __init__(self, stages: Mapping[str, Stage], missing: Iterable[str], rank: Mapping[str, float]) -> None:
        """`stages`: all of a plan, upstream first; those not `missing` are there. Higher `rank` goes first."""
        self._rank = rank
        self._waiting, self._running, self._failed = set(missing), set[str](), set[str]()
        self._settled: set[str] = set()  # there, and so is all that they rest on
        self._open: dict[str, int] = {}  # how many direct parents are not settled
        self._children: dict[str, list[str]] = {key: [] for key in stages}
        self._heap: list[tuple[float, str]] = []
        for key, stage in stages.items():
            parents = [parent.key for parent in stage.upstream if parent.key in self._children]
            for parent in parents:
                self._children[parent].append(key)
            self._open[key] = sum(parent not in self._settled for parent in parents)
            if not self._open[key]:
                if key in self._waiting:
                    self._push(key)
                else:
                    self._settled.add(key)

    @property
    def waiting(self) -> frozenset[str]:
        """What has not been taken yet and is not blocked."""
        return frozenset(self._waiting)

    @property
    def running(self) -> int:
        """How many were taken and have not ended."""
        return len(self._running)

    def is_open(self, key: str) -> bool:
        """Whether a stage waits or runs."""
        return key in self._waiting or key in self._running

    def take(self) -> str | None:
        """The ready stage of the highest rank, which runs from now on; None if none is ready."""
        while self._heap:
            _, key = heapq.heappop(self._heap)
            if key in self._waiting and not self._open[key]:
                self._waiting.remove(key)
                self._running.add(key)
                return key
        return None

    def done(self, key: str) -> None:
        """A stage is there now; what waited for it alone becomes ready."""
        self._running.discard(key)
        self._settle(key)

    def again(self, key: str) -> None:
        """A stage that runs, or was there, has to run (again); what rests on it waits."""
        self._running.discard(key)
        self._unsettle(key)
        self._waiting.add(key)
        if not self._open[key]:
            self._push(key)

    def fail(self, key: str) -> list[str]:
        """A stage will never be there. Returns what waited for it, however far down: that is blocked."""
        self._running.discard(key)
        self._failed.add(key)
        blocked, seen, stack = [], {key}, [key]
        while stack:
            for child in self._children[stack.pop()]:
                if child not in seen:
                    seen.add(child)
                    stack.append(child)
                    if child in self._waiting:
                        self._waiting.remove(child)
                        blocked.append(child)
        return blocked

    def _push(self, key: str) -> None:
        heapq.heappush(self._heap, (-self._rank.get(key, 0.0), key))

    def _settle(self, key: str) -> None:
        stack = [key]
        while stack:
            found = stack.pop()
            if found in self._settled or found in self._failed or self.is_open(found) or self._open[found]:
                continue
            self._settled.add(found)
            for child in self._children[found]:
                self._open[child] -= 1
                if self._open[child]:
                    continue
                if child in self._waiting:
                    self._push(child)
                else:
                    stack.append(child)

    def _unsettle(self, key: str) -> None:
        stack = [key]
        while stack:
            found = stack.pop()
            if found not in self._settled:
                continue
            self._settled.remove(found)
            for child in self._children[found]:
                self._open[child] += 1
                stack.append(child)


def chains(stages: Mapping[str, Stage], seconds: Callable[[Stage], float]) -> dict[str, float]:
    """Seconds of the longest chain of work from each stage on, itself included: what holds up most has most."""
    rank: dict[str, float] = {}
    for key, stage in reversed(list(stages.items())):
        rank[key] = rank.get(key, 0.0) + seconds(stage)
        for parent in stage.upstream:
            rank[parent.key] = max(rank.get(parent.key, 0.0), rank[key])
    return rank
