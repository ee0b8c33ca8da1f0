"""An MLflow database as a person sees it, and how the tests send the small grid of tests/grid/mirrored.py there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from grid.mirror import SyncResult, sync
from tests.grid.mirrored import FakeGrid, table

COUNT = 13  # the grid, 2 rows with 2 cells each, 6 trained stages


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
