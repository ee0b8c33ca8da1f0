"""The Ray executor: a task a stage, on this machine or a cluster. The only place of `import ray` for grids."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grid.placement import GIB, Node, describe, gpu_memory_of, in_flight, parallel, place
from grid.reconcile import ExecutorLostError
from grid.runner import Outcome, run_stage
from grid.spec import ResourceRequest
from tasks.stage import Group, Stage

LOST_WORKER_RETRIES = 8  # a killed worker or node costs a retry, which resumes from the checkpoint


class RayExecutor:
    """Submits stages as Ray tasks with a GPU share if the cluster has GPUs, with CPUs otherwise."""

    def __init__(
        self,
        store_uri: str,
        sources: Mapping[str, Path],
        *,
        address: str = "local",
        resources: Mapping[Group, ResourceRequest] | None = None,
    ) -> None:
        """`address`: `local` starts a cluster on this machine, `auto` joins a running one, or HOST:PORT."""
        if address not in ("local", "auto") and (Path.home() / ".ray" / "auth_token").exists():
            os.environ.setdefault("RAY_AUTH_MODE", "token")  # what `ray start` made; read when Ray connects
        import ray

        self._ray = ray
        self._resources = dict(resources or {})
        self._started = not ray.is_initialized()
        if self._started:
            connect(address)
        self._nodes = [_node(node) for node in ray.nodes() if node["Alive"]]
        self._slots = in_flight(self.parallel)
        self._arguments = (store_uri, dict(sources))
        self._task = ray.remote(_run_remotely)
        self._running: dict[Any, str] = {}

    @property
    def shape(self) -> str:
        """For the display: `2 CPUs, 1 node`."""
        return describe(self._nodes)

    @property
    def parallel(self) -> int:
        """Stages that run at a time, roughly: one a CPU."""
        return parallel(self._nodes)

    def request(self, stage: Stage) -> dict[str, float]:
        """What a stage asks of Ray: {num_cpus, num_gpus}. InfeasibleError if no node can give it."""
        asked = place(stage, self._resources.get(stage.group), None, self._nodes)
        return {"num_cpus": asked.cpus, "num_gpus": asked.gpus, **({"memory": asked.memory} if asked.memory else {})}

    def room(self) -> bool:
        return len(self._running) < self._slots

    def submit(self, stage: Stage) -> None:
        options = {**self.request(stage), "max_retries": LOST_WORKER_RETRIES, "name": stage.kind}
        self._running[self._task.options(**options).remote(stage, *self._arguments)] = stage.key

    def wait(self) -> list[Outcome]:
        ended, _ = self._ray.wait(list(self._running), num_returns=1)
        return [self._outcome(reference) for reference in ended]

    def close(self) -> None:
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        if self._started:
            self._ray.shutdown()

    def _outcome(self, reference: Any) -> Outcome:
        key = self._running.pop(reference)
        try:
            outcome: Outcome = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            return Outcome(key, error=f"the worker could not run it: {str(error.cause or error).splitlines()[-1]}")
        except (self._ray.exceptions.LocalRayletDiedError, self._ray.exceptions.RaySystemError) as error:
            raise ExecutorLostError(f"the Ray cluster is gone ({type(error).__name__})") from error
        except self._ray.exceptions.RayError as error:
            return Outcome(key, error=f"lost after {LOST_WORKER_RETRIES} retries: {type(error).__name__}")
        return outcome


def _node(described: Mapping[str, Any]) -> Node:
    """A node as Ray describes it: resources, and the kind of its GPUs as a label."""
    has = described["Resources"]
    kind = str(described.get("Labels", {}).get("ray.io/accelerator-type", ""))
    declared = has.get("gpu_memory_gib")
    gpu_memory = float(declared) * GIB if declared else gpu_memory_of(kind)
    return Node(has.get("CPU", 0.0), has.get("GPU", 0.0), has.get("memory", math.inf), kind, gpu_memory)


def is_up() -> bool:
    """Whether this process has started or joined a cluster already."""
    import ray

    return bool(ray.is_initialized())


def connect(address: str) -> None:
    """Start or join a cluster, quietly; code travels with the job when the cluster is elsewhere."""
    import ray

    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_SCHEDULER_EVENTS", "0")
    common: dict[str, Any] = {"logging_level": "error", "log_to_driver": False, "configure_logging": True}
    if address == "local":
        try:
            ray.init(address="local", include_dashboard=False, **common)
        except Exception as error:  # Ray raises the bare class if its node is not up in time
            raise ConnectionError(str(error)) from error
        return
    root = Path(__file__).resolve().parent.parent
    packages = [str(root / name) for name in ("grid", "tasks", "search_spaces", "analysis")]
    ray.init(address=address, runtime_env={"py_modules": packages}, **common)


def _run_remotely(stage: Stage, store_uri: str, sources: dict[str, Path]) -> Outcome:
    return run_stage(stage, store_uri, sources)
