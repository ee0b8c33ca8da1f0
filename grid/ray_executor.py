"""The Ray executor: a task a stage, on this machine or a cluster. The only place of `import ray` for grids.

Ray retries nothing by itself: what is lost is reported with its reason, and grid.reconcile decides.
"""

from __future__ import annotations

import math
import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from grid.costs import Costs, Peak
from grid.last_words import last_words, youngest_attempt
from grid.limits import Loss
from grid.placement import GIB, InfeasibleError, Node, describe, gpu_memory_of, in_flight, parallel, place
from grid.reconcile import ExecutorLostError
from grid.runner import Outcome, run_stage
from grid.spec import ResourceRequest
from grid.stage_timeout import GRACE
from grid.store import Store
from tasks.stage import Group, Stage

LOOK_SECONDS = 5.0  # between two looks at the cluster while nothing ends
QUEUE_SECONDS = 0.1  # of work that waits at the workers: short stages must not wait for the driver
DEEPEST = 16.0  # stages that wait for a CPU, at most
HEAD_SECONDS = 30.0  # after which a head that does not answer is gone; Ray itself ends this process after 60
ACCELERATOR = "ray.io/accelerator-type"  # the label by which Ray knows a node's kind of GPU


class _Submitted(NamedTuple):
    key: str
    since: float
    timeout: float | None


