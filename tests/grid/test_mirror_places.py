"""The MLflow mirror: places that work and that do not, the background, and a process that prints nothing."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from grid.mirror import TrackingError, artifact_root_for, sync
from grid.mirror_background import Mirror
from tests.grid.mirrored import FakeGrid, table
from tests.grid.tracked import COUNT, Tracking, send

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow"),
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]


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
