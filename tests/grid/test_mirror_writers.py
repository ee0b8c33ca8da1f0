"""Several writers of the same MLflow runs, in any order of their steps: one whole run a key, below its parent."""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from grid import mirror_sending
from grid.mirror import SyncResult, sync
from grid.mirror_model import Point, RunView
from grid.mirror_sending import DIGEST, KEY, PARENT, SOURCE, UNFINISHED, ContestedError, Sending, survivors
from tests.grid.mirrored import FakeGrid, build, table
from tests.grid.tracked import COUNT

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow"),
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]


class Table:
    """Runs as a server keeps them: every step of a client is atomic, two steps are not."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.rows: dict[str, dict[str, str]] = {}
        self.deleted: set[str] = set()

    def active(self) -> list[Any]:
        return [
            SimpleNamespace(info=SimpleNamespace(run_id=id_), data=SimpleNamespace(tags=dict(tags)))
            for id_, tags in sorted(self.rows.items())
            if id_ not in self.deleted
        ]


class Writer:
    """A client that takes its time between any two steps, and whose listing comes in pages that shift meanwhile."""

    def __init__(self, server: Table, seed: int) -> None:
        self._server, self._random = server, random.Random(seed)
        self.steps = 0

    def _step(self) -> threading.Lock:
        self.steps += 1
        time.sleep(self._random.choice((0, 0, 0.0002, 0.001)))
        return self._server.lock

    def runs(self) -> list[Any]:
        found: list[Any] = []
        for page in range(100):
            with self._step():
                rows = self._server.active()
            found += rows[page * 20 : page * 20 + 20]
            if len(rows) <= page * 20 + 20:
                break
        return found

    def newest(self, key: str, seen: Any) -> Any:
        with self._step():
            return next((run for run in self._server.active() if run.data.tags[KEY] == key), None)

    def _set(self, id_: str, tags: dict[str, str]) -> None:
        with self._step():
            if id_ in self._server.deleted:
                raise ContestedError(f"{id_} must be in the 'active' state")
            self._server.rows[id_] |= tags

    def fill(self, view: RunView, run: Any, parent: str | None) -> str:
        tags = {KEY: view.key, SOURCE: view.source, DIGEST: UNFINISHED} | ({PARENT: parent} if parent else {})
        id_ = f"{self._random.getrandbits(64):016x}" if run is None else run.info.run_id
        if run is None:
            with self._step():
                self._server.rows[id_] = tags
        else:
            self._set(id_, tags)
        self._set(id_, {"points": str(len(view.points()))})
        self._set(id_, {DIGEST: view.digest})
        return str(id_)

    def adopt(self, run: Any, parent: str) -> None:
        self._set(run.info.run_id, {PARENT: parent})

    def drop(self, run: Any) -> None:
        with self._step():
            self._server.deleted.add(run.info.run_id)


def views_of(rows: int, cells: int) -> list[RunView]:
    found = [RunView("grid/x", None, "x", "FINISHED", 0, 1, "")]
    for row in range(rows):
        found.append(RunView(f"row/{row}", "grid/x", f"r{row}", "FINISHED", 0, 1, ""))
        for cell in range(cells):
            points = [Point("aa_top1", 0.5, 1, 0)]
            key, parent = f"cell/{row}/{cell}", f"row/{row}"
            found.append(RunView(key, parent, f"c{cell}", "FINISHED", 0, 1, "", source="s", points=lambda p=points: p))
    return found


def check(server: Table, views: list[RunView]) -> None:
    """One whole run a view, below the one run of its parent."""
    runs = server.active()
    by_key = {run.data.tags[KEY]: run for run in runs}
    assert len(runs) == len(by_key) == len(views)
    for view in views:
        run = by_key[view.key]
        assert run.data.tags[DIGEST] == view.digest
        assert run.data.tags["points"] == str(len(view.points()))
        assert run.data.tags.get(PARENT) == (by_key[view.parent].info.run_id if view.parent else None)


@pytest.mark.parametrize("seed", range(3))
def test_eight_writers_end_with_one_run_a_key(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror_sending, "PAUSE", 0.002)
    server, views = Table(), views_of(6, 9)
    works = [Sending(Writer(server, 100 * seed + i), views, ("grid/", "row/", "cell/")) for i in range(8)]
    told: list[str | None] = []
    threads = [threading.Thread(target=lambda work=work: told.append(work.run())) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == [None] * 8
    check(server, views)
    assert len(server.deleted) < len(views), "most doubles are not made in the first place"
    again = Sending(writer := Writer(server, 0), views, ("grid/", "row/", "cell/"))
    assert again.run() is None
    assert again.outcomes == {}
    assert writer.steps == 4, "61 runs in pages of 20, and nothing else"


def test_a_writer_that_died_leaves_nothing_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror_sending, "PAUSE", 0.002)
    server, views = Table(), views_of(2, 3)
    for survived in (0, 1, 5, 9, 20):
        client = Writer(server, survived)
        steps = iter(range(survived))

        def mortal(real: Any = client._step, steps: Any = steps) -> Any:
            if next(steps, None) is None:
                raise KeyboardInterrupt
            return real()

        monkeypatch.setattr(client, "_step", mortal)
        with pytest.raises(KeyboardInterrupt):
            Sending(client, views, ()).run()
    assert Sending(Writer(server, 99), views, ()).run() is None
    check(server, views)


def test_runs_that_change_each_time_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror_sending, "PAUSE", 0.0)
    server, views = Table(), views_of(1, 1)
    writer = Writer(server, 0)

    def contested(*arguments: Any) -> str:
        raise ContestedError("the run was deleted")

    monkeypatch.setattr(writer, "fill", contested)
    assert "the run was deleted" in str(Sending(writer, views, ()).run())


def test_a_double_that_another_removes_first_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror_sending, "PAUSE", 0.0)
    server, views = Table(), views_of(1, 1)
    Sending(Writer(server, 0), views, ()).run()
    server.rows["0"] = {KEY: "row/0"}
    writer = Writer(server, 1)
    real = writer.drop

    def late(run: Any) -> None:
        real(run)
        raise ContestedError("no such run")

    monkeypatch.setattr(writer, "drop", late)
    work = Sending(writer, views, ())
    assert work.run() is None
    assert work.removed == set()
    check(server, views)


def test_a_live_sync_goes_over_it_once() -> None:
    server, views = Table(), views_of(1, 1)
    writer = Writer(server, 0)
    assert Sending(writer, views, (), settle=False).run() is None
    check(server, views)
    listed = [1 for _ in writer.runs()]
    assert len(listed) == 3
    assert writer.steps == 1 + 3 * 4 + 1, "a listing, a look and three requests a run; the second listing is the test's"


def test_all_choose_the_same_of_doubles_and_a_run_listed_twice_is_one() -> None:
    server = Table()
    for id_, key in (("b", "row/1"), ("a", "row/1"), ("c", "row/1"), ("d", "row/2"), ("e", "mine/1")):
        server.rows[id_] = {KEY: key, DIGEST: UNFINISHED if id_ == "a" else "done"}
    runs = server.active()
    for _ in range(5):
        random.shuffle(runs)
        kept, surplus = survivors([*runs, *runs], {"row/1"}, ("row/",))
        assert {key: run.info.run_id for key, run in kept.items()} == {"row/1": "a"}
        assert [run.info.run_id for run in surplus] == ["b", "c", "d"]
    kept, surplus = survivors(runs, {"row/1"}, ())
    assert [run.info.run_id for run in surplus] == ["b", "c"], "while a grid runs, only doubles"


# The same with MLflow itself: another writer's whole sync falls between any two requests of ours.


def send(grid: FakeGrid, uri: str) -> SyncResult:
    return sync(grid.document, grid.store, uri, rows=table(grid.document))


def by_key(uri: str) -> dict[str, Any]:
    """Runs of the experiment by key; fails if two have the same."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    found = client.search_runs([client.get_experiment_by_name("faces").experiment_id])
    runs = {run.data.tags[KEY]: run for run in found}
    assert len(runs) == len(found)
    return runs


