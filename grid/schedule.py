"""A schedule, simulated: when each missing stage of a plan would run, on which node, and what holds it up.

List scheduling by the rules of the real thing: stages leave the queue in the executor's order (grid.work_queue), as
many are in flight as the executor hands out, and each starts on the node where Ray's default policy would put it, a
later one before an earlier one that does not fit yet. Pure and deterministic: nothing runs.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from grid.placement import Node, Request, in_flight, parallel
from grid.work_queue import WorkQueue, chains
from tasks.stage import Stage

SPREAD_ABOVE = 0.5  # Ray packs nodes that are less than half used, then takes the least used one
_LITTLE = 1e-9


class Span(NamedTuple):
    """A stage on a node, in seconds from the start."""

    key: str
    node: int
    start: float
    end: float


class Schedule(NamedTuple):
    """How a plan would run."""

    spans: tuple[Span, ...]  # in order of start
    makespan: float  # seconds
    work: float  # seconds, summed over stages
    cpu_use: float  # of the CPU seconds of all nodes over the makespan, the part that stages hold
    gpu_use: float | None  # likewise; None without GPUs
    critical: tuple[str, ...]  # keys of the longest chain, in order: no cluster is quicker than that
    critical_seconds: float


def simulate(
    stages: Mapping[str, Stage],
    seconds: Mapping[str, float],
    requests: Mapping[str, Request],
    nodes: Sequence[Node],
    *,
    extra: float = 0.0,
) -> Schedule:
    """Schedule the stages named in `seconds` (those missing of a plan) on idle nodes.

    stages: all of the plan, upstream first. requests: what each missing one asks; some node must fit it.
    extra: seconds that each stage takes beside its own (start, upload), see benchmarks/stage_overhead.py.
    """
    cost = {key: value + extra for key, value in seconds.items()}
    rank = chains(stages, lambda stage: cost.get(stage.key, 0.0))
    return _summary(_spans(stages, cost, rank, requests, nodes), requests, nodes, stages, cost, rank)


def makespan(
    stages: Mapping[str, Stage], seconds: Mapping[str, float], requests: Mapping[str, Request], nodes: Sequence[Node]
) -> float:
    """Seconds until all is done, as `simulate` has it, and nothing else."""
    rank = chains(stages, lambda stage: seconds.get(stage.key, 0.0))
    return max((span.end for span in _spans(stages, seconds, rank, requests, nodes)), default=0.0)


def _spans(
    stages: Mapping[str, Stage],
    cost: Mapping[str, float],
    rank: Mapping[str, float],
    requests: Mapping[str, Request],
    nodes: Sequence[Node],
) -> list[Span]:
    queue, handed, cluster = WorkQueue(stages, cost, rank), _Handed(), [_Free(node) for node in nodes]
    most, now = in_flight(parallel(nodes)), 0.0
    spans: list[Span] = []
    running: list[tuple[float, int, str]] = []
    while True:
        while len(handed) + len(running) < most and (key := queue.take()) is not None:
            handed.add(key, requests[key])
        for key, node in handed.starts(cluster):
            spans.append(Span(key, node, now, now + cost[key]))
            heapq.heappush(running, (now + cost[key], node, key))
        if not running:
            break
        now = running[0][0]
        while running and running[0][0] <= now + _LITTLE:
            _, node, key = heapq.heappop(running)
            cluster[node].release(key)
            queue.done(key)
    if len(handed) or queue.waiting:
        stuck = [*handed.keys(), *sorted(queue.waiting)]
        raise ValueError(f"no node ever has room for {stuck[:3]}; check requests first")
    return spans


def longest_chain(
    stages: Mapping[str, Stage], seconds: Mapping[str, float], rank: Mapping[str, float]
) -> tuple[str, ...]:
    """Keys of the chain of missing stages that takes longest, upstream first."""
    below: dict[str, list[str]] = {}
    for key, stage in stages.items():
        for parent in stage.upstream:
            below.setdefault(parent.key, []).append(key)
    chain: list[str] = []
    here = [key for key in stages if seconds.get(key)]
    while here:
        key = max(here, key=lambda one: (rank[one], one))
        if rank[key] <= 0:
            break
        if key in seconds:
            chain.append(key)
        here = below.get(key, [])
    return tuple(chain)


class _Free:
    """What is free of a node, GPU by GPU: fractions share one GPU, whole ones need it empty."""

    def __init__(self, node: Node) -> None:
        self._node, self._cpus, self._memory = node, node.cpus, node.memory
        self._gpus = [1.0] * int(node.gpus)
        self._held: dict[str, tuple[Request, list[int]]] = {}

    def use_with(self, request: Request) -> float | None:
        """How full the fullest of its resources would be, 0 to 1; None if there is no room."""
        free = sum(self._gpus)
        if request.gpus > free + len(self._gpus) * _LITTLE:  # most questions end here
            return None
        if not request.fits(self._node) or request.cpus > self._cpus + _LITTLE or request.memory > self._memory:
            return None
        if request.gpus and self._choose(request.gpus) is None:
            return None
        used = (self._node.cpus - self._cpus + request.cpus) / self._node.cpus if self._node.cpus else 0.0
        return max(used, (self._node.gpus - free + request.gpus) / self._node.gpus) if request.gpus else used

    def hold(self, key: str, request: Request) -> None:
        chosen = (self._choose(request.gpus) or []) if request.gpus else []
        for gpu in chosen:
            self._gpus[gpu] -= min(1.0, request.gpus)
        self._cpus -= request.cpus
        self._memory -= request.memory if math.isfinite(self._memory) else 0.0
        self._held[key] = (request, chosen)

    def release(self, key: str) -> None:
        request, chosen = self._held.pop(key)
        for gpu in chosen:
            self._gpus[gpu] += min(1.0, request.gpus)
        self._cpus += request.cpus
        self._memory += request.memory if math.isfinite(self._memory) else 0.0

    def _choose(self, gpus: float) -> list[int] | None:
        """GPUs for a request: the fullest one that still has the fraction, or so many empty ones."""
        if gpus <= 1:
            fits = [(free, gpu) for gpu, free in enumerate(self._gpus) if free >= gpus - _LITTLE]
            return [min(fits)[1]] if fits else None
        empty = [gpu for gpu, free in enumerate(self._gpus) if free >= 1 - _LITTLE]
        return empty[: int(gpus)] if len(empty) >= gpus else None


class _Handed:
    """Stages that are out and for which no node has room yet: in order, those with the same request in one line."""

    def __init__(self) -> None:
        self._lines: dict[Request, deque[tuple[int, str]]] = {}
        self._added = self._started = 0

    def __len__(self) -> int:
        return self._added - self._started

    def keys(self) -> list[str]:
        return [key for _, key in sorted(place for line in self._lines.values() for place in line)]

    def add(self, key: str, request: Request) -> None:
        self._lines.setdefault(request, deque()).append((self._added, key))
        self._added += 1

    def starts(self, cluster: Sequence[_Free]) -> list[tuple[str, int]]:
        """(key, node) of the stages that can start now, which are taken out; a later one may pass an earlier one."""
        started: list[tuple[str, int]] = []
        open_lines = {request: line for request, line in self._lines.items() if line}
        while open_lines:
            request, line = min(open_lines.items(), key=lambda item: item[1][0])
            uses = [(use if use >= SPREAD_ABOVE else 0.0, i) for i, use in _uses(request, cluster)]
            if uses:
                key, node = line.popleft()[1], min(uses)[1]
                cluster[node].hold(key, request)
                started.append((key, node))
            if not uses or not line:
                del open_lines[request]
        self._started += len(started)
        return started


def _uses(request: Request, cluster: Sequence[_Free]) -> list[tuple[int, float]]:
    return [(i, use) for i, node in enumerate(cluster) if (use := node.use_with(request)) is not None]


def _summary(
    spans: Sequence[Span],
    requests: Mapping[str, Request],
    nodes: Sequence[Node],
    stages: Mapping[str, Stage],
    cost: Mapping[str, float],
    rank: Mapping[str, float],
) -> Schedule:
    end = max((span.end for span in spans), default=0.0)

    def use(held: float, there: float) -> float:
        return held / (there * end) if there and end else 0.0

    cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
    cpu_seconds = sum(requests[span.key].cpus * (span.end - span.start) for span in spans)
    gpu_seconds = sum(requests[span.key].gpus * (span.end - span.start) for span in spans)
    chain = longest_chain(stages, cost, rank)
    return Schedule(
        tuple(sorted(spans, key=lambda span: (span.start, span.node, span.key))),
        end,
        sum(cost.values()),
        use(cpu_seconds, cpus),
        use(gpu_seconds, gpus) if gpus else None,
        chain,
        sum(cost[key] for key in chain),
    )
