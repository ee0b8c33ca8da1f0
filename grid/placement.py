"""Which share of a node a stage gets, as pure functions: from what was recorded, else what is declared here.

A GPU's memory decides how many stages share it. Ray is asked for a fraction of a GPU; a stage that needs more than
half of one has it alone, and one that needs more than some nodes' GPUs have goes to the nodes whose GPUs have it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from grid.costs import Peak
from grid.spec import ResourceRequest
from tasks.stage import Group, Stage

GIB = 2**30
LIGHT: Mapping[Group, float] = {"data": 0.25, "metrics": 0.25}  # GPU shares until memory was recorded; others: 1
SPARE = 1.25  # room above a recorded peak: allocators fragment, and another seed may need a little more
CUDA_CONTEXT = GIB // 2  # what CUDA itself takes of a GPU for each process, which no allocator counts
STEP = 0.05  # GPU shares are rounded up to it, so that few different requests are made
SMALLEST_MEMORY = GIB  # of host memory: less is not asked for
GPU_MEMORY_GIB = {  # by the names that Ray gives accelerators; a node may say it by a resource instead
    **{"V100": 16, "P100": 16, "T4": 16, "P4": 8, "K80": 12, "A10G": 24, "A10": 24, "L4": 24, "L40S": 48},
    **{"A100": 40, "A100-40G": 40, "A100-80G": 80, "H100": 80, "H200": 141, "H20": 96, "B200": 180},
}


class InfeasibleError(Exception):
    """No node of the cluster can ever satisfy a stage's request; Ray would wait for ever."""


class Node(NamedTuple):
    """What a node has: CPUs, GPUs, bytes of memory, and what its GPUs are, as far as it is known."""

    cpus: float
    gpus: float = 0.0
    memory: float = math.inf
    accelerator: str = ""
    gpu_memory: float | None = None  # bytes of each GPU


class Request(NamedTuple):
    """What a stage asks of a node. `accelerators`: the kinds of GPU that will do; empty means any."""

    cpus: float
    gpus: float = 0.0
    memory: float = 0.0
    accelerators: tuple[str, ...] = ()

    def fits(self, node: Node) -> bool:
        """Whether an idle node could run it."""
        kind = not self.accelerators or node.accelerator in self.accelerators
        return kind and self.cpus <= node.cpus and self.gpus <= node.gpus and self.memory <= node.memory

    def __str__(self) -> str:
        parts = [f"{self.cpus:g} CPUs", f"{self.gpus:g} GPUs"]
        if self.memory:
            parts.append(f"{self.memory / GIB:.3g} GiB of memory")
        kinds = f" on {' or '.join(self.accelerators)}" if self.accelerators else ""
        return ", ".join(parts[:-1]) + f" and {parts[-1]}{kinds}"


def needs_gpu(stage: Stage) -> bool:
    """Whether a stage computes on a GPU."""
    return getattr(stage, "numerics", "cpu_fp32") != "cpu_fp32"


def place(stage: Stage, wanted: ResourceRequest | None, peak: Peak | None, nodes: Sequence[Node]) -> Request:
    """What to ask for a stage: what the spec says (`wanted`), else by its `peak` memory, else as declared here.

    InfeasibleError if none of the nodes, were it idle, could run it.
    """
    wanted = wanted or ResourceRequest()
    cpus = wanted.cpu if wanted.cpu is not None else float(getattr(stage, "threads", 1))
    memory = wanted.memory * GIB if wanted.memory is not None else _recorded_memory(peak, nodes)
    if not any(node.gpus for node in nodes) or (wanted.gpu is None and not needs_gpu(stage)):
        request = Request(cpus, 0.0, memory)
    elif wanted.gpu is not None or peak is None or not peak.gpu:
        gpus = wanted.gpu if wanted.gpu is not None else LIGHT.get(stage.group, 1.0)
        request = Request(cpus, gpus, memory, _with_room(stage, peak, nodes))
    else:
        request = _by_gpu_memory(stage, Request(cpus, 0.0, memory), peak.gpu, nodes)
    _check(stage, request, nodes)
    return request


def gpu_share(need: float, gpu_memory: float) -> float:
    """The fraction of a GPU for a stage that takes `need` bytes of its `gpu_memory`; above one half: all of it."""
    share = math.ceil(round(need / gpu_memory / STEP, 6)) * STEP
    return 1.0 if share > 0.5 else max(STEP, round(share, 6))