class RayExecutor:
    """Submits stages as Ray tasks, each with the share of a node that grid.placement gives it."""

    def __init__(
        self,
        store_uri: str,
        sources: Mapping[str, Path],
        *,
        address: str = "local",
        resources: Mapping[Group, ResourceRequest] | None = None,
        costs: Costs | None = None,
        expected: Sequence[Node] = (),
    ) -> None:
        """`address`: `local` starts a cluster on this machine, `auto` joins a running one, or HOST:PORT.

        costs: how much memory stages took before. expected: nodes that an autoscaler will start when asked.
        """
        if address not in ("local", "auto") and (Path.home() / ".ray" / "auth_token").exists():
            os.environ.setdefault("RAY_AUTH_MODE", "token")  # what `ray start` made; read when Ray connects
        import ray

        self._ray = ray
        self._resources, self._costs, self._expected = dict(resources or {}), costs or Costs(), tuple(expected)
        self._started = not ray.is_initialized()
        if self._started:
            connect(address)
        self._head = _head_address(ray) if address != "local" else None
        self._seen: dict[str, Node] = {}  # every node that ever was there: it, or its like, may come back
        self._look()
        self._store = Store(store_uri)
        self._arguments = (store_uri, dict(sources))
        self._task = ray.remote(_run_remotely)
        self._kinds: dict[tuple[Any, ...], Any] = {}
        self._running: dict[Any, _Submitted] = {}
        self._typical: float | None = None  # seconds of the stages that ended last
        self._looked = self._answered = time.monotonic()

    @property
    def shape(self) -> str:
        """For the display: `2 CPUs, 1 node`."""
        return describe(self._nodes)

    @property
    def parallel(self) -> int:
        """Stages that run at a time, roughly: one a CPU."""
        return max(parallel(self._nodes), parallel(self._expected))

    def request(self, stage: Stage) -> dict[str, Any]:
        """What a stage asks of Ray: num_cpus, num_gpus and so on. InfeasibleError if no node can give it."""
        return self._options(stage, self._costs.peak(stage))

    def _options(self, stage: Stage, peak: Peak | None) -> dict[str, Any]:
        asked = place(stage, self._resources.get(stage.group), peak, (*self._seen.values(), *self._expected))
        options: dict[str, Any] = {"num_cpus": asked.cpus, "num_gpus": asked.gpus}
        if asked.memory:
            options["memory"] = asked.memory
        if asked.accelerators:
            options["label_selector"] = {ACCELERATOR: f"in({','.join(asked.accelerators)})"}
        return options

    def room(self) -> bool:
        deeper = min(DEEPEST, QUEUE_SECONDS / max(self._typical, 1e-3)) if self._typical is not None else 0.0
        return len(self._running) < self._slots + int(deeper * self.parallel)

    def submit(self, stage: Stage, *, timeout: float | None = None) -> None:
        try:
            options = self.request(stage)
        except InfeasibleError:  # by what was learned since the grid began, when it was feasible
            options = self._options(stage, None)
        options["name"] = stage.kind
        kind = tuple(str(value) for value in options.values())
        if kind not in self._kinds:
            self._kinds[kind] = self._task.options(**options, max_retries=0)
        reference = self._kinds[kind].remote(stage, *self._arguments, timeout)
        self._running[reference] = _Submitted(stage.key, time.time(), timeout)

    def wait(self) -> list[Outcome]:
        while True:
            ended = self._ended()
            if time.monotonic() - self._looked >= LOOK_SECONDS:
                self._looked = time.monotonic()
                if self._head_answers():  # of one that does not, Ray's own questions wait for a minute
                    self._look()
            if outcomes := [self._outcome(reference) for reference in ended] or self._overdue():
                return outcomes

    def _ended(self) -> list[Any]:
        """What has ended: short stages by the dozen, since each question to Ray costs as much as some of them."""
        references, found = list(self._running), list[Any]()
        if self._typical is not None and self._typical < QUEUE_SECONDS:
            found, _ = self._ray.wait(references, num_returns=1 + len(references) // 2, timeout=QUEUE_SECONDS / 4)
        if not found:
            found, _ = self._ray.wait(references, num_returns=1, timeout=LOOK_SECONDS)
        return list(found)

    def close(self) -> None:
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        if self._started:
            self._ray.shutdown()

    def _outcome(self, reference: Any) -> Outcome:
        key = self._running.pop(reference).key
        errors = self._ray.exceptions
        try:
            outcome: Outcome = self._ray.get(reference)
        except errors.RayTaskError as error:
            return Outcome(key, error=f"the worker could not run it: {str(error.cause or error).splitlines()[-1]}")
        except (errors.LocalRayletDiedError, errors.RaySystemError) as error:
            raise ExecutorLostError(f"the Ray cluster is gone ({type(error).__name__})") from error
        except errors.OutOfMemoryError as error:
            return self._lost(key, "memory", "its node ran out of memory", f"{error}\n\n")
        except errors.WorkerCrashedError:
            return self._lost(key, "worker", "its worker died")
        except errors.RayError as error:
            return self._lost(key, "node", f"its node was lost ({type(error).__name__})", f"{error}\n\n")
        if outcome.record is not None:
            seconds = float(outcome.record["seconds"])
            self._typical = seconds if self._typical is None else 0.8 * self._typical + 0.2 * seconds
        return outcome

    def _lost(self, key: str, loss: Loss, error: str, beginning: str = "") -> Outcome:
        """Why and where a stage was lost, going by the beat that its attempt could not end."""
        attempt = None
        try:
            attempt = youngest_attempt(self._store, key)
            if attempt is not None:
                self._store.end_beat(key, attempt["attempt"])
        except OSError:
            pass  # the store is away: that will be met by the next attempt
        if loss == "worker" and attempt is not None and not self._is_alive(attempt.get("node")):
            loss, error = "node", "its node was lost"
        where = f" (process {attempt['pid']} on {attempt['host']})" if attempt is not None else ""
        return Outcome(key, error=error + where, lost=loss, log=beginning + last_words(attempt))

    def _is_alive(self, node: str | None) -> bool:
        return node is None or any(one["NodeID"] == node and one["Alive"] for one in self._ray.nodes())

    def _overdue(self) -> list[Outcome]:
        """Stages that should have been stopped long ago and were not: their processes do not even end themselves."""
        found, now = [], time.time()
        for reference, (key, since, timeout) in list(self._running.items()):
            if timeout is None or now - since < timeout + 2 * GRACE:
                continue
            attempt = youngest_attempt(self._store, key)  # it may have waited for a place most of the time
            if attempt is not None and now - attempt["started"] > timeout + 2 * GRACE:
                self._ray.cancel(reference, force=True)
                del self._running[reference]
                if attempt["host"] == socket.gethostname():  # a process that is stopped does not hear Ray
                    with suppress(ProcessLookupError, PermissionError):
                        os.kill(attempt["pid"], signal.SIGKILL)
                found.append(self._lost(key, "timeout", f"ran longer than its {timeout:g} s and could not be stopped"))
        return found

    def _look(self) -> None:
        """Take in the nodes that are there now."""
        now = {node["NodeID"]: _node(node) for node in self._ray.nodes() if node["Alive"]}
        self._seen |= now
        self._nodes = tuple(now.values())
        self._slots = in_flight(max(parallel(self._nodes), parallel(self._expected)))

    def _head_answers(self) -> bool:
        """ExecutorLostError for a head that has been silent for too long, before Ray ends this process for it."""
        if self._head is None or _answers(self._head):
            self._answered = time.monotonic()
            return True
        if (silent := time.monotonic() - self._answered) > _head_patience():
            raise ExecutorLostError(f"the head of the Ray cluster ({self._head}) has not answered for {silent:.0f} s")
        return False


def _node(described: Mapping[str, Any]) -> Node:
    """A node as Ray describes it: resources, and the kind of its GPUs as a label."""
    has = described["Resources"]
    kind = str(described.get("Labels", {}).get(ACCELERATOR, ""))
    declared = has.get("gpu_memory_gib")
    gpu_memory = float(declared) * GIB if declared else gpu_memory_of(kind)
    return Node(has.get("CPU", 0.0), has.get("GPU", 0.0), has.get("memory", math.inf), kind, gpu_memory)


def _head_address(ray: Any) -> str:
    return str(ray.get_runtime_context().gcs_address)


def _head_patience() -> float:
    try:
        return float(os.environ.get("DECOYGRID_HEAD_PATIENCE", HEAD_SECONDS))
    except ValueError:
        return HEAD_SECONDS


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=3).close()
    except OSError:
        return False
    return True


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


def _run_remotely(stage: Stage, store_uri: str, sources: dict[str, Path], timeout: float | None) -> Outcome:
    """In a Ray worker, whose process may be ended if the stage hangs."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    return run_stage(stage, store_uri, sources, timeout=timeout, end_process=True, about={"node": node})
