"""Which executor runs a grid, in this process or on Ray, and whether it can be had."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from rich.console import Console

from grid.numerics import has_gpu
from grid.plan import Plan
from grid.problems import Problem, SpecError
from grid.reconcile import Executor
from grid.spec import Spec
from grid.store import Store
from tasks.stage import Stage


def make_executor(
    spec: Spec,
    plan: Plan,
    store: Store,
    address: str,
    in_process: bool,
    missing: Mapping[str, Stage],
    say: Console,
) -> tuple[Executor, int]:
    """The executor, and how many stages it runs at a time. SpecError if there is none for this plan."""
    if in_process:
        if plan.numerics != "cpu_fp32" and not has_gpu():
            raise SpecError(
                [Problem("numerics", f"{plan.numerics} needs an NVIDIA GPU, which is not here; use cpu_fp32")]
            )
        from grid.in_process import InProcessExecutor

        return InProcessExecutor(store.location, plan.sources), 1
    from grid.ray_executor import InfeasibleError, RayExecutor

    say.print(f"starting Ray ({address}) for {len(missing)} stages", markup=False)
    _probe(address)
    try:
        executor = RayExecutor(store.location, plan.sources, address=address, resources=spec.resources)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        line = str(error).splitlines()[0]
        hint = "if the cluster asks for a token, set RAY_AUTH_MODE=token here and put its token into ~/.ray/auth_token"
        raise SpecError([Problem("--address", f"cannot use Ray at {address!r}: {line}; {hint}")]) from error
    try:
        for stage in missing.values():
            executor.request(stage)
    except InfeasibleError as error:
        executor.close()
        raise SpecError([Problem("resources", str(error))]) from error
    say.print(f"Ray is up: {executor.shape}", markup=False)
    return executor, executor.parallel


def _probe(address: str) -> None:
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
