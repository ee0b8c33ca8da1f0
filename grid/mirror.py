"""The MLflow mirror: a view of the store that can be rebuilt from it at any time. mlflow is used only here.

Runs are found by the tag `decoygrid.key` and skipped if `decoygrid.digest`, written last, says that they show
what they shall: syncing twice changes nothing, and a sync that was killed halfway is repaired by the next.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from grid.mirror_model import Grid, Point, Record, Row, RunView
from grid.mirror_place import (
    DEFAULTS,
    QUICK,
    TrackingError,
    artifact_root_for,
    check_place,
    environment,
    public,
    quiet,
    reason_of,
)
from grid.mirror_views import describe
from grid.store import Store
from tasks.artifact import DamagedArtifactError

__all__ = ["SyncResult", "TrackingError", "artifact_root_for", "send", "sync"]

KEY, DIGEST, SOURCE = "decoygrid.key", "decoygrid.digest", "decoygrid.source"
UNFINISHED = "unfinished"
PARENT, NOTE, NAME = "mlflow.parentRunId", "mlflow.note.content", "mlflow.runName"
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # its page: runs, not traces
OURS = ("grid/", "row/", "cell/", "stage/")
PAGE = 1000
_FAILURES = (OSError, ImportError, NotImplementedError)  # beside those of mlflow and what it calls


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
    numbers once all its cells are done. `on_progress(done, total)` is called after each run.
    Raises TrackingError.
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
    return send(describe(grid), document["name"], tracking_uri, ours=OURS, on_progress=on_progress)


def send(
    views: Sequence[RunView],
    experiment_name: str,
    tracking_uri: str,
    *,
    ours: tuple[str, ...],
    on_progress: Callable[[int, int], None] | None = None,
) -> SyncResult:
    """Make an experiment show these runs, parents before their children, and no others whose keys begin with `ours`.

    Raises TrackingError.
    """
    counts = {"created": 0, "updated": 0, "unchanged": 0, "removed": 0}
    damaged: list[str] = []
    with quiet():
        client = _Client(tracking_uri)
        experiment = client.experiment(experiment_name)
        runs, surplus = client.find(experiment, {view.key: view.digest for view in views}, ours)
        counts["removed"] = len(surplus)
        for run in surplus:
            client.drop(run)
        ids = {key: run.info.run_id for key, run in runs.items()}
        for done, view in enumerate(views, 1):
            try:
                parent = ids.get(view.parent) if view.parent else None
                outcome, ids[view.key] = client.put(experiment, view, runs.get(view.key), parent)
                counts[outcome] += 1
            except DamagedArtifactError as error:
                damaged.append(str(error))
            if on_progress is not None:
                on_progress(done, len(views))
    return SyncResult(**counts, damaged=tuple(damaged))


class _Client:
    """What the mirror does with MLflow; every failure of it is a TrackingError."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        check_place(uri)
        for name, value in DEFAULTS.items():
            os.environ.setdefault(name, value)
        with self._guard():
            from mlflow import MlflowClient

            self._mlflow = MlflowClient(tracking_uri=uri)

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        from mlflow.exceptions import MlflowException
        from requests.exceptions import RequestException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (MlflowException, RequestException, SQLAlchemyError, *_FAILURES) as error:
            raise TrackingError(public(self._uri), reason_of(error)) from error

    def experiment(self, name: str) -> str:
        """Id of the experiment, made or restored if need be. A dead server is found here, without retries."""
        with self._guard():
            with environment(QUICK):
                found = self._mlflow.get_experiment_by_name(name)
            if found is None:
                root = artifact_root_for(self._uri)
                return str(self._mlflow.create_experiment(name, artifact_location=root and f"{root}/{quote(name)}"))
            if found.lifecycle_stage != "active":
                self._mlflow.restore_experiment(found.experiment_id)
            return str(found.experiment_id)

    def find(
        self, experiment: str, digests: Mapping[str, str], ours: tuple[str, ...] = OURS
    ) -> tuple[dict[str, Any], list[Any]]:
        """(the run of each known key, the surplus: doubles and runs that the grid no longer has)."""
        found, token = [], None
        with self._guard():
            while True:
                page = self._mlflow.search_runs(
                    [experiment], f"tags.`{KEY}` LIKE '%'", max_results=PAGE, page_token=token
                )
                found += page
                token = page.token
                if not token:
                    break
        # Of doubles the one that is complete stays, else any.
        found.sort(key=lambda run: run.info.run_id)
        found.sort(key=lambda run: run.data.tags.get(DIGEST) != digests.get(run.data.tags[KEY]))
        kept: dict[str, Any] = {}
        surplus = []
        for run in found:
            key = run.data.tags[KEY]
            if key in digests and key not in kept:
                kept[key] = run
            elif key in kept or key.startswith(ours):
                surplus.append(run)
        return kept, surplus

    def put(self, experiment: str, view: RunView, run: Any, parent: str | None) -> tuple[str, str]:
        """Make one run show `view`; returns (outcome, run id). A run with other numbers is made anew."""
        tags = {PARENT: parent} if parent else {}
        if run is not None and run.data.tags.get(DIGEST) == view.digest:
            if parent in (None, run.data.tags.get(PARENT)):
                return "unchanged", run.info.run_id
            self._tag(run.info.run_id, tags)
            return "updated", run.info.run_id
        with tempfile.TemporaryDirectory(prefix="decoygrid-") as folder:
            points = view.points()
            for file in view.files:
                path = Path(folder, file.name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(file.render())
            outcome = "created" if run is None else "updated"
            if run is not None and _contradicts(run, view):
                self.drop(run)
                run = None
            tags |= {KEY: view.key, SOURCE: view.source, NOTE: view.note}
            if run is None:
                run = self._create(experiment, view, tags)
            else:
                self._tag(run.info.run_id, {**tags, NAME: view.name, DIGEST: UNFINISHED})
                self._drop_files(run, {file.name for file in view.files})
            self._fill(run.info, view, points, folder)
        return outcome, run.info.run_id

    def drop(self, run: Any) -> None:
        """Delete a run and its artifacts (a private picture must not stay behind)."""
        self._drop_files(run, set())
        with self._guard():
            self._mlflow.delete_run(run.info.run_id)

    def _create(self, experiment: str, view: RunView, tags: Mapping[str, str]) -> Any:
        with self._guard():
            return self._mlflow.create_run(experiment, view.started, dict(tags), view.name)

    def _tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        with self._guard():
            self._mlflow.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])

    def _fill(self, info: Any, view: RunView, points: Sequence[Point], folder: str) -> None:
        """Send all but the first tags, the digest last. MLflow does not double a point that is there."""
        from mlflow.entities import Metric, Param

        with self._guard():
            if view.files:
                self._mlflow.log_artifacts(info.run_id, folder)
            params = [Param(name, value) for name, value in view.params.items()]
            metrics = [Metric(*point) for point in points]
            self._mlflow.log_batch(info.run_id, metrics=metrics, params=params)  # cuts itself into batches
            if view.status != "RUNNING":
                self._mlflow.set_terminated(info.run_id, view.status, view.ended)
            elif info.status != "RUNNING":
                self._mlflow.update_run(info.run_id, status="RUNNING")
        self._tag(info.run_id, {DIGEST: view.digest})

    def _drop_files(self, run: Any, kept: set[str]) -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        with self._guard():
            stale = [file.path for file in self._mlflow.list_artifacts(run.info.run_id) if file.path not in kept]
            if stale:
                repository = get_artifact_repository(run.info.artifact_uri, tracking_uri=self._uri)
                for path in stale:
                    repository.delete_artifacts(path)


def _contradicts(run: Any, view: RunView) -> bool:
    """Whether the run shows what MLflow cannot change: another value of a param, or other metrics."""
    if any(view.params.get(name) != value for name, value in run.data.params.items()):
        return True
    return bool(run.data.metrics) and run.data.tags.get(SOURCE) != view.source


def _failures(document: Mapping[str, Any], records: Mapping[str, Record], store: Store) -> dict[str, str]:
    found = {key: store.failure(key) for key in document["stages"] if key not in records}
    return {key: str(failure["error"]) for key, failure in found.items() if failure is not None}
