"""The MLflow mirror: a view of the store that can be rebuilt from it at any time. mlflow is used only here.

Runs are found by the tag `decoygrid.key` and skipped if `decoygrid.digest`, written last, says that they show
what they shall: syncing twice changes nothing, and a sync that was killed halfway is repaired by the next.
Requests that nobody answers are sent again for a minute (mirror_trouble.py); several writers of the same runs end
with one of each (mirror_sending.py).
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from grid.mirror_model import Grid, Point, Record, Row, RunView
from grid.mirror_place import DEFAULTS, QUICK, TrackingError, artifact_root_for, check_place, environment, public, quiet
from grid.mirror_sending import (
    DIGEST,
    KEY,
    PARENT,
    SOURCE,
    UNFINISHED,
    ContestedError,
    Sending,
    contradicts,
    survivors,
)
from grid.mirror_trouble import Patience, Trouble, patiently, reason_of, slow, trouble_of
from grid.mirror_views import describe
from grid.store import Store

__all__ = ["SyncResult", "TrackingError", "artifact_root_for", "send", "sync"]

NOTE, NAME = "mlflow.note.content", "mlflow.runName"
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # its page: runs, not traces
OURS = ("grid/", "row/", "cell/", "stage/")
PAGE = 1000
PATIENCE, NONE = Patience(), Patience(total=0.0)
_FAILURES = (OSError, ImportError, NotImplementedError)  # beside those of mlflow and what it calls
T = TypeVar("T")


@dataclass(frozen=True)
class SyncResult:
    """Numbers of runs; `damaged`: artifacts that could not be read, whose runs the next sync tries again."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    damaged: tuple[str, ...] = ()


