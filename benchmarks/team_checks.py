"""What is in a team's MLflow, read from PostgreSQL and from the artifacts' folder, against what there shall be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy

from grid.mirror_model import Point, RunView
from grid.mirror_sending import DIGEST, KEY, PARENT

RUNS = "SELECT run_uuid, name, status, start_time, end_time FROM runs WHERE lifecycle_stage = 'active'"


class Database:
    """MLflow's tables."""

    def __init__(self, uri: str) -> None:
        self._engine = sqlalchemy.create_engine(uri)

    def rows(self, query: str) -> list[Any]:
        with self._engine.connect() as connection:
            return list(connection.execute(sqlalchemy.text(query)))

    def active_runs(self) -> int:
        return int(self.rows("SELECT count(*) FROM runs WHERE lifecycle_stage = 'active'")[0][0])

    def deleted_runs(self) -> int:
        return int(self.rows("SELECT count(*) FROM runs WHERE lifecycle_stage = 'deleted'")[0][0])

    def pairs(self, kind: str) -> dict[str, dict[str, str]]:
        """`tags` or `params` by run."""
        found: dict[str, dict[str, str]] = {}
        for run, name, value in self.rows(f"SELECT run_uuid, key, value FROM {kind}"):
            found.setdefault(run, {})[name] = value
        return found

    def points(self) -> dict[str, Counter[Point]]:
        """Every point of every metric by run."""
        found: dict[str, Counter[Point]] = {}
        for run, *point in self.rows("SELECT run_uuid, key, value, timestamp, step FROM metrics WHERE NOT is_nan"):
            found.setdefault(run, Counter())[Point(*point)] += 1
        return found

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *error: Any) -> None:
        self._engine.dispose()


def checks(database: Database, artifacts: Path, views: Sequence[RunView]) -> dict[str, bool]:
    """By what is asked: whether it holds."""
    runs = {row[0]: row for row in database.rows(RUNS)}
    tags, params, points = database.pairs("tags"), database.pairs("params"), database.points()
    keys = Counter(tags[run][KEY] for run in runs)
    by_key = {tags[run][KEY]: run for run in runs}
    found = {
        "exactly one run per row, cell and trained stage": keys == Counter(view.key for view in views),
    }
    if not found["exactly one run per row, cell and trained stage"]:
        return found
    pairs = [(view, by_key[view.key]) for view in views]
    return found | {
        "every metric point, once": _all(
            points.get(run, Counter()) == Counter(set(view.points())) for view, run in pairs
        ),
        "every param": _all(params.get(run, {}) == dict(view.params) for view, run in pairs),
        "every name, status and time": _all(
            tuple(runs[run][1:]) == (view.name, view.status, view.started, view.ended) for view, run in pairs
        ),
        "every run below its parent": _all(
            tags[run].get(PARENT) == (by_key[view.parent] if view.parent else None) for view, run in pairs
        ),
        "every run said to be whole": _all(tags[run][DIGEST] == view.digest for view, run in pairs),
        "every artifact, and none of a removed run": _files(artifacts)
        == {(run, file.name): file.render() for view, run in pairs for file in view.files},
    }


def _all(answers: Iterable[bool]) -> bool:
    """Of runs; of none it does not hold."""
    found = list(answers)
    return bool(found) and all(found)


def _files(artifacts: Path) -> dict[tuple[str, str], bytes]:
    """Contents by (run, name): the server keeps them as EXPERIMENT/RUN/artifacts/NAME."""
    found = {}
    for path in artifacts.rglob("*"):
        if path.is_file():
            _, run, _, *name = path.relative_to(artifacts).parts
            found[run, "/".join(name)] = path.read_bytes()
    return found
