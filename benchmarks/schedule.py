"""A simulated schedule against a measured one: does `decoygrid plan --nodes` foretell how long a grid takes?

    python -m benchmarks.schedule

A spec (default: the ORL demo at the smoke budget) runs on one worker for its records, from which the schedules are
simulated; then it is measured on one and on two workers, each time into a store of its own. A worker is one CPU of a
local cluster. Before the clock starts it has imported all that the first run imported: what is imported for a stage is
no part of its cost in a long grid, and is half of a small one.

Two workers that share a machine's memory, or cores that are busy with something else, take longer for the same stage
than one did. So the table also says by how much the stages themselves were longer than recorded (`stretch`), and what
the simulation says when it is given the durations of the very run that was measured: how well it schedules, apart from
how well durations were known. `--record FILE` keeps the figures, `--from FILE` prints them.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from benchmarks.measured import NotMeasuredError, run_command
from benchmarks.schedule_record import KIND, Figures, Record
from benchmarks.stage_overhead import Silent
from grid.costs import Costs
from grid.expand import expand
from grid.placement import Node, place
from grid.plan import Plan
from grid.ray_executor import RayExecutor
from grid.reconcile import Reconciler
from grid.runner import git_revision, versions
from grid.schedule import simulate
from grid.spec_parser import load_spec
from grid.store import Store

EXTRA = 0.05  # seconds of a stage beside its own: it is sent to a worker, and its files are stored
StageRecords = Mapping[str, Mapping[str, Any]]
SMALL = ("budget=smoke", "name=schedule", "labels=[0, 4]")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: 0 if every makespan is within the aim, 1 if not, 2 on bad input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.schedule", description="Simulated against measured.")
    parser.add_argument("--spec", default="orl_demo", help="a shipped spec or a file; default orl_demo")
    parser.add_argument("--set", dest="overrides", action="append", help=f"default: {' '.join(SMALL)}")
    return run_command(parser, arguments, KIND, _prepared)


def _prepared(options: argparse.Namespace) -> Callable[[], Record]:
    plan = expand(load_spec(options.spec, options.overrides or list(SMALL)))
    return lambda: measure(plan)


def measure(plan: Plan) -> Record:
    """Run the plan on one worker for its imports and records, then on one and on two for the clock."""
    found: list[Figures] = []
    with tempfile.TemporaryDirectory(prefix="decoygrid-schedule-") as folder:
        with _cluster(1) as modules:
            run(plan, Store(f"{folder}/cold"))
            imported = modules()
        recorded = Store(f"{folder}/recorded")
        for workers in (1, 2):
            with _cluster(workers, imported):
                if workers == 1:
                    run(plan, recorded)
                records = recorded.records()
                store = Store(f"{folder}/{workers}")
                measured = run(plan, store)
            found.append(compared(plan, workers, records, store.records(), measured))
            print(f"{workers} workers: {found[-1].simulated:.1f} s simulated, {measured:.1f} s", file=sys.stderr)
    return Record(len(plan.stages()), tuple(found))


def compared(plan: Plan, workers: int, before: StageRecords, now: StageRecords, measured: float) -> Figures:
    """The figures of a run that took `measured` seconds and left the records `now`."""
    seconds = [sum(record["seconds"] for record in records.values()) for records in (before, now)]
    foretold, replayed = (simulated(plan, Costs(records.values()), workers) for records in (before, now))
    return Figures(workers, foretold, replayed, measured, seconds[1] / seconds[0])


def simulated(plan: Plan, costs: Costs, workers: int) -> float:
    """Seconds that the simulated schedule of the whole plan takes."""
    nodes = [Node(float(workers))]
    stages = plan.stages()
    requests = {key: place(stage, None, None, nodes) for key, stage in stages.items()}
    seconds = {key: costs.guess(stage) for key, stage in stages.items()}
    return simulate(stages, seconds, requests, nodes, extra=EXTRA).makespan


def run(plan: Plan, store: Store) -> float:
    """Seconds that the plan takes on the cluster that this process has joined."""
    executor = RayExecutor(store.location, plan.sources)
    began = time.monotonic()
    result = Reconciler(plan, store, executor, Silent(), Costs()).run(plan.stages(), {})
    seconds = time.monotonic() - began
    if not result.complete:
        raise RuntimeError(f"stages that fail measure nothing: {list(result.failed.items())[:3]}")
    return seconds


@contextmanager
def _cluster(workers: int, imported: Sequence[str] = ()) -> Iterator[Callable[[], list[str]]]:
    """A local cluster of so many CPUs whose workers have imported `imported`; yields what one of them has by then."""
    import ray

    quiet = {"include_dashboard": False, "logging_level": "error", "log_to_driver": False}
    try:
        ray.init(address="local", num_cpus=workers, **quiet)
    except Exception as error:  # Ray raises the bare class if its node is not up in time
        raise NotMeasuredError(f"Ray does not start here: {error}") from error
    try:
        warm = ray.remote(_warm)
        ray.get([warm.remote(list(imported)) for _ in range(workers)])
        yield lambda: list(ray.get(ray.remote(_imported).remote()))
    finally:
        ray.shutdown()


def _warm(modules: Sequence[str]) -> None:
    for name in modules:
        with suppress(Exception):  # some are made by others, and cannot be asked for by name
            importlib.import_module(name)
    git_revision(), versions()
    time.sleep(5.0)  # so that each task gets a worker of its own, which waits for the other's imports


def _imported() -> list[str]:
    return [name for name in list(sys.modules) if name != "__main__"]


if __name__ == "__main__":
    sys.exit(main())
