"""The MLflow mirror: what its runs show."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from grid.mirror import SyncResult
from grid.mirror_model import Grid, RunView
from grid.mirror_views import describe
from tests.grid.mirrored import FakeGrid, build
from tests.grid.tracked import COUNT, Tracking, send

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow"),
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Tracking:
    """What a first sync made; to be read only."""
    folder = tmp_path_factory.mktemp("sent")
    tracking, grid = Tracking(folder / "mlflow.db"), build(folder)
    shutil.copy(empty_database, tracking.path)
    assert send(grid, tracking) == SyncResult(created=COUNT)
    return tracking


def test_first_sync_makes_the_tree(sent: Tracking) -> None:
    tree = sent.tree()
    assert set(tree) == {
        "faces",
        "faces/victim vgg16_bn",
        "faces/evaluator ir_small",
        "faces/wgan defender",
        "faces/wgan attacker",
        "faces/gan_id label 0 seed 0",
        "faces/gan_id label 1 seed 0",
        *(f"faces/{defense} · gmi" for defense in ("none", "gan_id")),
        *(f"faces/{d} · gmi/label {label} seed 0" for d in ("none", "gan_id") for label in (0, 1)),
    }
    assert all(run.info.status == "FINISHED" for run in tree.values())


def test_rows_show_coefficients_and_pooled_metrics(sent: Tracking) -> None:
    row = sent.tree()["faces/gan_id · gmi"]

    assert {
        "alpha": "1",
        "gamma": "2",
        "lambda3": "10",
        "lpri": "detached",
    }.items() <= row.data.params.items()
    assert len(row.data.params) <= 12
    undefended = sent.tree()["faces/none · gmi"].data.params
    assert undefended == {
        "attack": "gmi",
        "defense": "none",
        "alpha": "0",
        "beta": "0",
        "omega": "0",
        "replay": "0",
    }
    assert row.data.metrics["aa_top1"] == pytest.approx(0.11)
    first = ["aa_top1", "aa_top1_second", "aa_top5", "mc_all", "mc_target", "target_confidence"]
    assert sorted(row.data.metrics)[:6] == first  # seven are seen without scrolling
    assert "to_private/frechet_evaluator" in row.data.metrics
    absent = {"aa_top1_low", "aa_top1_high", "fid_inception", "labels"}
    assert not absent & set(row.data.metrics)
    assert set(sent.files(row)) == {"cells.csv", "inverted.png"}


def test_cells_measure_their_own_label(sent: Tracking) -> None:
    cell = sent.tree()["faces/gan_id · gmi/label 1 seed 0"]

    assert cell.data.params == {"attack": "gmi", "defense": "gan_id", "label": "1", "seed": "0", "decoy": "5"}
    assert cell.data.metrics["aa_top1"] == pytest.approx(0.12)
    assert cell.data.metrics["mc_target"] == 0.5  # of two test pictures


def test_curves_are_logged_by_step_at_the_stages_own_time(sent: Tracking) -> None:
    run = sent.tree()["faces/wgan attacker"]
    history = sent.history(run, "wasserstein")

    assert [step for step, _, _ in history] == list(range(1, 20))  # the first value is missing
    assert history[0][1] > run.info.start_time
    assert history[-1][1] == run.info.end_time
    assert [value for *_, value in history] == [3 / (1 + step) for step in range(1, 20)]
    assert sent.history(run, "accuracy") == [(0, run.info.end_time, 0.9)]
    assert run.data.params == {"role": "attacker", "seed": "0"}
    assert sorted(sent.files(run)) == ["over_time.png", "samples.png"]


def test_grid_run_holds_the_table_the_spec_and_attachments(grid: FakeGrid, tracking: Tracking, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    report.write_text("<p>report</p>")
    attachments = {"report.html": report, "more/labels.html": report, "absent.png": tmp_path / "absent.png"}
    progress: list[tuple[int, int]] = []
    send(grid, tracking, attachments=attachments, on_progress=lambda *at: progress.append(at))
    assert progress[-1] == (COUNT, COUNT)
    files = tracking.files(tracking.tree()["faces"])

    assert set(files) == {"more/labels.html", "comparison.csv", "comparison.md", "spec.yaml", "report.html"}
    assert b"aa_top1_low" in files["comparison.csv"]
    assert "0.11 [0.06, 0.16]" in files["comparison.md"].decode()
    assert files["report.html"] == b"<p>report</p>"


def test_no_private_picture_unless_asked_for(grid: FakeGrid, tracking: Tracking) -> None:
    def names() -> set[str]:
        return {name for run in tracking.runs() for name in tracking.files(run)}

    send(grid, tracking)
    assert names() == {
        "cells.csv",
        "inverted.png",
        "samples.png",
        "over_time.png",
        "comparison.csv",
        "comparison.md",
        "spec.yaml",
    }
    send(grid, tracking, private_images=True)
    assert "private_reference.png" in names()
    send(grid, tracking)
    assert "private_reference.png" not in names()
    assert not list(tracking.path.parent.rglob("private_reference.png"))


def test_people_are_not_named(sent: Tracking) -> None:
    told = [(run.data.params, run.data.tags) for run in sent.runs()]
    assert "s23" not in json.dumps(told)


def test_a_grid_that_runs_shows_whole_cells_and_then_rows(grid: FakeGrid, tracking: Tracking) -> None:
    missing = grid.document["rows"][1]["cells"][1]["evaluate"]
    failed = grid.document["rows"][0]["cells"][0]["accuracy"]
    grid.store.invalidate(missing)
    send(grid, tracking, live=True)
    tree = tracking.tree()
    row = tree["faces/gan_id · gmi"]

    assert (row.info.status, row.data.metrics) == ("RUNNING", {})
    assert missing in row.data.tags["mlflow.note.content"]
    assert "faces/gan_id · gmi/label 1 seed 0" not in tree
    assert tree["faces/none · gmi"].data.metrics
    grid.cell("gan_id", 1, 0, grid.document["rows"][1]["cells"][1]["target"], "")
    grid.store.invalidate(failed)
    grid.store.fail(failed, "out of memory", "log")
    send(grid, tracking)
    tree = tracking.tree()

    assert tree["faces/gan_id · gmi"].info.run_id == row.info.run_id  # nothing had to be made anew
    assert tree["faces/gan_id · gmi"].info.status == "FINISHED"
    assert tree["faces/none · gmi"].info.status == "FAILED"
    assert "failed: out of memory" in tree["faces"].data.tags["mlflow.note.content"]


def test_two_victims_are_told_apart_by_name(grid: FakeGrid) -> None:
    other = json.loads(json.dumps(grid.document["rows"][0])) | {"victim": "vgg16"}
    grid.document["rows"].append(other)
    views = describe(_view_of(grid))

    names = [view.name for view in views if view.key.startswith("row/")]
    assert names == ["vgg16_bn · none · gmi", "vgg16_bn · gan_id · gmi", "vgg16 · none · gmi"]
    assert len({view.key for view in views}) == len(views)


def _view_of(grid: FakeGrid) -> Grid:
    records: Mapping[str, Any] = grid.store.records(grid.document["stages"])
    return Grid(grid.document, records, grid.store.load)


def test_digest_is_of_all_that_is_shown() -> None:
    view = RunView("k", None, "n", "FINISHED", 0, 1, "note", {"a": "1"}, "source")
    others = [
        RunView("k", None, "m", "FINISHED", 0, 1, "note", {"a": "1"}, "source"),
        RunView("k", None, "n", "FAILED", 0, 1, "note", {"a": "1"}, "source"),
        RunView("k", None, "n", "FINISHED", 0, 2, "note", {"a": "1"}, "source"),
        RunView("k", None, "n", "FINISHED", 0, 1, "other", {"a": "1"}, "source"),
        RunView("k", None, "n", "FINISHED", 0, 1, "note", {"a": "2"}, "source"),
        RunView("k", None, "n", "FINISHED", 0, 1, "note", {"a": "1"}, "other"),
    ]
    assert len({view.digest, *(other.digest for other in others)}) == 7
