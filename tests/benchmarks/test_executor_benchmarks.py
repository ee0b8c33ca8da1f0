"""Records of the executor's benchmarks read back as they were written; the aims mean what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import schedule, schedule_record, stage_overhead, stage_record
from benchmarks.measured import Kind
from benchmarks.stage_record import Figures, Record, met
from grid.costs import Costs
from grid.expand import expand
from grid.spec_parser import load_spec

REPOSITORY = Path(__file__).parents[2]
RECORDS = REPOSITORY / "docs" / "results" / "records" / "benchmarks"
GOOD = Record((Figures(1000, 2.0, 1.0, 10.0, 0.5), Figures(10000, 22.0, 10.0, 100.0, 5.0)))


def test_the_aims_of_the_overhead() -> None:
    fewest, most = GOOD.figures
    assert GOOD.growth == pytest.approx(1.1)
    assert met(GOOD)
    assert not met(Record((fewest, most._replace(found=10.1))))
    assert not met(Record((fewest, most._replace(ours=31.0, bare=20.0)))), "no longer linear"
    assert not met(Record((fewest._replace(bare=0.6), most)))
    assert met(Record((fewest._replace(found=9.0),)))


def test_an_overhead_record_is_printed_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "record.json"
    stage_record.write_record(GOOD, path)
    assert stage_record.read_record(path) == GOOD
    assert stage_overhead.main(["--from", str(path)]) == 0
    said = capsys.readouterr().out
    assert "| 10000 | 2.20 ms | 1.00 ms | 2.20 | +100 MiB | 5.0 s |" in said
    assert "costs 2.2 ms, 2.2 times as much as a bare Ray task that writes it (1.0 ms; 10,000 stages)" in said
    stage_record.write_record(Record((GOOD.figures[0]._replace(bare=0.1),)), path)
    assert stage_overhead.main(["--from", str(path)]) == 1


def test_a_schedule_record_is_printed_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = (
        schedule_record.Figures(*numbers) for numbers in ((1, 110.0, 101.0, 100.0, 0.9), (2, 54.0, 63.0, 60.0, 1.2))
    )
    found = schedule_record.Record(30, (one, two))
    path = tmp_path / "record.json"
    schedule_record.write_record(found, path)
    assert schedule_record.read_record(path) == found
    assert schedule.main(["--from", str(path)]) == 0
    said = capsys.readouterr().out
    assert "differs from a measured one by +10% on 1 worker and -10% on 2 workers; with" in said
    assert "in the measured run, by +1% and +5% (they were 0.90 and 1.20 times the recorded ones)." in said
    schedule_record.write_record(schedule_record.Record(30, (one._replace(simulated=121.0),)), path)
    assert schedule.main(["--from", str(path)]) == 1


def test_a_run_that_was_slower_than_its_records_is_told_from_one_that_was_scheduled_otherwise() -> None:
    """All stages take twice as long as recorded: the error is that of the durations, and the stretch says so."""
    plan = expand(load_spec("orl_demo", ["budget=smoke", "labels=[0, 1]", "dataset={name: synthetic, size: 32}"]))
    stages = plan.stages().values()
    before = {s.key: {"kind": s.kind, "config": s.config, "seconds": 1.0} for s in stages}
    now = {key: {**record, "seconds": 2.0} for key, record in before.items()}
    measured = schedule.simulated(plan, Costs(now.values()), 2)
    figures = schedule.compared(plan, 2, before, now, measured)
    assert figures.stretch == pytest.approx(2.0)
    assert figures.scheduling_error == pytest.approx(0.0)
    assert figures.error == pytest.approx(-0.5, abs=0.02)


@pytest.mark.parametrize("main", [stage_overhead.main, schedule.main])
@pytest.mark.parametrize("text", ["", "[]", '{"figures": []}', '{"figures": [{"workers": 1, "stages": 0}]}'])
def test_what_is_no_record_is_said(main: Any, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)
    assert main(["--from", str(path)]) == 2
    assert f"--from {path}" in capsys.readouterr().err


def test_bad_counts_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert stage_overhead.main(["--stages", "3", "--stages", "20"]) == 2
    assert "--stages: must be from 10 to 1000000, got 3" in capsys.readouterr().err
    assert schedule.main(["--spec", "none_such"]) == 2
    assert schedule.main(["--record", str(tmp_path)]) == 2


@pytest.mark.parametrize(("name", "kind"), [("stage_overhead", stage_record.KIND), ("schedule", schedule_record.KIND)])
def test_the_docs_say_what_the_record_says(name: str, kind: Kind[Any]) -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert kind.sentence(kind.read(RECORDS / f"{name}.json")) in readme
