"""What `plan --nodes 8 --gpus 8` says: how long the missing stages would take on such nodes, and what it would cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console

from grid.costs import Costs
from grid.placement import InfeasibleError, Node, Request, describe, needs_gpu, place
from grid.plan import Plan
from grid.problems import Problem, SpecError
from grid.progress import duration
from grid.schedule import Schedule, simulate
from grid.spec import ResourceRequest
from grid.workers import Workers, equal_workers, parse_workers
from tasks.stage import Group, Stage

SHOWN = 12  # stages of the critical path that are printed by name


def simulated_workers(
    nodes: int | None,
    gpus: int | None,
    cpus: float | None,
    price: float | None,
    workers: Sequence[str],
    *,
    anew: bool,
) -> Workers | None:
    """The nodes that `plan` is asked to simulate on; None if it is not asked to. SpecError for bad values."""
    one_kind = {"--nodes": nodes, "--gpus": gpus, "--cpus": cpus, "--price": price}
    named = [name for name, value in one_kind.items() if value is not None]
    if workers and named:
        raise SpecError([Problem("--workers", f"names the nodes already; leave out {', '.join(named)}")])
    if workers:
        return parse_workers(workers)
    if not named and anew:
        raise SpecError([Problem("--anew", "is about a simulated schedule; name the nodes, e.g. --nodes 2")])
    return equal_workers(nodes, gpus, cpus, price) if named else None


def schedule_content(
    plan: Plan,
    missing: Iterable[str],
    costs: Costs,
    resources: Mapping[Group, ResourceRequest],
    workers: Workers,
) -> dict[str, Any]:
    """The simulated schedule of the stages `missing`, as plain data. SpecError if a stage fits no node."""
    stages = plan.stages()
    chosen = [key for key in stages if key in set(missing)]
    seconds = {key: costs.guess(stages[key]) for key in chosen}
    requests = {key: _request(stages[key], resources, costs, workers.nodes) for key in chosen}
    found = simulate(stages, seconds, requests, workers.nodes)
    hours = found.makespan / 3600
    return {
        "nodes": len(workers.nodes),
        "cluster": describe(workers.nodes),
        "stages": len(chosen),
        "makespan_seconds": found.makespan,
        "work_seconds": found.work,
        "cpu_utilisation": found.cpu_use,
        "gpu_utilisation": found.gpu_use,
        "price_per_hour": workers.price,
        "cost": workers.price * hours if workers.price is not None else None,
        "critical_path": [{"key": key, "name": plan.names[key], "seconds": seconds[key]} for key in found.critical],
        "critical_path_seconds": found.critical_seconds,
        "guessed": [key for key in chosen if costs.estimate(stages[key]) is None],
        "idle_gpus": bool(found.gpu_use is not None and not any(needs_gpu(stages[key]) for key in chosen)),
        "spans": _spans(found, plan),
    }


def print_schedule(content: Mapping[str, Any], console: Console) -> None:
    """The schedule in some lines: makespan, utilisation, cost, critical path."""

    def say(text: str) -> None:
        console.print(text, markup=False, soft_wrap=True)

    if not content["stages"]:
        say(f"on {content['cluster']}: nothing is missing")
        return
    use = f"CPUs {content['cpu_utilisation']:.0%} in use"
    if content["gpu_utilisation"] is not None:
        use += f", GPUs {content['gpu_utilisation']:.0%}"
    say(f"on {content['cluster']}: {duration(content['makespan_seconds'])} for {content['stages']} stages, {use}")
    if content["cost"] is not None:
        say(f"cost: ${content['cost']:.2f} at ${content['price_per_hour']:g} an hour for all nodes")
    path = content["critical_path"]
    say(f"critical path, {duration(content['critical_path_seconds'])}; more nodes do not make it shorter:")
    for stage in path[:SHOWN]:
        say(f"  {duration(stage['seconds']):>12}  {stage['name']}")
    if len(path) > SHOWN:
        say(f"  and {len(path) - SHOWN} more; --json lists all")
    if content["guessed"]:
        say(f"{len(content['guessed'])} stages were never recorded; their times are rough figures by group")
    if content["idle_gpus"]:
        say("no stage uses a GPU, since numerics is cpu_fp32 here; try --set numerics=cuda_fp32")


def _request(stage: Stage, resources: Mapping[Group, ResourceRequest], costs: Costs, nodes: Sequence[Node]) -> Request:
    try:
        return place(stage, resources.get(stage.group), costs.peak(stage), nodes)
    except InfeasibleError as error:
        raise SpecError([Problem("resources", str(error))]) from error


def _spans(found: Schedule, plan: Plan) -> list[dict[str, Any]]:
    return [{**span._asdict(), "name": plan.names[span.key]} for span in found.spans]
