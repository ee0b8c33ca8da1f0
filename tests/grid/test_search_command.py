"""`decoygrid search`: bad input at once and in full; and, with real Ray, a driver that is killed and taken up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from grid.commands import run_grid
from grid.places import document_name
from grid.problems import SpecError
from grid.search_options import SearchOptions, check_search
from grid.store import Store
from tests.grid.specs import write

SPACE = """
from ray import tune
SPACE = {
    "alpha": tune.choice([1.0, 2.0, 3.0]),  # three
    "lr": tune.choice([1.0e-3, 1.0e30]),  # the second diverges
}
"""
LIMIT = 300


def arguments(folder: Path, spec: str, space: str, *more: str) -> list[str]:
    place = ["--store", str(folder / "store"), "--out", str(folder / "out")]
    return [sys.executable, "-m", "grid", "search", spec, "--space", space, *place, *more]


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    """Of the spec, the space and the options: exit 2, each with its place and the valid choices, no traceback."""
    space = tmp_path / "mine.py"
    space.write_text(SPACE.replace('"alpha"', '"alhpa"').replace("[1.0e-3, 1.0e30]", "[]"))
    spec = write(tmp_path, attacks=["gmj"])
    options = ("--algorithm", "optna", "--scheduler", "ash", "--trials", "0", "--objectives", "aa_top2")
    more = ("--pick", "elbow", "--max-drop", "300", "--name", "a/b", "--rungs", "0.5,0.25,1")
    done = subprocess.run(arguments(tmp_path, spec, str(space), *options, *more), capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    for said in (
        "did you mean 'optuna'? choose one of: grid, hyperopt, optuna, random",
        "did you mean 'asha'",
        "--trials: must be at least 1",
        "choose one of: aa_top1, aa_top5, mc_all, mc_target",
        "--pick: must be knee",
        "--max-drop",
        "--name",
        "--rungs: must be shares of a trial's steps that rise to 1, such as 0.25,0.5,1",
        "did you mean 'gmi'",
        "did you mean 'alpha'",
        "a choice needs values",
    ):
        assert said in done.stderr, said
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("rungs", ["", "0.5", "1,1", "0,1", "nan,1", "0.5,x,1", "0.5,2", "1"])
def test_rungs_that_cannot_be(tmp_path: Path, rungs: str) -> None:
    """The last one would do without a scheduler: asha has nothing to stop at the end."""
    with pytest.raises(SpecError) as refused:
        check_search(write(tmp_path), [], SearchOptions("finetune", 1, rungs=rungs))
    (problem,) = refused.value.problems
    assert problem.place == "--rungs"
    assert check_search(write(tmp_path), [], SearchOptions("finetune", 1, scheduler="none", rungs="1"))


def test_a_space_that_does_not_fit_the_spec_is_refused_with_the_rest(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        check_search(write(tmp_path), [], SearchOptions("joint", 5, algorithm="x"))
    assert {problem.place.split()[-1] for problem in caught.value.problems} == {"--algorithm", "protect"}


def test_a_grid_that_cannot_hold_the_choices_is_refused_before_anything_runs(tmp_path: Path) -> None:
    space = tmp_path / "mine.py"
    space.write_text(SPACE)
    with pytest.raises(SpecError, match="--trials: the choices of 'mine' alone have 6 combinations, but got trials=5"):
        check_search(write(tmp_path), [], SearchOptions(str(space), 5, algorithm="grid"))
    check_search(write(tmp_path), [], SearchOptions(str(space), 6, algorithm="grid"))


def test_an_algorithm_whose_package_is_missing_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "hyperopt", None)
    with pytest.raises(SpecError, match="pip install hyperopt"):
        check_search(write(tmp_path), [], SearchOptions("finetune", 5, algorithm="hyperopt"))


def test_a_grid_does_not_overwrite_the_search_of_an_earlier_version(tmp_path: Path) -> None:
    store, record = Store(str(tmp_path / "store")), {"name": "x", "trials": []}
    store.write_document(document_name("search-x"), record)
    options: dict[str, Any] = {"tracking": "none", "address": "local", "in_process": True, "out": tmp_path / "out"}
    with pytest.raises(SpecError, match="would overwrite the record of the search 'x'"):
        run_grid(
            write(tmp_path, name="search-x"),
            [],
            store_uri=store.location,
            private_images=False,
            as_json=False,
            **options,
        )
    assert store.read_document(document_name("search-x")) == record


@pytest.mark.ray
def test_a_killed_driver_is_taken_up_and_nothing_is_run_twice(tmp_path: Path) -> None:
    """Three of six trials diverge. Killed after two; --resume reaches six, and MLflow has each once."""
    spec, space = write(tmp_path), tmp_path / "mine.py"
    space.write_text(SPACE)
    tracking = f"sqlite:///{tmp_path}/mlflow.db"
    fixed = ("--trials", "6", "--algorithm", "grid", "--concurrency", "1", "--pick", "none", "--tracking", tracking)
    command = arguments(tmp_path, spec, str(space), "--scheduler", "none", *fixed)
    record = tmp_path / "store" / "searches" / "small-mine.json"
    with (tmp_path / "first.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for(lambda: len(ended(record)) >= 2, process)
        process.kill()
        process.wait(LIMIT)
    before = ended(record)
    tuned = stamps(tmp_path)
    done = subprocess.run([*command, "--resume", "--json"], capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 1, "trials have failed, and the exit code says so"
    document = json.loads(done.stdout)
    trials = {trial["id"]: trial for trial in document["trials"]}
    assert len(trials) == 6
    assert sorted(trial["state"] for trial in trials.values()) == ["failed"] * 3 + ["finished"] * 3
    assert all("diverged" in trial["error"] for trial in trials.values() if trial["state"] == "failed")
    assert {name: trials[name] for name in before} == before, "what had ended is as it was"
    assert tuned.items() <= stamps(tmp_path).items(), "no stored fine-tune was written again"
    assert set(document["front"]) <= {name for name, trial in trials.items() if trial["state"] == "finished"}
    assert runs(tracking) == sorted(trials)


def ended(record: Path) -> dict[str, Any]:
    try:
        document = json.loads(record.read_text())
    except (OSError, ValueError):
        return {}
    return {trial["id"]: trial for trial in document["trials"] if trial["state"] != "running"}


def stamps(folder: Path) -> dict[str, int]:
    """When each fine-tune was finished."""
    return {path.parent.name: path.stat().st_mtime_ns for path in (folder / "store").glob("finetune-*/done.json")}


def runs(tracking: str) -> list[str]:
    """Names of the trials' runs in MLflow, from a process of its own: its engine leaves warnings behind."""
    program = (
        "from mlflow import MlflowClient\n"
        f"client = MlflowClient(tracking_uri={tracking!r})\n"
        "ids = [experiment.experiment_id for experiment in client.search_experiments()]\n"
        "keys = [run.data.tags.get('decoygrid.key', '') for run in client.search_runs(ids)]\n"
        "print(*sorted(key.rpartition('/')[2] for key in keys if key.startswith('trial/')))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ)
    return done.stdout.split()


def wait_for(condition: Any, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert process.poll() is None, "the search ended before it could be disturbed"
        assert time.monotonic() < deadline, "nothing to disturb turned up"
        time.sleep(0.1)
