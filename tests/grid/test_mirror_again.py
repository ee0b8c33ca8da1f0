"""The MLflow mirror: runs that follow from the store, however often and however badly they are sent."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from grid.mirror import SyncResult, _Client
from tests.grid.mirrored import FakeGrid
from tests.grid.tracked import COUNT, Tracking, send

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow"),
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]


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
