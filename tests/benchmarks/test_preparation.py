"""The benchmark of preparing, on a tree of 96 pictures: what it counts, what it keeps, what it refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import preparation, preparation_record
from benchmarks.preparation_record import Figures, met, read_record, sentence

DOCS = Path(__file__).parents[2] / "docs"


def test_a_small_tree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = tmp_path / "records" / "preparation.json"
    command = [sys.executable, "-m", "benchmarks.preparation", "--pictures", "96", "--labels", "24"]
    done = subprocess.run([*command, "--record", str(record)], capture_output=True, text=True, timeout=300)
    assert "Warning" not in done.stderr, "a child that finds its module imported before it is run says so"
    found = read_record(record)
    assert (found.pictures, found.labels, found.shards) == (96, 24, 3)
    assert found.done_when_killed == 1, "the first of 48, 24 and 24 pictures; killed at the 60th"
    assert (found.again, found.most_of_a_shard) == (12, 48), "those of the shard that was in hand"
    assert min(found.ours, found.plain, found.memory, found.memory_of_half) > 0
    assert preparation.main(["--from", str(record)]) == done.returncode
    assert capsys.readouterr().out == done.stdout
    assert "| pictures decoded again after it | " in done.stdout


FIGURES = Figures(100, 10, 4, 1.0, 1.0, 1.0, 1e9, 1e8, 1e8, 2, 110, 25)


@pytest.mark.parametrize(
    ("change", "good"),
    [
        ({}, True),
        ({"ours": 2.0}, False),
        ({"memory": 2e8}, False),
        ({"done_when_killed": 0}, False),
        ({"decoded_in_all": 150}, False),
    ],
)
def test_the_aims(change: dict[str, float], good: bool) -> None:
    assert met(FIGURES._replace(**change)) is good


def test_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert preparation.main(["--pictures", "10", "--labels", "24"]) == 2
    assert "--pictures: must be from 96" in capsys.readouterr().err
    assert preparation.main(["--labels", "2"]) == 2
    assert "--labels: must be from 12" in capsys.readouterr().err
    (tmp_path / "other.json").write_text("{}")
    assert preparation.main(["--from", str(tmp_path / "other.json")]) == 2
    assert "is no record of this benchmark" in capsys.readouterr().err
    preparation_record.write_record(FIGURES._replace(ours=0.0), tmp_path / "zero.json")
    assert preparation.main(["--from", str(tmp_path / "zero.json")]) == 2


def test_the_docs_say_what_the_record_says() -> None:
    record = read_record(DOCS / "results" / "records" / "benchmarks" / "preparation.json")
    assert met(record)
    assert record.pictures >= 50_000
    assert sentence(record) in (DOCS / "datasets.md").read_text(encoding="utf-8")
