"""Ray Tune around a search's driver: a trial an actor, the driver's word in searcher, scheduler and callback.

The driver's record in the store is what a search is resumed from. Tune's own folder holds nothing that is needed
again, so a cluster's nodes share the store and nothing else; the checkpoints are the stages' own, in the store.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grid.search_driver import Driver
from grid.search_study import Study

LOST_TRIAL_RETRIES = 3  # a killed worker or node costs a retry, which resumes from the stages' checkpoints
QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the record holds what its CSV and JSON files would
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial that fails reports that, and no metric
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


class SearchLostError(Exception):
    """What runs the trials is gone as a whole (the cluster died); what was reported is stored."""


def run_trials(
    driver: Driver,
    study: Study,
    store_uri: str,
    sources: Mapping[str, Path],
    *,
    resources: Mapping[str, float],
    concurrency: int,
) -> None:
    """Run trials until the driver has none left. `resources`: {num_cpus, num_gpus} of a trial.

    Raises SearchLostError if there is nothing left to run them.
    """
    os.environ.update(QUIET)
    from ray import tune
    from ray.exceptions import RayError

    trainable = tune.with_parameters(_trainable(), study=study, store_uri=store_uri, sources=dict(sources))
    trainable = tune.with_resources(trainable, {"cpu": resources["num_cpus"], "gpu": resources["num_gpus"]})
    with tempfile.TemporaryDirectory(prefix="decoygrid-tune-", ignore_cleanup_errors=True) as folder:
        tuner = tune.Tuner(
            trainable,
            param_space={},
            tune_config=tune.TuneConfig(
                num_samples=driver.remaining,
                search_alg=_searcher(driver, concurrency),
                scheduler=_scheduler(driver),
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="search",
                storage_path=folder,
                callbacks=[_callback(driver)],
                failure_config=tune.FailureConfig(max_failures=LOST_TRIAL_RETRIES),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
            ),
        )
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # the driver says what fails, in one line
        try:
            tuner.fit()
        except (tune.TuneError, RayError) as error:
            last = str(error).strip().splitlines()[-1:]
            raise SearchLostError(f"Ray Tune gave up ({' '.join(last)[:300]})") from error


def measure_remotely(study: Study, store_uri: str, sources: Mapping[str, Path], resources: Mapping[str, float]) -> Any:
    """What the search measures of the undefended victim, by a worker that has what a trial has."""
    import ray

    task = ray.remote(_measure_undefended).options(max_retries=LOST_TRIAL_RETRIES, **resources)
    return ray.get(task.remote(study, store_uri, dict(sources)))


def _measure_undefended(study: Study, store_uri: str, sources: dict[str, Path]) -> dict[str, float]:
    from grid.search_trial import measure_undefended
    from grid.store import Store

    return measure_undefended(study, Store(store_uri), sources)


def _trainable() -> type:
    """The class of Tune's trials: a step is a rung."""
    from ray import tune

    from grid.search_trial import Trial

    class SearchTrial(tune.Trainable):  # type: ignore[misc]  # ray is untyped
        def setup(self, config: dict[str, Any], study: Study, store_uri: str, sources: dict[str, Path]) -> None:
            from grid.store import Store

            self._study, self._store, self._sources = study, Store(store_uri), sources
            self.reset_config(config)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self._settings = new_config
            self._trial: Trial | None = None
            return True

        def step(self) -> dict[str, Any]:
            """The next rung; a trial that cannot go on says why, and Tune does not try it again."""
            try:
                if self._trial is None:
                    settings = self._settings
                    self._trial = Trial(
                        self._study, settings["coefficients"], self._store, self._sources, settings["curve"]
                    )
                found = self._trial.advance()
            except Exception as error:  # noqa: BLE001  a trial may fail in any way; the search goes on without it
                return {"failed": f"{type(error).__name__}: {error}".splitlines()[0], "done": True}
            return {**found, "done": found["finished"]}

    return SearchTrial


def _searcher(driver: Driver, concurrency: int) -> Any:
    """Tune asks the driver for trials, and tells it how they ended."""
    from ray.tune.search import ConcurrencyLimiter, Searcher

    class Asking(Searcher):  # type: ignore[misc]  # ray is untyped
        def suggest(self, trial_id: str) -> Any:
            return driver.next(trial_id) or Searcher.FINISHED

        def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
            driver.ended(trial_id, result, "the worker was lost" if error else None)

        def set_search_properties(self, metric: Any, mode: Any, config: Any, **spec: Any) -> bool:
            return True

        def save(self, checkpoint_path: str) -> None:
            Path(checkpoint_path).touch()  # the record in the store is the state

        def restore(self, checkpoint_path: str) -> None:
            return

    return ConcurrencyLimiter(Asking(metric="mc_all", mode="max"), max_concurrent=concurrency)


def _scheduler(driver: Driver) -> Any:
    """Tune stops a trial when the driver says so."""
    from ray.tune.schedulers import FIFOScheduler, TrialScheduler

    class Obeying(FIFOScheduler):  # type: ignore[misc]  # ray is untyped
        def on_trial_result(self, tune_controller: Any, trial: Any, result: Any) -> str:
            goes_on = driver.goes_on(trial.trial_id, result)
            return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)

    return Obeying()


def _callback(driver: Driver) -> Any:
    """Tune hands every report to the driver, the last one of a stopped trial included."""
    from ray.tune import Callback

    class Reporting(Callback):  # type: ignore[misc]  # ray is untyped
        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
            driver.reported(trial.trial_id, result)

        def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            error = trial.get_error()
            if error is not None:
                driver.named(trial.config["number"], f"{type(error).__name__}: {error}".splitlines()[0])

    return Reporting()