@pytest.mark.parametrize(
    ("request_", "number"),
    [
        ("create_experiment", 0),
        ("search_runs", 2),
        ("create_run", 1),
        ("create_run", 12),
        ("log_artifacts", 3),
        ("log_batch", 9),
        ("set_terminated", 5),
    ],
)
def test_another_sync_between_two_requests(
    tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch, request_: str, number: int
) -> None:
    from mlflow import MlflowClient

    monkeypatch.setattr(mirror_sending, "PAUSE", 0.01)
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    grid, uri = build(tmp_path), f"sqlite:///{tmp_path}/mlflow.db"
    real: Callable[..., Any] = getattr(MlflowClient, request_)
    calls = iter(range(number + 1))
    others: list[SyncResult] = []

    def interrupted(*arguments: Any, **options: Any) -> Any:
        if next(calls, None) == number:
            others.append(send(grid, uri))
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, request_, interrupted)
        ours = send(grid, uri)
    (other,) = others
    assert other.created >= 1
    assert ours.damaged == other.damaged == ()
    runs = by_key(uri)
    assert len(runs) == COUNT
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    ids = {run.info.run_id for run in runs.values()}
    assert all(run.data.tags[PARENT] in ids for key, run in runs.items() if not key.startswith("grid/"))
    assert all(run.data.metrics for key, run in runs.items() if not key.startswith("grid/"))
    assert send(grid, uri) == SyncResult(unchanged=COUNT)
    kept = {path.parent.parent.name for path in (tmp_path / "mlartifacts").rglob("*.*")}
    assert kept <= ids, "the files of doubles are gone"


def test_a_long_run_is_sent_in_batches_that_a_server_takes(tmp_path: Path, empty_database: Path) -> None:
    """MLflow takes 1000 metrics, 100 params and 100 tags a request."""
    from mlflow import MlflowClient

    from grid.mirror import send as send_views

    shutil.copy(empty_database, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    points = [Point("loss", i / 7, 1000 + i, i) for i in range(2500)]
    params = {f"p{i:03}": f"{'é' * 400}{i}" for i in range(230)}
    view = RunView("stage/long", None, "long", "FINISHED", 1, 2, "n" * 9000, params, "s", lambda: points)
    assert send_views([view], "faces", uri, ours=()).created == 1
    run = by_key(uri)["stage/long"]
    assert run.data.params == params
    history = MlflowClient(tracking_uri=uri).get_metric_history(run.info.run_id, "loss")
    assert sorted((p.step, p.timestamp, p.value) for p in history) == [(p.step, p.timestamp, p.value) for p in points]
    assert send_views([view], "faces", uri, ours=()).unchanged == 1
