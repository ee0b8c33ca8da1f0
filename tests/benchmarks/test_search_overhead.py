"""The bare loop does the same work as a search's trial, to the digit; and what the figures of the benchmark mean."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import pytest

from benchmarks import search_overhead
from benchmarks.bare_tune import Bare, Clocks
from benchmarks.overhead_record import Record, read_record, report, sentence, write_record
from benchmarks.search_overhead import Pair, figures
from benchmarks.search_table import read_table
from grid.search_driver import Driver
from grid.search_proposals import make_proposals
from grid.search_trial import Trial, measure_undefended, rungs_of
from grid.spec_parser import load_spec
from grid.store import Store
from tests.grid.searching import GOALS, build, ledger, study

REPOSITORY = Path(__file__).parents[2]
CHOSEN = {"alpha": 2.34, "lambda3": 45.6, "omega": 1.0}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """What the trials of both labels share; their own fine-tunes have other coefficients in each test."""
    folder = tmp_path_factory.mktemp("search")
    build(study(folder)[1], found := Store(str(folder / "store")))
    return found


def test_the_bare_loop_reports_what_a_trial_reports(tmp_path: Path, store: Store) -> None:
    """Same fine-tune, same rungs, same measurements: otherwise the two are not to be compared."""
    found, shared = study(tmp_path, labels=[3])
    build(shared, store)
    reported: list[dict[str, float]] = []
    bare = Bare(found, store.location, shared.sources)
    before = {path for path in Path(store.location).rglob("*") if path.is_file()}
    for _ in range(2):  # the second one meets what the first one loaded
        reported.clear()
        bare.run(CHOSEN, reported.append)
    assert {path for path in Path(store.location).rglob("*") if path.is_file()} == before, "it writes nothing"
    work = [point.pop("work") for point in reported]
    assert work == sorted(work)
    assert work[0] > 0
    trial = Trial(found, CHOSEN, store, shared.sources)
    expected: list[dict[str, Any]] = []
    while not trial.finished:
        expected.append(trial.advance())
    assert len(reported) == len(expected) == len(rungs_of(5))
    assert reported == [{name: point[name] for name in reported[0]} for point in expected]
    assert set(reported[0]) == {"mc_all", "mc_target", "aa_top1", "aa_top5", "target_confidence"}


def test_a_recorded_search_is_a_table_that_counts_steps_as_trials_do(tmp_path: Path, store: Store) -> None:
    """By the real driver and the real trials: what benchmarks/search_replay.py reads is what a search writes."""
    found, shared = study(tmp_path)
    record = ledger(store, found.space, GOALS)
    record.document |= {"scheduler": "none"}
    record.document["undefended"] = {"search": measure_undefended(found, store, {}), "confirmed": None}
    proposals = make_proposals("random", found.space, GOALS, record.undefended, 0, 2, ())
    driver = Driver(
        found, found.space, GOALS, record, proposals, store, 2, halving=False, said=print, changed=lambda: None
    )
    steps: list[list[int]] = []
    while (config := driver.next("ticket")) is not None:
        trial = Trial(found, config["coefficients"], store, shared.sources)
        steps.append([])
        while not trial.finished:
            result = trial.advance()
            steps[-1].append(result["steps"])
            driver.reported("ticket", result)
        driver.ended("ticket", result)
    table = read_table(record.copy(), 2)
    assert [[table.steps_at(point, rung) for rung in (1, 2, 3)] for point in table.points] == steps == [[4, 6, 10]] * 2
    assert set(table.space.tune) == set(found.space.tune)
    for name, domain in table.space.tune.items():
        assert vars(domain).keys() == vars(found.space.tune[name]).keys()
        assert (domain.lower, domain.upper) == (found.space.tune[name].lower, found.space.tune[name].upper)


def test_figures_leave_out_the_first_trial_of_a_block() -> None:
    ours = Clocks(0.0, [30.0, 36.0, 42.0], [])
    bare = Clocks(100.0, [120.0, 125.0, 128.0], [19.0, 3.5, 2.5])
    found = figures(Pair(ours, bare))
    assert (found.ours, found.bare, found.work) == (6.0, 4.0, 3.0)
    assert found.ratio == 1.5


def test_the_report_has_medians_and_ranges() -> None:
    pairs = [Pair(Clocks(0, [0, end], []), Clocks(0, [0, 4.0], [9.0, 3.0])) for end in (6.0, 4.0, 5.0)]
    lines = report(Record(2, "small", "finetune", tuple(figures(pair) for pair in pairs))).splitlines()
    assert lines[0] == "| 3 pairs of 2 trials | median | range |"
    assert "| ratio | 1.25 | 1.00–1.50 |" in lines
    assert "| difference | 1.00 s | 0.00–2.00 s |" in lines
    assert "| beyond them, decoygrid search | 2.00 s | 1.00–3.00 s |" in lines
    assert "| beyond them, bare Tune loop | 1.00 s | 1.00–1.00 s |" in lines


def test_a_record_gives_the_same_report_and_its_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = [Pair(Clocks(0, [0, end], []), Clocks(0, [0, 4.0], [9.0, 3.0])) for end in (6.0, 4.0, 8.0)]
    record = Record(2, "small", "finetune", tuple(figures(pair) for pair in pairs))
    write_record(record, path := tmp_path / "new" / "record.json")
    assert read_record(path) == record
    assert "takes 1.50 times (1.00–2.00) as long" in sentence(record)
    assert "6.0 s against 4.0 s, medians of 3 pairs of 2 trials" in sentence(record)
    assert search_overhead.main(["--from", str(path)]) == 0, "1.50 is within the aim"
    said = capsys.readouterr().out
    assert report(record) in said
    assert sentence(record) in said
    write_record(record._replace(pairs=record.pairs[2:]), path)
    assert search_overhead.main(["--from", str(path)]) == 1
    assert search_overhead.main(["--from", str(tmp_path / "none.json")]) == 2
    path.write_text('{"pairs": [], "trials": 2, "spec": "s", "space": "s"}')
    assert search_overhead.main(["--from", str(path)]) == 2
    assert search_overhead.main(["--record", str(tmp_path)]) == 2
    assert "no record of this benchmark" in (told := capsys.readouterr().err)
    assert "holds no pair" in told
    assert "cannot be written" in told


def test_the_docs_say_what_the_record_says() -> None:
    path = REPOSITORY / "docs" / "results" / "records" / "benchmarks" / "search_overhead.json"
    record = read_record(path)
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert sentence(record) in readme
    ours, bare = (
        median(value) for value in zip(*((p.ours - p.work, p.bare - p.work) for p in record.pairs), strict=True)
    )
    assert f"{ours:.2f} s against {bare:.2f} s: checkpoints" in readme


def test_bad_input_is_said_all_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--spec", "orl_search", "--space", "finetune_reduced", "--trials", "1", "--pairs", "0"]
    assert search_overhead.main(arguments) == 2
    told = capsys.readouterr().err
    for said in ("--trials: must be at least 2", "--pairs: must be at least 1", "labels: must be one, got [2, 7"):
        assert said in told
    assert load_spec(str(search_overhead.SPEC)).name == "search_overhead"