def sync(
    document: Mapping[str, Any],
    store: Store,
    tracking_uri: str,
    *,
    rows: Sequence[Row],
    private_images: bool = False,
    attachments: Mapping[str, Path] | None = None,
    live: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> SyncResult:
    """Make the experiment `document["name"]` show what the store holds of this grid.

    `rows`: lines of the comparison table (its CSV names; None is absent). `attachments`: files for the grid's
    run, by name; the caller answers for what they show. `live`: the grid still runs, so a row gets its
    numbers once all its cells are done, and no run is taken away but doubles: another driver of the same spec may
    know more. `on_progress(done, total)` is called after each run. Raises TrackingError.
    """
    records = store.records(document["stages"])
    grid = Grid(
        document=document,
        records=records,
        load=store.load,
        rows=tuple(rows),
        failed=_failures(document, records, store),
        attachments=attachments or {},
        private_images=private_images,
        live=live,
    )
    views, ours = describe(grid), () if live else OURS
    return send(views, document["name"], tracking_uri, ours=ours, on_progress=on_progress, settle=not live)


def send(
    views: Sequence[RunView],
    experiment_name: str,
    tracking_uri: str,
    *,
    ours: tuple[str, ...],
    on_progress: Callable[[int, int], None] | None = None,
    settle: bool = True,
) -> SyncResult:
    """Make an experiment show these runs, parents before their children, and no others whose keys begin with `ours`.

    settle: look afterwards whether it does, since others may write at the same time. Raises TrackingError.
    """
    with quiet():
        try:
            work = Sending(_Client(tracking_uri, experiment_name), views, ours, on_progress, settle)
            reason = work.run()
        except ContestedError as error:
            reason = str(error)
        if reason is not None:
            raise TrackingError(public(tracking_uri), reason)
    outcomes = list(work.outcomes.values())
    created, updated = outcomes.count("created"), outcomes.count("updated")
    unchanged = len(views) - len(outcomes) - len(work.damaged)
    return SyncResult(created, updated, unchanged, len(work.removed), tuple(work.damaged.values()))


class _Client:
    """What the mirror does in one experiment of MLflow. Its failures are TrackingErrors, or ContestedError."""

    def __init__(self, uri: str, experiment: str) -> None:
        self._uri = uri
        check_place(uri)
        for name, value in DEFAULTS.items():
            os.environ.setdefault(name, value)
        try:
            from mlflow import MlflowClient
            from mlflow.exceptions import MlflowException
            from requests.exceptions import RequestException
            from sqlalchemy.exc import SQLAlchemyError
        except ImportError as error:
            raise TrackingError(public(uri), reason_of(error)) from error
        self._failures = (MlflowException, RequestException, SQLAlchemyError, *_FAILURES)
        self._mlflow = self._do(lambda: MlflowClient(tracking_uri=uri))
        self._experiment = self._open(experiment)

    def _do(self, call: Callable[[], T], patience: Patience | None = None) -> T:
        """What the call returns, with patience; its failure in our words."""
        try:
            return patiently(call, PATIENCE if patience is None else patience)
        except self._failures as error:
            trouble, reason = trouble_of(error), reason_of(error)
            if trouble is Trouble.CONTESTED:
                raise ContestedError(reason) from error
            raise TrackingError(public(self._uri), reason, refused=trouble is Trouble.REFUSED) from error

    def _open(self, name: str) -> str:
        """Id of the experiment, made or restored if need be."""
        for _ in range(3):  # another writer may make or restore it first
            found = self._look_up(name)
            try:
                if found is None:
                    root = artifact_root_for(self._uri)
                    place = root and f"{root}/{quote(name)}"
                    make = partial(self._mlflow.create_experiment, name, artifact_location=place, tags=EXPERIMENT_TAGS)
                    return str(self._do(make))
                if found.lifecycle_stage != "active":
                    self._do(partial(self._mlflow.restore_experiment, found.experiment_id))
                return str(found.experiment_id)
            except ContestedError as error:
                reason = str(error)
        raise TrackingError(public(self._uri), reason)

    def _look_up(self, name: str) -> Any:
        """The experiment or None. A dead server is found here, without retries; a busy one is waited for."""
        look = partial(self._mlflow.get_experiment_by_name, name)
        try:
            with environment(QUICK):
                return self._do(look, NONE)
        except TrackingError as error:
            if not slow(error):
                raise
        return self._do(look)

    def runs(self) -> list[Any]:
        """All runs of ours and of other grids and searches in the experiment."""
        return self._search(f"tags.`{KEY}` LIKE '%'")

    def newest(self, key: str, seen: Any) -> Any:
        """The run of a key as it is now; `seen` if that cannot be asked."""
        mark = next((mark for mark in ("'", '"') if mark not in key and "\\" not in key), None)
        if mark is None:  # MLflow's filters have no way to write it
            return seen
        kept, _ = survivors(self._search(f"tags.`{KEY}` = {mark}{key}{mark}"), [key], ())
        return kept.get(key)

    def _search(self, chosen: str) -> list[Any]:
        found: list[Any] = []
        token = None
        while True:
            page = self._do(
                partial(self._mlflow.search_runs, [self._experiment], chosen, max_results=PAGE, page_token=token)
            )
            found += page
            token = page.token
            if not token:
                return found

    def fill(self, view: RunView, run: Any, parent: str | None) -> str:
        """Make one run show `view`; returns its id. A run with other numbers is made anew."""
        with tempfile.TemporaryDirectory(prefix="decoygrid-") as folder:
            points = view.points()
            for file in view.files:
                path = Path(folder, file.name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(file.render())
            if run is not None and contradicts(run, view):
                self.drop(run)
                run = None
            tags = {KEY: view.key, SOURCE: view.source, NOTE: view.note, DIGEST: UNFINISHED}
            tags |= {PARENT: parent} if parent else {}
            old = run is not None
            if not old:
                run = self._create(view, tags)
            try:
                if old:
                    self._tag(run.info.run_id, {**tags, NAME: view.name})
                    self._drop_files(run, {file.name for file in view.files})
                self._fill(run.info, view, points, folder)
            except ContestedError:
                self._clear(run)
                raise
        return str(run.info.run_id)

    def adopt(self, run: Any, parent: str) -> None:
        """Put a run below another parent."""
        self._tag(run.info.run_id, {PARENT: parent})

    def drop(self, run: Any) -> None:
        """Delete a run and its artifacts (a private picture must not stay behind). Done twice, it is done."""
        self._drop_files(run, set())
        self._do(partial(self._mlflow.delete_run, run.info.run_id))

    def _clear(self, run: Any) -> None:
        """Remove the artifacts that we went on sending after another writer had deleted the run."""
        with contextlib.suppress(ContestedError):
            if self._do(partial(self._mlflow.get_run, run.info.run_id)).info.lifecycle_stage != "active":
                self._drop_files(run, set())

    def _create(self, view: RunView, tags: Mapping[str, str]) -> Any:
        return self._do(partial(self._mlflow.create_run, self._experiment, view.started, dict(tags), view.name))

    def _tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        told = [RunTag(name, value) for name, value in tags.items()]
        self._do(lambda: self._mlflow.log_batch(run_id, tags=told, synchronous=True))

    def _fill(self, info: Any, view: RunView, points: Sequence[Point], folder: str) -> None:
        """Send all but the first tags, the digest last. MLflow does not double a point that is there."""
        from mlflow.entities import Metric, Param

        if view.files:
            self._do(lambda: self._mlflow.log_artifacts(info.run_id, folder))
        params = [Param(name, value) for name, value in view.params.items()]
        metrics = [Metric(*point) for point in points]
        # cuts itself into batches of what a server takes; whatever the environment says, it is there when this returns
        self._do(lambda: self._mlflow.log_batch(info.run_id, metrics=metrics, params=params, synchronous=True))
        if view.status != "RUNNING":
            self._do(lambda: self._mlflow.set_terminated(info.run_id, view.status, view.ended))
        elif info.status != "RUNNING":
            self._do(lambda: self._mlflow.update_run(info.run_id, status="RUNNING"))
        self._tag(info.run_id, {DIGEST: view.digest})

    def _drop_files(self, run: Any, kept: set[str]) -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        listed = self._do(lambda: self._mlflow.list_artifacts(run.info.run_id))
        stale = [file.path for file in listed if file.path not in kept]
        if stale:
            repository = get_artifact_repository(run.info.artifact_uri, tracking_uri=self._uri)
            for path in stale:
                self._do(partial(repository.delete_artifacts, path))


def _failures(document: Mapping[str, Any], records: Mapping[str, Record], store: Store) -> dict[str, str]:
    found = store.failures(key for key in document["stages"] if key not in records)
    return {key: str(failure["error"]) for key, failure in found.items()}
