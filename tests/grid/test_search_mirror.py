"""A search in MLflow: a run a trial, sent twice without a double, beside the grid's runs that stay."""

from __future__ import annotations

import copy
import csv
import io
from pathlib import Path
from typing import Any

import pytest

from grid.commands import report_search, sync_grid
from grid.mirror import sync
from grid.mirror_search import describe_search, sync_search
from grid.search_space import Space
from grid.store import Store
from tests.grid.mirrored import build, table
from tests.grid.searching import ledger, metrics, space_of
from tests.grid.specs import write

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow"),
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    """Four trials, one of each state; the first was picked and confirmed."""
    space: Space = space_of(tmp_path)
    found = ledger(Store(str(tmp_path / "store")), space)
    for number in range(1, 5):
        chosen = {"alpha": float(number), "lambda3": 10.0, "omega": 1.0}
        found.open(number, chosen, {0: f"finetune-{number}", 3: f"finetune-{number}b"}, 200)
        for step in (25, 50, 100)[: 5 - number]:
            found.point(number, step, 2 * step, metrics(aa_top1=step / 1000), 1.0)
    found.close(1, "finished")
    found.close(2, "stopped", rung=2)
    found.close(3, "failed", error="FloatingPointError: the fine-tune has diverged")
    rates = {**metrics(aa_top1=0.25), "aa_top1_low": 0.125, "aa_top1_high": 0.5}
    confirmed = {**rates, "attack": "gmi", "by_attack": {"gmi": rates}}
    pick = {"pick": "max-privacy-at-drop=3", "trial": "t0001", "search": metrics(aa_top1=0.1)}
    found.document["picks"] = [{**pick, "confirmed": confirmed, "grid": "small-mine.x"}]
    found.document["experiment"] = "faces"
    found.write()
    return found.copy()


def test_every_trial_is_a_run_below_the_searchs(document: dict[str, Any]) -> None:
    parent, *trials = describe_search(document)
    assert parent.parent is None
    assert {view.parent for view in trials} == {parent.key}
    assert [view.name for view in trials] == ["t0001", "t0002", "t0003", "t0004"]
    assert [view.status for view in trials] == ["FINISHED", "KILLED", "FAILED", "KILLED"]
    first, second, third, fourth = trials
    assert first.params == {"alpha": "1", "lambda3": "10", "omega": "1", "state": "finished"}
    assert (second.params["state"], second.params["rung"]) == ("stopped", "2")
    assert "stopped at rung 2" in second.note
    assert "rung" not in {**first.params, **third.params}
    assert "state" not in fourth.params, "it would have to change"
    document["trials"][0]["artifacts"] = {"0": "finetune-x", "3": "finetune-x", "4": "finetune-y"}
    assert "labels 0, 3: `finetune-x`, label 4: `finetune-y`" in describe_search(document)[1].note
    document["trials"][0]["artifacts"] = {"0:0": "finetune-x", "3:0": "finetune-x", "0:1": "finetune-y"}
    assert "labels 0, 3, seed 0: `finetune-x`, label 0, seed 1: `finetune-y`" in describe_search(document)[1].note
    assert "diverged" in third.note
    assert "finetune-1b" in first.note
    curve = {(point.key, point.step): point.value for point in first.points()}
    assert curve["aa_top1", 25] == 0.025
    assert curve["aa_top1", 100] == 0.1
    assert fourth.points() == [], "a curve that still grows would be sent again and again"
    assert describe_search(document, live=True)[4].status == "RUNNING"


def test_the_seeds_that_trials_are_measured_on_are_a_param(document: dict[str, Any]) -> None:
    assert "seeds" not in describe_search(document)[0].params, "a record that does not tell"
    document["measured_by"]["seeds"] = [3, 5]
    params = describe_search(document)[0].params
    assert (params["seed"], params["seeds"]) == ("0", "3, 5")


def test_the_winners_curse_is_among_the_searchs_metrics(document: dict[str, Any]) -> None:
    points = {point.key: point.value for point in describe_search(document)[0].points()}
    assert points["max-privacy-at-drop_3/search/aa_top1"] == 0.1
    assert points["max-privacy-at-drop_3/confirmed/aa_top1"] == 0.25
    assert points["max-privacy-at-drop_3/confirmed/aa_top1_high"] == 0.5
    assert points["undefended/search/aa_top1"] == 0.5
    assert "confirmed mc_all 90.0%" in describe_search(document)[0].note
    assert "aa_top1 25.0% [12.5–50.0]" in describe_search(document)[0].note


