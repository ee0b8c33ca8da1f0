"""Which executor runs the stages of a plan, in this process or on Ray, and whether it can be had."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rich.console import Console

from grid.costs import Costs
from grid.job_server import find_token
from grid.numerics import has_gpu
from grid.placement import InfeasibleError
from grid.problems import Problem, SpecError
from grid.reconcile import Executor, Work
from grid.spec import Spec
from grid.store import Store
from grid.workers import parse_workers
from tasks.stage import Stage

if TYPE_CHECKING:
    from grid.ray_executor import RayExecutor


EXPECTED = "DECOYGRID_WORKERS"  # nodes to come, in a variable, since a cluster knows them and a spec does not


class Runnable(Work, Protocol):
    """Work that an executor can be made for."""

    @property
    def numerics(self) -> str: ...

    @property
    def sources(self) -> Mapping[str, Path]: ...


def make_executor(
    spec: Spec,
    plan: Runnable,
    store: Store,
    address: str,
    in_process: bool,
    missing: Mapping[str, Stage],
    say: Console,
    costs: Costs,
) -> tuple[Executor, int]:
    """The executor, and how many stages it runs at a time."""
    if not in_process:
        return make_ray_executor(spec, plan, store, address, missing, say, costs)
    if plan.numerics != "cpu_fp32" and not has_gpu():
        raise SpecError([Problem("numerics", f"{plan.numerics} needs an NVIDIA GPU, which is not here; use cpu_fp32")])
    from grid.in_process import InProcessExecutor

    return InProcessExecutor(store.location, plan.sources), 1


def make_ray_executor(
    spec: Spec,
    plan: Runnable,
    store: Store,
    address: str,
    missing: Mapping[str, Stage],
    say: Console,
    costs: Costs | None = None,
) -> tuple[RayExecutor, int]:
    """Ray's executor, started or joined unless it is there already; SpecError if it cannot run what is `missing`.

    Nodes that an autoscaler has yet to start are named by DECOYGRID_WORKERS, in the words of `plan --workers`.
    """
    from grid.ray_executor import RayExecutor, is_up

    expected = parse_workers(os.environ.get(EXPECTED, "").split(), EXPECTED).nodes
    if new := not is_up():
        say.print(f"starting Ray ({address})", markup=False)
        probe(address)
    try:
        executor = RayExecutor(
            store.location,
            plan.sources,
            address=address,
            resources=spec.resources,
            costs=costs or Costs(store.records().values()),
            expected=expected,
        )
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        line = str(error).partition("\n")[0]
        hint = "if the cluster asks for a token, set RAY_AUTH_MODE=token here and put its token into ~/.ray/auth_token"
        if address == "local":
            hint = "this machine may be too busy or short of memory: try again later, and what is done is found"
        raise SpecError([Problem("--address", f"cannot use Ray at {address!r}: {line}; {hint}")]) from error
    try:
        for stage in missing.values():
            executor.request(stage)
    except InfeasibleError as error:
        executor.close()
        raise SpecError([Problem("resources", str(error))]) from error
    if new:
        say.print(f"Ray is up: {executor.shape}", markup=False)
    return executor, executor.parallel


def probe(address: str) -> None:
    """Ray waits for minutes on a place where nobody listens; a socket knows at once."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if address in ("local", "auto"):
        return
    if not colon or not port.isdigit():
        raise SpecError([Problem("--address", f"{address!r} is neither local, auto nor HOST:PORT")])
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise SpecError([Problem("--address", f"nobody answers at {address}: {error}")]) from error


def join_ray(address: str) -> None:
    """Connect this process to a cluster, or start one here (`local`); SpecError if that cannot be."""
    from grid.ray_executor import connect

    probe(address)
    if find_token() is not None and address != "local":
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # read when Ray is imported
    try:
        connect(address)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        line = str(error).partition("\n")[0]
        raise SpecError([Problem("--address", f"cannot use Ray at {address!r}: {line}")]) from error
