"""A team's MLflow, for real: PostgreSQL, a server that is killed and comes back, and several writers of one grid."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks import team_mirror, team_server
from benchmarks.team_checks import checks
from benchmarks.team_mirror import Outcome, run_team
from grid.mirror_model import File, Point, RunView
from grid.mirror_sending import DIGEST, KEY, PARENT

REPOSITORY = Path(__file__).parents[2]
ABSENT = team_server.missing()


@pytest.mark.skipif(ABSENT is not None, reason=str(ABSENT))
@pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow")
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
def test_every_run_is_there_once_though_the_server_and_a_writer_were_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(team_mirror, "AWAY", 0.5)
    found = run_team(tmp_path, runs=40, writers=3)
    print(found.report())
    assert found.runs >= 40
    assert len(found.checks) == 9
    assert [name for name, good in found.checks.items() if not good] == []
    assert found.removed < found.runs, "most doubles are not made in the first place"


class Tables:
    """Stands for the database: as it shall be, but for one thing."""

    def __init__(self, views: list[RunView]) -> None:
        ids = {view.key: view.key.replace("/", "-") for view in views}  # which name folders
        self.runs = [[ids[view.key], view.name, view.status, view.started, view.ended] for view in views]
        self.kinds: dict[str, dict[str, dict[str, str]]] = {"params": {}, "tags": {}}
        self.metrics: dict[str, Counter[Point]] = {}
        for view in views:
            parent = {PARENT: ids[view.parent]} if view.parent else {}
            self.kinds["tags"][ids[view.key]] = {KEY: view.key, DIGEST: view.digest, **parent}
            self.kinds["params"][ids[view.key]] = dict(view.params)
            self.metrics[ids[view.key]] = Counter(view.points())

    def rows(self, query: str) -> list[Any]:
        return self.runs

    def pairs(self, kind: str) -> dict[str, dict[str, str]]:
        return self.kinds[kind]

    def points(self) -> dict[str, Counter[Point]]:
        return self.metrics


POINT = Point("aa_top1", 0.5, 2, 0)
FILE = File("table.csv", "s", lambda: b"a,b")
VIEWS = [
    RunView("grid/x", None, "x", "FINISHED", 1, 2, "", {"budget": "smoke"}),
    RunView("row/1", "grid/x", "r", "FINISHED", 1, 2, "", {"alpha": "1"}, "s", lambda: [POINT], (FILE,)),
]
ROW = "row-1"


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda tables, folder: None, None),
        (lambda tables, folder: tables.runs.pop(), "exactly one run per row, cell and trained stage"),
        (
            lambda tables, folder: (
                tables.runs.append(["twice", *tables.runs[1][1:]]),
                tables.kinds["tags"].__setitem__("twice", {KEY: "row/1"}),
            ),
            "exactly one run per row, cell and trained stage",
        ),
        (lambda tables, folder: tables.metrics[ROW].update([POINT]), "every metric point, once"),
        (lambda tables, folder: tables.metrics.pop(ROW), "every metric point, once"),
        (lambda tables, folder: tables.kinds["params"][ROW].update(alpha="2"), "every param"),
        (lambda tables, folder: tables.runs[1].__setitem__(2, "RUNNING"), "every name, status and time"),
        (lambda tables, folder: tables.kinds["tags"][ROW].update({PARENT: "gone"}), "every run below its parent"),
        (lambda tables, folder: tables.kinds["tags"][ROW].update({DIGEST: "unfinished"}), "every run said to be whole"),
        (lambda tables, folder: (folder / "table.csv").write_bytes(b"a"), "every artifact, and none of a removed run"),
        (
            lambda tables, folder: shutil.copytree(folder, folder.parents[1] / "removed" / "artifacts"),
            "every artifact, and none of a removed run",
        ),
    ],
)
def test_the_benchmark_sees_what_is_wrong(tmp_path: Path, spoil: Any, told: str | None) -> None:
    folder = tmp_path / "1" / ROW / "artifacts"
    folder.mkdir(parents=True)
    (folder / "table.csv").write_bytes(b"a,b")
    tables: Any = Tables(VIEWS)
    spoil(tables, folder)
    found = checks(tables, tmp_path, VIEWS)
    assert [name for name, good in found.items() if not good] == ([told] if told else [])


def test_bad_input_and_a_missing_postgresql_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert team_mirror.main(["--runs", "3"]) == 2
    assert "--runs 3: must be 20 or more" in capsys.readouterr().err
    assert team_mirror.main(["--record", str(tmp_path)]) == 2
    assert "cannot be written" in capsys.readouterr().err
    monkeypatch.setattr(team_server, "_programs", lambda: None)
    assert team_mirror.main([]) == 2
    assert "apt install postgresql" in capsys.readouterr().err


def test_a_record_says_what_was_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    outcome = Outcome(500, 8, {"every param": False}, {"all writers": 12.0}, 3, 2, 500.0, ["nobody answers there"])
    monkeypatch.setattr(team_mirror, "missing", lambda: None)
    monkeypatch.setattr(team_mirror, "run_team", lambda folder, runs, writers: outcome)
    assert team_mirror.main(["--record", str(tmp_path / "new" / "record.json")]) == 1
    record = json.loads((tmp_path / "new" / "record.json").read_text())
    assert (record["runs"], record["checks"], record["cpus"]) == (500, {"every param": False}, os.cpu_count())
    told = capsys.readouterr().out
    assert "FAILED  every param" in told
    assert "a writer was told: nobody answers there" in told


def test_the_docs_say_what_the_record_says() -> None:
    record = json.loads((REPOSITORY / "docs/results/records/benchmarks/team_mirror.json").read_text(encoding="utf-8"))
    assert record["runs"] >= 500
    assert record["writers"] == 8
    assert len(record["checks"]) == 9
    assert all(record["checks"].values())
    assert team_mirror.sentence(record) in (REPOSITORY / "docs/mlflow.md").read_text(encoding="utf-8")
