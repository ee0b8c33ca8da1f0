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
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from analysis.formats import markdown_line
from benchmarks.overhead_record import check_writable
from benchmarks.stage_overhead import Silent
from grid.costs import Costs
from grid.expand import expand
from grid.placement import Node, place
from grid.plan import Plan
from grid.problems import Problem, SpecError
from grid.ray_executor import RayExecutor
from grid.reconcile import Reconciler
from grid.runner import git_revision, versions
from grid.schedule import simulate
from grid.spec_parser import load_spec
from grid.store import Store

AIM = 0.2  # by which a makespan may differ
EXTRA = 0.05  # seconds of a stage beside its own: it is sent to a worker, and its files are stored
Records = Mapping[str, Mapping[str, Any]]
SMALL = ("budget=smoke", "name=schedule", "labels=[0, 4]")


class Figures(NamedTuple):
    """Makespans in seconds on so many workers."""

    workers: int
    simulated: float  # from the records of the first run, on one worker
    replayed: float  # simulated from the durations of the run that was measured
    measured: float
    stretch: float  # seconds of all stages in the run that was measured, over those in the first

    @property
    def error(self) -> float:
        """Of the simulated one, relative to the measured one."""
        return self.simulated / self.measured - 1

    @property
    def scheduling_error(self) -> float:
        """The same with durations that are known."""
        return self.replayed / self.measured - 1


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: 0 if every makespan is within the aim, 1 if not, 2 on bad input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.schedule", description="Simulated against measured.")
    parser.add_argument("--spec", default="orl_demo", help="a shipped spec or a file; default orl_demo")
    parser.add_argument("--set", dest="overrides", action="append", help=f"default: {' '.join(SMALL)}")
    parser.add_argument("--record", type=Path, help="also write the figures into this JSON file")
    parser.add_argument("--from", dest="recorded", type=Path, help="measure nothing: print this record's report")
    options = parser.parse_args(arguments)
    try:
        if options.recorded is not None:
            return _said(read_record(options.recorded))
        check_writable(options.record)
        plan = expand(load_spec(options.spec, options.overrides or list(SMALL)))
    except SpecError as error:
        for problem in error.problems:
            print(f"{problem.place}: {problem.message}", file=sys.stderr)
        return 2
    try:
        figures = measure(plan)
    except ConnectionError as error:
        print(f"Ray does not start here: {error}", file=sys.stderr)
        return 1
    if options.record is not None:
        write_record(figures, len(plan.stages()), options.record)
    return _said(figures)


def measure(plan: Plan) -> tuple[Figures, ...]:
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
    return tuple(found)


def compared(plan: Plan, workers: int, before: Records, now: Records, measured: float) -> Figures:
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
        raise ConnectionError(str(error)) from error
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


def report(figures: Sequence[Figures]) -> str:
    """A line for each number of workers, as Markdown."""
    lines = [
        markdown_line(["workers", "simulated", "measured", "error", "stretch", "error with the run's own durations"]),
        "|--:|--:|--:|--:|--:|--:|",
    ]
    for one in figures:
        cells = [str(one.workers), f"{one.simulated:.1f} s", f"{one.measured:.1f} s", f"{one.error:+.0%}"]
        lines.append(markdown_line([*cells, f"{one.stretch:.2f}", f"{one.scheduling_error:+.0%}"]))
    return "\n".join(lines)


def sentence(figures: Sequence[Figures]) -> str:
    """What the docs say of it, in a line."""
    parts = [f"{one.error:+.0%} on {one.workers} worker{'s' * (one.workers != 1)}" for one in figures]
    own = [f"{one.scheduling_error:+.0%}" for one in figures]
    stretch = [f"{one.stretch:.2f}" for one in figures]
    return (
        f"The simulated makespan differs from a measured one by {' and '.join(parts)}; with the stages' durations in "
        f"the measured run, by {' and '.join(own)} (they were {' and '.join(stretch)} times the recorded ones)."
    )


def write_record(figures: Sequence[Figures], stages: int, path: Path) -> None:
    """The figures, and on what they were measured: a small file for docs/results/records/benchmarks."""
    about: dict[str, Any] = {
        "benchmark": "schedule",
        "aim": AIM,
        "stages": stages,
        "figures": [one._asdict() for one in figures],
    }
    about |= {"cpus": os.cpu_count(), "git": git_revision(), "versions": versions(), "platform": platform.machine()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(about, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_record(path: Path) -> tuple[Figures, ...]:
    """A file of `write_record`. SpecError if it is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["figures"]
        numbers = [{name: float(one[name]) for name in Figures._fields} for one in found]
        figures = tuple(Figures(int(one.pop("workers")), **one) for one in numbers)
        if not figures or not all(one.measured > 0 for one in figures):
            raise ValueError("there is at least one makespan, and all are above 0")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SpecError([Problem(f"--from {path}", f"is no record of this benchmark ({error!r})")]) from error
    return figures


def _said(figures: Sequence[Figures]) -> int:
    print(report(figures))
    print(f"\n{sentence(figures)}")
    return 0 if all(abs(one.error) <= AIM for one in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