def test_a_coefficient_named_steps_does_not_hide_the_steps(document: dict[str, Any]) -> None:
    document["space"]["steps"] = {"kind": "choice", "low": None, "high": None, "values": [60, 100], "log": False}
    document["space_order"] = ["steps", "alpha", "lambda3", "omega"]
    for trial in document["trials"]:
        trial["coefficients"]["steps"] = 60
    files = {file.name: file for file in describe_search(document)[0].files}
    first = next(csv.DictReader(io.StringIO(files["trials.csv"].render().decode())))
    assert (first["steps"], first["coefficients.steps"]) == ("200", "60")
    assert [name for name in first if name.startswith("coefficients.")][:2] == [
        "coefficients.steps",
        "coefficients.alpha",
    ]
    assert files["space.yaml"].render().decode().startswith("steps:")


def test_sent_twice_nothing_changes_and_the_grids_runs_stay(document: dict[str, Any], tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    grid = build(tmp_path / "grid")
    sync(grid.document, grid.store, uri, rows=table(grid.document))
    picture = tmp_path / "pareto.png"
    picture.write_bytes(b"a picture")
    assert sync_search(document, uri, attachments={"pareto.png": picture}).created == 5
    again = sync_search(document, uri, attachments={"pareto.png": picture})
    assert (again.created, again.updated, again.unchanged, again.removed) == (0, 0, 5, 0)
    other = copy.deepcopy(document)
    other["name"] = "min"  # the beginning of the other's name
    assert sync_search(other, uri).created == 5
    regrid = sync(grid.document, grid.store, uri, rows=table(grid.document))
    assert (regrid.created, regrid.updated, regrid.removed) == (0, 0, 0)
    grown = copy.deepcopy(document)
    grown["trials"][3] |= {"state": "finished", "ended": grown["trials"][3]["started"] + 5}
    after = sync_search(grown, uri, attachments={"pareto.png": picture})
    assert (after.created, after.removed) == (0, 0)
    assert after.unchanged == 3, "the other trials"
    found = sorted(_keys(uri))
    assert len(found) == len(set(found)), "no run is doubled"
    assert sum(key.startswith("trial/mine/") for key in found) == 4
    assert sum(key.startswith("row/") for key in found) == len(grid.document["rows"])
    assert _names(uri, "params.state = 'finished' and params.alpha = '1'") == ["t0001"] * 2
    assert _names(uri, "params.state = 'stopped' and params.rung = '2'") == ["t0002"] * 2, "of both searches"
    assert _names(uri, "tags.mlflow.note.content LIKE '%on the front.%'") == ["t0001"] * 2


def test_a_sync_brings_the_pictures_too_and_twice_it_changes_nothing(tmp_path: Path, capsys: Any) -> None:
    """What the search itself attached is not taken away by rebuilding the view from the store."""
    uri, store = f"sqlite:///{tmp_path}/mlflow.db", Store(str(tmp_path / "store"))
    found = ledger(store, space_of(tmp_path))
    for number in range(1, 4):
        found.open(number, {"alpha": float(number), "lambda3": 10.0, "omega": 1.0}, {0: f"finetune-{number}"}, 100)
        found.point(number, 100, 100, metrics(aa_top1=number / 10), 1.0)
        found.close(number, "finished")
    spec = write(tmp_path)
    files = report_search(found.copy(), tmp_path / "own")
    sync_search(found.copy(), uri, attachments=files)
    assert sync_grid(spec, [], store_uri=store.location, tracking=uri, private_images=False) == 0
    capsys.readouterr()
    assert {"pareto.png", "search.md", "parallel_coordinates.png", "trials.csv"} <= _files(uri, "search/mine/")
    assert sync_grid(spec, [], store_uri=store.location, tracking=uri, private_images=False) == 0
    assert "0 runs created, 0 updated" in capsys.readouterr().out


def _files(uri: str, key: str) -> set[str]:
    """Names of the files that are attached to a run."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    (run,) = client.search_runs(experiments, f"tags.`decoygrid.key` = '{key}'")
    return {file.path for file in client.list_artifacts(run.info.run_id)}


def _names(uri: str, chosen: str) -> list[str]:
    """Names of the trials that a filter of MLflow's run list leaves."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()], chosen)
    return sorted(run.info.run_name for run in runs if run.data.tags["decoygrid.key"].startswith("trial/"))


def _keys(uri: str) -> list[str]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    tags = [run.data.tags for run in client.search_runs(experiments)]
    return [tag["decoygrid.key"] for tag in tags if "decoygrid.key" in tag]
