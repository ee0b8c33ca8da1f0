"""What a search's trials do, as one would write it by hand for Ray Tune: no store, no record, nothing to go on from.

The stages and measurements are the project's own, and the numbers are the same to the digit (tests/benchmarks); only
what keeps a search safe is absent. Inputs are read from a store once a process, and networks stay in memory.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from grid.runner import numerics_of
from grid.search_space import Value
from grid.search_study import Study
from grid.search_trial import held_images, rungs_of
from grid.search_tune import QUIET
from grid.store import Store
from tasks.artifact import Artifact
from tasks.context import Context
from tasks.lazy import lazy
from tasks.stage import Stage

if TYPE_CHECKING:
    import torch

    from tasks.checkpoint import State
    from tasks.metrics import probe
else:
    torch = lazy("torch")
    probe = lazy("tasks.metrics.probe")

Report = Callable[[dict[str, float]], None]


class Bare:
    """Everything that the trials of a study with one model share, in memory."""

    def __init__(self, study: Study, store_uri: str, sources: Mapping[str, Path]) -> None:
        self._study, self._store, self._sources = study, Store(store_uri), sources
        self._artifacts: dict[str, Artifact] = {}
        (self._aim,) = study.aims
        own, second = study.victim(self._aim.seed), study.second(self._aim.seed)
        self._attack = study.attack(own, self._aim)
        with numerics_of(own), tempfile.TemporaryDirectory() as folder:
            self._second = second.network(self._context(second, folder))
            self._held = held_images(study, lambda stage: self._context(stage, folder))
            victim = own.network(self._context(own, folder))
            self._warm = probe.start_points(self._attack, victim, self._context(self._attack, folder))

    def run(self, coefficients: Mapping[str, Value], report: Report) -> None:
        """Fine-tune to the end; report what is measured at every rung, and `work`: seconds so far, without reports."""
        stage = self._study.targets(coefficients)[self._aim]
        with numerics_of(stage), tempfile.TemporaryDirectory() as folder:
            began, waited = time.monotonic(), 0.0

            def measure(weights: Mapping[str, torch.Tensor]) -> None:
                nonlocal waited
                network = stage.network_of().blank()
                network.load_state_dict(weights)
                network.to(torch.device("cpu") if stage.numerics == "cpu_fp32" else torch.device("cuda")).eval()
                ctx = self._context(self._attack, folder)
                found = probe.measure_target(self._attack, network, self._second, self._held, self._warm, ctx)
                reported = time.monotonic()
                report({**found, "work": reported - began - waited})
                waited += time.monotonic() - reported

            stage.run(_Measuring(measure, rungs_of(stage.steps), stage, Path(folder), self._load))

    def _load(self, stage: Stage) -> Artifact:
        if stage.key not in self._artifacts:
            self._artifacts[stage.key] = self._store.load(stage.key)
        return self._artifacts[stage.key]

    def _context(self, stage: Stage, folder: str) -> Context:
        return Context(stage, Path(folder), self._load, sources=self._sources)


class _Measuring(Context):
    """Hands the weights on at each rung, and keeps no training state."""

    def __init__(self, measure: Callable[[Any], None], rungs: Sequence[int], *arguments: Any) -> None:
        super().__init__(*arguments)
        self._measure, self._rungs = measure, rungs

    def checkpoint(self, step: int, state: Callable[[], State], *, force: bool = False) -> None:
        if step in self._rungs:
            self._measure(state()["network"])


_BARE: dict[str, Bare] = {}  # of a worker, which Tune lets run one trial after another


class Clocks(NamedTuple):
    """Of a block of trials, one after the other: when it began, when each trial ended, and what Tune had no part in.

    All in seconds. work: of each trial, fine-tune and measurements alone.
    """

    began: float
    ends: list[float]
    work: list[float]


def run_bare(
    study: Study, store_uri: str, sources: Mapping[str, Path], trials: Sequence[Mapping[str, Value]]
) -> Clocks:
    """Run these coefficients one at a time by `tune.Tuner`, a worker for all of them."""
    from ray import tune

    def trial(config: dict[str, Any], study: Study, sources: Mapping[str, Path]) -> None:
        key = study.victim(study.seeds[0]).key
        if key not in _BARE:
            _BARE[key] = Bare(study, store_uri, sources)
        _BARE[key].run(config["coefficients"], tune.report)

    class Watching(tune.Callback):  # type: ignore[misc]  # ray is untyped
        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            clocks.ends.append(time.monotonic())
            clocks.work.append(trial.last_result["work"])

    os.environ.update(QUIET)
    clocks = Clocks(time.monotonic(), [], [])

    with tempfile.TemporaryDirectory(prefix="decoygrid-bare-", ignore_cleanup_errors=True) as folder:
        tune.Tuner(
            tune.with_resources(tune.with_parameters(trial, study=study, sources=dict(sources)), {"cpu": 1}),
            param_space={"coefficients": tune.grid_search([dict(trial) for trial in trials])},
            tune_config=tune.TuneConfig(reuse_actors=True, max_concurrent_trials=1),
            run_config=tune.RunConfig(name="bare", storage_path=folder, callbacks=[Watching()], verbose=0),
        ).fit()
    return clocks
