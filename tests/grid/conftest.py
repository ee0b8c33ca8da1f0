"""Fixtures of the grid's tests."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from grid.mirror_place import check_place
from tests.grid.mirrored import FakeGrid, build
from tests.grid.tracked import Tracking


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables in a SQLite file, to be copied: it takes seconds to make them, so once for all tests."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    check_place(f"sqlite:///{path}")
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.fixture
def tracking(tmp_path: Path, empty_database: Path) -> Tracking:
    """A database without runs, in a folder of its own."""
    path = tmp_path / "tracking" / "mlflow.db"
    path.parent.mkdir()
    shutil.copy(empty_database, path)
    return Tracking(path)


@pytest.fixture
def grid(tmp_path: Path) -> FakeGrid:
    """The small finished grid."""
    return build(tmp_path)
