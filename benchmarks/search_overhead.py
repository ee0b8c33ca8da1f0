"""What a search adds to its trials: `decoygrid search` against a bare Ray Tune loop that trains and measures the same.

    python -m benchmarks.search_overhead

Both run the same coefficients on the same cluster, one trial at a time, a block of the one after a block of the other,
the first of a pair alternating; so whatever else the machine does meets both. Ours has its store, checkpoints, record,
driver and Tune callbacks, and no MLflow, which another thread serves. The bare loop keeps everything in memory and
nothing on disk (bare_tune.py). Printed: seconds a trial, their ratio, and what Tune and we add to the work itself.
`--record FILE` keeps the pairs as JSON, and `--from FILE` prints such a record again. The one that README.md speaks of
is docs/results/records/benchmarks/search_overhead.json.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.bare_tune import Clocks, run_bare
from benchmarks.measured import NotMeasuredError, run_command
from benchmarks.overhead_record import KIND, Figures, Record
from grid.problems import Problem, SpecError
from grid.ray_executor import connect
from grid.runner import run_stage
from grid.search_driver import Driver
from grid.search_objectives import OBJECTIVES, Goals
from grid.search_proposals import make_proposals
from grid.search_record import Ledger, new_document
from grid.search_space import load_space
from grid.search_study import SharedWork, Study, study_of
from grid.search_tune import measure_remotely, run_trials
from grid.spec_parser import load_spec
from grid.store import Store

SPEC = Path(__file__).with_name("search_overhead.yaml")
GOALS = Goals(tuple(OBJECTIVES.items()))
ONE_CPU = {"num_cpus": 1.0, "num_gpus": 0.0}


class Pair(NamedTuple):
    """The same trials by both."""

    ours: Clocks
    bare: Clocks


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: 0 if the aim is met, 1 if not or if a trial fails, 2 on bad input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search_overhead", description="What a search adds.")
    parser.add_argument("--spec", default=str(SPEC), help="with one label, so that trials are one fine-tune")
    parser.add_argument("--space", default="finetune_reduced", help="a shipped space, or a file")
    parser.add_argument("--trials", type=int, default=6, help="of a block; the first one starts the worker; default 6")
    parser.add_argument("--pairs", type=int, default=5, help="blocks of each; default 5")
    return run_command(parser, arguments, KIND, _prepared)


def _prepared(options: argparse.Namespace) -> Callable[[], Record]:
    study, shared = _checked(options.spec, options.space, options.trials, options.pairs)

    def work() -> Record:
        with tempfile.TemporaryDirectory(prefix="decoygrid-overhead-") as folder:
            store = Store(folder)
            for stage in shared.shared.values():
                if (reason := run_stage(stage, store.location, shared.sources).error) is not None:
                    raise NotMeasuredError(f"{stage.key}: {reason}")
            connect("local")
            pairs = _pairs(study, shared, store, options.trials, options.pairs)
        return Record(options.trials, study.world.spec.name, options.space, tuple(figures(pair) for pair in pairs))

    return work


def figures(pair: Pair) -> Figures:
    """Without the first trial of a block, which waits for a worker to start and to load."""
    ours, bare = ((clocks.ends[-1] - clocks.ends[0]) / (len(clocks.ends) - 1) for clocks in pair)
    work = pair.bare.work[1:]
    return Figures(ours, bare, sum(work) / len(work))


def _checked(spec_path: str, space: str, trials: int, pairs: int) -> tuple[Study, SharedWork]:
    problems = [
        Problem(place, f"must be at least {least}, got {number}")
        for place, number, least in (("--trials", trials, 2), ("--pairs", pairs, 1))
        if number < least
    ]
    found = None
    try:
        found = study_of(load_spec(spec_path), load_space(space))
    except SpecError as error:
        problems += error.problems
    if found is not None and len(found[0].labels) != 1:
        problems.append(Problem(f"{spec_path} labels", f"must be one, got {list(found[0].labels)}"))
    if problems or found is None:
        raise SpecError(problems)
    return found


def _pairs(study: Study, shared: SharedWork, store: Store, trials: int, pairs: int) -> list[Pair]:
    """Blocks in turn; each pair has coefficients of its own, since what is stored is not run again."""
    undefended = measure_remotely(study, store.location, shared.sources, ONE_CPU)
    found = []
    for seed in range(pairs):
        proposals = make_proposals("random", study.space, GOALS, undefended, seed, trials, ())
        chosen = [study.space.complete(proposals.ask("", number) or {}) for number in range(1, trials + 1)]
        clocks: dict[bool, Clocks] = {}
        for ours in (True, False) if seed % 2 else (False, True):
            if ours:
                clocks[ours] = _run_ours(study, shared, store, undefended, seed, trials)
            else:
                clocks[ours] = run_bare(study, store.location, shared.sources, chosen)
        found.append(Pair(clocks[True], clocks[False]))
        one = figures(found[-1])
        print(f"pair {seed + 1} of {pairs}: {one.ours:.2f} s against {one.bare:.2f} s a trial", file=sys.stderr)
    return found


def _run_ours(
    study: Study, shared: SharedWork, store: Store, undefended: Mapping[str, float], seed: int, trials: int
) -> Clocks:
    """A search as `decoygrid search` runs it, without stopping trials, since the bare loop has no such thing."""
    document = new_document(f"overhead-{seed}", {}, study.space, GOALS, "random", "none", {})
    document["undefended"] = {"search": dict(undefended), "confirmed": None}
    ledger = Ledger(store, document, GOALS)
    clocks = Clocks(time.monotonic(), [], [])
    driver = Driver(
        study,
        study.space,
        GOALS,
        ledger,
        make_proposals("random", study.space, GOALS, undefended, seed, trials, ()),
        store,
        trials,
        halving=False,
        said=lambda text: clocks.ends.append(time.monotonic()),
        changed=lambda: None,
    )
    run_trials(driver, study, store.location, shared.sources, resources=ONE_CPU, concurrency=1)
    if failed := [trial["error"] for trial in ledger.trials if trial["state"] != "finished"]:
        raise RuntimeError(f"trials that fail measure nothing: {failed}")
    return clocks


if __name__ == "__main__":
    sys.exit(main())
