"""The MLflow mirror: runs that follow from the store, however often and however badly they are sent."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from grid.mirror import SyncResult, TrackingError, _Client, artifact_root_for, sync
from grid.mirror_background import Mirror
from grid.mirror_model import Grid, RunView
from grid.mirror_views import describe
from tests.grid.mirrored import FakeGrid, build, table

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow"),
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]
COUNT = 13  # the grid, 2 rows with 2 cells each, 6 trained stages


@pytest.fixture
def tracking(tmp_path: Path, empty_database: Path) -> Tracking:
    path = tmp_path / "tracking" / "mlflow.db"
    path.parent.mkdir()
    shutil.copy(empty_database, path)
    return Tracking(path)


@pytest.fixture
def grid(tmp_path: Path) -> FakeGrid:
    return build(tmp_path)


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Tracking:
    """What a first sync made; to be read only."""
    folder = tmp_path_factory.mktemp("sent")
    tracking, grid = Tracking(folder / "mlflow.db"), build(folder)
    shutil.copy(empty_database, tracking.path)
    assert send(grid, tracking) == SyncResult(created=COUNT)
    return tracking


class Tracking:
    """A tracking database as a person sees it: runs by path of names."""

    def __init__(self, path: Path) -> None:
        self.path, self.uri = path, f"sqlite:///{path}"

    @property
    def client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.uri)

    def runs(self) -> list[Any]:
        experiment = self.client.get_experiment_by_name("faces")
        return list(self.client.search_runs([experiment.experiment_id]))

    def tree(self) -> dict[str, Any]:
        """Active runs by 'parent/child' path of names; fails if two have the same."""
        by_id = {run.info.run_id: run for run in self.runs()}

        def path(run: Any) -> str:
            parent = run.data.tags.get("mlflow.parentRunId")
            return run.info.run_name if parent is None else f"{path(by_id[parent])}/{run.info.run_name}"

        tree = {path(run): run for run in by_id.values()}
        assert len(tree) == len(by_id)
        return tree

    def content(self) -> dict[str, Any]:
        """All that must be equal after a rebuild: names, params, every metric point, times, notes, files."""
        return {
            path: {
                "params": run.data.params,
                "points": {name: self.history(run, name) for name in run.data.metrics},
                "times": (run.info.start_time, run.info.end_time, run.info.status),
                "note": run.data.tags["mlflow.note.content"],
                "files": self.files(run),
            }
            for path, run in self.tree().items()
        }

    def history(self, run: Any, name: str) -> list[tuple[int, int, float]]:
        points = self.client.get_metric_history(run.info.run_id, name)
        return sorted((point.step, point.timestamp, point.value) for point in points)

    def files(self, run: Any, folder: str | None = None) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for file in self.client.list_artifacts(run.info.run_id, folder):
            if file.is_dir:
                found |= self.files(run, file.path)
            else:
                path = self.client.download_artifacts(run.info.run_id, file.path)
                found[file.path] = Path(path).read_bytes()
        return found


def send(grid: FakeGrid, tracking: Tracking, **options: Any) -> SyncResult:
    return sync(grid.document, grid.store, tracking.uri, rows=table(grid.document), **options)


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


def test_syncing_twice_adds_nothing(grid: FakeGrid, tracking: Tracking) -> None:
    send(grid, tracking)
    before = tracking.content()

    assert send(grid, tracking) == SyncResult(unchanged=COUNT)
    assert tracking.content() == before


def test_all_comes_back_after_the_database_was_deleted(
    grid: FakeGrid, tracking: Tracking, empty_database: Path
) -> None:
    send(grid, tracking)
    before = tracking.content()
    moved = tracking.path.with_name("again") / "mlflow.db"  # mlflow keeps the first file open in this process
    moved.parent.mkdir()
    shutil.copy(empty_database, moved)
    rebuilt = Tracking(moved)

    assert send(grid, rebuilt) == SyncResult(created=COUNT)
    assert rebuilt.content() == before


class KilledError(BaseException):
    """Stands for SIGKILL: nothing catches it."""


@pytest.mark.parametrize("write", ["_create", "log_batch", "set_terminated"])
def test_a_sync_killed_halfway_is_repaired_by_the_next(
    grid: FakeGrid, tracking: Tracking, monkeypatch: pytest.MonkeyPatch, write: str
) -> None:
    from mlflow import MlflowClient

    owner: type = _Client if write.startswith("_") else MlflowClient
    for survived in (3, 5):
        with monkeypatch.context() as patch:
            patch.setattr(owner, write, _killed_after(getattr(owner, write), survived))
            with pytest.raises(KilledError):
                send(grid, tracking)
    result = send(grid, tracking)

    assert result.removed == 0
    assert result.created + result.updated + result.unchanged == COUNT
    assert send(grid, tracking) == SyncResult(unchanged=COUNT)
    points = tracking.history(tracking.tree()["faces/wgan attacker"], "wasserstein")
    assert len(points) == 19


def _killed_after(call: Callable[..., Any], survived: int) -> Callable[..., Any]:
    calls = iter(range(survived))

    def killed(*args: Any, **options: Any) -> Any:
        if next(calls, None) is None:
            raise KilledError
        return call(*args, **options)

    return killed


def test_doubles_are_removed(grid: FakeGrid, tracking: Tracking) -> None:
    send(grid, tracking)
    before = tracking.content()
    for run in tracking.runs()[:3]:
        tags = {"decoygrid.key": run.data.tags["decoygrid.key"]}
        tracking.client.create_run(run.info.experiment_id, run.info.start_time, tags, "double")

    result = send(grid, tracking)
    assert (result.created, result.removed) == (0, 3)
    assert tracking.content() == before
    assert send(grid, tracking) == SyncResult(unchanged=COUNT)


def test_a_stage_computed_again_is_shown_anew(grid: FakeGrid, tracking: Tracking) -> None:
    send(grid, tracking)
    cell = grid.document["rows"][1]["cells"][0]
    grid.cell("gan_id", 0, 0, cell["target"], cell["train"], again=1)
    result = send(grid, tracking)

    assert (result.created, result.removed) == (0, 0)
    shown = tracking.tree()["faces/gan_id · gmi/label 0 seed 0"]
    assert shown.data.metrics["aa_top1"] == pytest.approx(0.111)
    assert len(tracking.history(shown, "aa_top1")) == 1
    assert send(grid, tracking) == SyncResult(unchanged=COUNT)


def test_rows_that_left_the_grid_are_removed_and_others_runs_are_kept(grid: FakeGrid, tracking: Tracking) -> None:
    send(grid, tracking)
    experiment = tracking.client.get_experiment_by_name("faces").experiment_id
    tracking.client.create_run(experiment, tags={"decoygrid.key": "search/7"}, run_name="a search's")
    tracking.client.create_run(experiment, run_name="by hand")
    del grid.document["rows"][1]
    result = send(grid, tracking)

    assert result.removed == 3  # the row and its two cells
    names = {path.split("/")[-1] for path in tracking.tree()}
    assert {"a search's", "by hand", "none · gmi"} <= names
    assert "gan_id · gmi" not in names


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


def test_a_damaged_artifact_does_not_stop_the_others(grid: FakeGrid, tracking: Tracking) -> None:
    attack = grid.document["rows"][0]["cells"][0]["attack"]
    path = grid.store.load(attack).path("images.safetensors")
    sound = path.read_bytes()
    path.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    grid.store.invalidate(attack)  # forget that it was found sound
    grid.cell("none", 0, 0, grid.document["rows"][0]["cells"][0]["target"], "")
    path.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    result = send(grid, tracking)

    assert attack in result.damaged[0]
    assert result.created == COUNT - 2  # the cell and its row
    path.write_bytes(grid.images(12).tobytes())
    grid.cell("none", 0, 0, grid.document["rows"][0]["cells"][0]["target"], "", again=1)
    send(grid, tracking)
    assert len(tracking.tree()) == COUNT


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


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("http://127.0.0.1:9", "nobody answers there"),
        ("postgresql://user:secret@127.0.0.1:9/mlflow", "Connection refused"),
        ("./mlruns", "use sqlite:///"),
        ("sqlite:////dev/null/mlflow.db", "cannot be written"),
    ],
)
def test_a_place_that_does_not_work_is_told_at_once(grid: FakeGrid, uri: str, reason: str) -> None:
    began = time.monotonic()
    with pytest.raises(TrackingError) as caught:
        sync(grid.document, grid.store, uri, rows=[])

    assert time.monotonic() - began < 5
    assert reason in str(caught.value)
    assert "decoygrid sync" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_locked_database_is_told(grid: FakeGrid, tracking: Tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grid.mirror_place.LOCK_SECONDS", 0.1)
    with closing(sqlite3.connect(tracking.path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TrackingError, match="database is locked"):
            send(grid, tracking)
        other.rollback()
    assert send(grid, tracking).created == COUNT


def test_artifacts_lie_beside_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert artifact_root_for("sqlite:////srv/x/mlflow.db") == "file:///srv/x/mlartifacts"
    assert artifact_root_for("sqlite:///mlflow.db") == f"{tmp_path.as_uri()}/mlartifacts"
    assert artifact_root_for("http://host:5000") is None


def test_background_mirror_sends_all_before_it_closes(grid: FakeGrid, tracking: Tracking) -> None:
    asked: list[int] = []

    def rows() -> list[dict[str, Any]]:
        asked.append(1)
        return table(grid.document)

    mirror = Mirror(lambda: grid.document, grid.store, tracking.uri, rows, interval=60)
    for _ in range(50):
        mirror.notify()
    assert mirror.close() is None
    assert len(asked) <= 2
    assert len(tracking.tree()) == COUNT


def test_background_mirror_returns_what_went_wrong(grid: FakeGrid, tracking: Tracking) -> None:
    away = Mirror(lambda: grid.document, grid.store, "http://127.0.0.1:9", lambda: [], interval=0)
    away.notify()
    error = away.close()
    assert isinstance(error, TrackingError)
    assert "nobody answers" in str(error)

    def broken() -> list[dict[str, Any]]:
        raise ValueError("no such column")

    error = Mirror(lambda: grid.document, grid.store, tracking.uri, broken).close()
    assert "ValueError: no such column" in str(error)
    assert Mirror(lambda: None, grid.store, tracking.uri, broken).close() is None


def test_nothing_is_printed_and_mlflow_is_imported_late(grid: FakeGrid, tmp_path: Path) -> None:
    """In a process of its own, over a database that is not there yet."""
    (tmp_path / "document.json").write_text(json.dumps(grid.document))
    script = """
import json, sys
from pathlib import Path
from grid.mirror import sync
from grid.mirror_background import Mirror
from grid.store import Store
assert not {"mlflow", "torch"} & set(sys.modules)
document, store, folder = json.loads(Path(sys.argv[1]).read_text()), Store(sys.argv[2]), sys.argv[3]
print(sync(document, store, f"sqlite:///{folder}/mlflow.db", rows=[]).created)
assert "torch" not in sys.modules
"""
    folder = tmp_path / "new" / "folder"
    command = [
        sys.executable,
        "-c",
        script,
        str(tmp_path / "document.json"),
        grid.store.location,
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{COUNT}\n", "")
    assert list((folder / "mlartifacts").rglob("inverted.png"))