def gpu_memory_of(accelerator: str) -> float | None:
    """Bytes of each GPU of this kind; None if it is not known."""
    found = GPU_MEMORY_GIB.get(accelerator)
    return found * float(GIB) if found is not None else None


def parallel(nodes: Sequence[Node]) -> int:
    """Stages that run at a time, roughly: one a CPU."""
    return max(1, int(sum(node.cpus for node in nodes)))


def in_flight(slots: int) -> int:
    """Stages handed out at a time: as many as can run, and a few more so that no slot waits for the driver."""
    return slots + max(1, slots // 4)


def describe(nodes: Sequence[Node]) -> str:
    """`16 CPUs, 2 GPUs, 2 nodes`."""
    gpus = sum(node.gpus for node in nodes)
    cpus = f"{sum(node.cpus for node in nodes):g} CPUs"
    return f"{cpus}{f', {gpus:g} GPUs' if gpus else ''}, {len(nodes)} node{'s' if len(nodes) != 1 else ''}"


def _gpu_need(peak: int) -> float:
    return peak * SPARE + CUDA_CONTEXT


def _by_gpu_memory(stage: Stage, request: Request, peak: int, nodes: Sequence[Node]) -> Request:
    """A share of the smallest GPU that can hold the stage; where a GPU's memory is not known it gets it alone."""
    kinds = _with_room(stage, Peak(gpu=peak), nodes)
    memories = [memory for kind, memory in _gpu_kinds(nodes).items() if not kinds or kind in kinds]
    known = [memory for memory in memories if memory is not None]
    if len(known) < len(memories):
        return request._replace(gpus=LIGHT.get(stage.group, 1.0), accelerators=kinds)
    return request._replace(gpus=gpu_share(_gpu_need(peak), min(known)), accelerators=kinds)


def _with_room(stage: Stage, peak: Peak | None, nodes: Sequence[Node]) -> tuple[str, ...]:
    """The kinds of GPU that can hold what was recorded; () if all can, or if nothing is known."""
    if peak is None or not peak.gpu:
        return ()
    kinds = _gpu_kinds(nodes)
    enough = [kind for kind, memory in kinds.items() if memory is None or memory >= peak.gpu]
    if not enough:
        most = max(memory for memory in kinds.values() if memory is not None)
        text = f"{stage.key} took {peak.gpu / GIB:.3g} GiB of a GPU when it was recorded, and no GPU here has that: "
        raise InfeasibleError(text + f"the largest has {most / GIB:.3g} GiB")
    return () if len(enough) == len(kinds) else tuple(sorted(kind for kind in enough if kind))


def _gpu_kinds(nodes: Sequence[Node]) -> dict[str, float | None]:
    """Bytes of a GPU by its kind, the least where one name stands for several; None where it is not known."""
    found: dict[str, float | None] = {}
    for node in nodes:
        if node.gpus:
            other = found.get(node.accelerator, math.inf)
            unknown = node.gpu_memory is None or other is None
            found[node.accelerator] = None if unknown else min(node.gpu_memory or 0.0, other or 0.0)
    return found


def _recorded_memory(peak: Peak | None, nodes: Sequence[Node]) -> float:
    """Host memory to ask for, in steps of 256 MiB; what was recorded elsewhere never makes a stage infeasible."""
    if peak is None or peak.host < SMALLEST_MEMORY:
        return 0.0
    step = GIB / 4
    return min(math.ceil(peak.host * SPARE / step) * step, max((node.memory for node in nodes), default=math.inf))


def _check(stage: Stage, request: Request, nodes: Sequence[Node]) -> None:
    if needs_gpu(stage) and not request.gpus:
        cause = "its resources ask for gpu: 0"
        if not any(node.gpus for node in nodes):
            cause = "the cluster has no GPU; set numerics: cpu_fp32, or name the nodes to come in DECOYGRID_WORKERS"
        raise InfeasibleError(f"{stage.key} has numerics {getattr(stage, 'numerics', '')!r}, but {cause}")
    if not any(request.fits(node) for node in nodes):
        raise InfeasibleError(f"{stage.key} asks for {request}, which no node has: {describe(nodes)}")
