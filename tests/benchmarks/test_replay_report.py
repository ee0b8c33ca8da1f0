"""What is said of replays: a verdict that the data carry, the steps saved, and files that hold what the runs hold."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from analysis.search_record import read_search
from benchmarks import search_replay
from benchmarks.replay import Run, Strategy, replay
from benchmarks.replay_report import BASELINE, places, replay_csv, replay_markdown, saved_steps, verdict
from benchmarks.search_table import Table
from grid.search_options import SearchOptions, check_search
from grid.spec_parser import load_spec
from grid.spec_source import SPECS
from grid.store import Store
from tests.analysis.search_lab import record
from tests.benchmarks.tables import lab_document, lab_table

HALVED = Strategy("random", True)
STEPS = 12 * 240


@pytest.fixture(scope="module")
def table() -> Table:
    return lab_table(60)


@pytest.fixture(scope="module")
def runs(table: Table) -> dict[Strategy, list[Run]]:
    return {strategy: [replay(table, strategy, seed, STEPS) for seed in range(3)] for strategy in (BASELINE, HALVED)}


def test_larger_takes_evidence() -> None:
    for differences, said, p in (
        ([0.1, 0.2, 0.1, 0.3, 0.1], "larger", 1 / 32),
        ([0.1, 0.2, 0.1, 0.3, -0.05], "not larger", 2 / 32),
        ([0.1, 0.2, 0.1, 0.3], "not larger", 1 / 16),  # four seeds cannot show it
        ([-0.1, -0.2, -0.1, -0.3, -0.1], "not larger", 1.0),
    ):
        found = verdict(differences)
        assert found[0] == said
        assert found[1] == pytest.approx(p)
    assert verdict([0.0] * 5) == ("not larger", 1.0)
    many = verdict([0.1] * 15 + [-0.1] * 5)
    assert many == verdict([0.1] * 15 + [-0.1] * 5), "random flips are the same every time"
    assert many[0] == "larger"
    assert many[1] == pytest.approx(0.0207, abs=0.006), "of 20 fair coins 15 or more"


def test_saved_steps_are_counted_from_trials(table: Table, runs: dict[Strategy, list[Run]]) -> None:
    trials = runs[HALVED][0].until(STEPS)
    taken = sum(trial.steps for trial in trials)
    whole = sum(trial.max_steps for trial in trials)
    steps = saved_steps(table.search, trials)
    assert (steps.spent, steps.saved) == (taken, whole - taken)
    assert 0 < steps.share == pytest.approx(1 - taken / whole)
    assert saved_steps(table.search, runs[BASELINE][0].until(STEPS)).saved == 0


def test_the_csv_has_every_seed_at_every_place(table: Table, runs: dict[Strategy, list[Run]]) -> None:
    rows = list(csv.DictReader(io.StringIO(replay_csv(table, runs))))
    assert len(rows) == 2 * 3 * len(places(STEPS))
    for row in rows:
        run = runs[Strategy(row["algorithm"], row["scheduler"] == "asha")][int(row["seed"])]
        trials = run.until(int(row["steps"]))
        assert float(row["hypervolume"]) == table.volume(trials)
        assert float(row["of_table"]) == table.volume(trials) / table.volume(table.points) <= 1
        assert int(row["finished"]) + int(row["stopped"]) == len(trials)
    assert int(rows[-1]["steps"]) == STEPS


def test_the_page_says_what_was_found(table: Table, runs: dict[Strategy, list[Run]]) -> None:
    page = replay_markdown(table, runs, [read_search(record(60)), read_search(lab_document(10))], "replay.png")
    ends = [table.volume(run.until(STEPS)) for run in runs[HALVED]]
    line = next(line for line in page.splitlines() if line.startswith("| random+asha | ") and line.count("|") == 6)
    cells = [float(cell) for cell in line.strip("| ").split(" | ")[1:]]
    assert cells == pytest.approx([*ends, sum(ends) / 3], abs=1e-4)
    assert "reference point MC 0, AA 1" in page
    assert f"{STEPS} fine-tune steps, as much as 12 whole trials; 3 seeds" in page
    assert "| search orl\\_search-finetune (random) | 58 |" in page, "a recorded search that ran with ASHA"
    assert "search lab" not in page, "one without stops nothing"
    assert "(picture" not in page
    assert "![Hypervolume over the steps spent](replay.png)" in page
    assert "least p that 3 seeds can give: 0.125" in page
    assert replay_markdown(table, runs) == replay_markdown(table, runs)


def test_with_nothing_to_compare_it_says_so(table: Table, runs: dict[Strategy, list[Run]]) -> None:
    page = replay_markdown(table, {HALVED: runs[HALVED]})
    assert "Nothing to compare" in page
    assert "No strategy here stops trials" in replay_markdown(table, {BASELINE: runs[BASELINE]})


def test_the_shipped_spec_records_the_table_that_is_replayed_by_default() -> None:
    """With the options that its first lines and the benchmark's docstring name, on labels of the search."""
    options = SearchOptions("finetune_reduced", 200, "random", "none", picks=("none",), seed=100)
    checked = check_search("orl_search_table", [], options)
    assert checked.name == search_replay.SEARCH
    assert set(checked.study.labels) <= set(load_spec("orl_search").labels)
    for text in (str(search_replay.__doc__), (SPECS / "orl_search_table.yaml").read_text()):
        assert "--algorithm random --scheduler none --trials 200" in text
        assert "--seed 100 --pick none" in text


def test_the_command_writes_its_files_and_writes_them_again_alike(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "records"))
    store.write_document("searches/lab.json", lab_document(200))
    arguments = [str(tmp_path / "records"), "--search", "lab", "--strategies", "random,random+asha", "--seeds", "2"]
    for name in ("one", "two"):
        assert search_replay.main([*arguments, "--trials", "20", "--out", str(tmp_path / name)]) == 0
    for file in ("replay.csv", "replay.md", "replay.png"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_bad_input_is_said_all_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Store(str(tmp_path)).write_document("searches/lab.json", lab_document(20))
    out = ["--out", str(tmp_path / "out")]
    assert search_replay.main([str(tmp_path), "--search", "lap", "--strategies", "optna", "--seeds", "0", *out]) == 2
    told = capsys.readouterr().err
    for said in ("did you mean 'optuna'", "--seeds: must be at least 1, got 0", "did you mean 'lab'"):
        assert said in told
    assert search_replay.main([str(tmp_path), "--search", "lab", *out]) == 2
    assert "at least 200 points" in capsys.readouterr().err
    assert search_replay.main([str(tmp_path / "nowhere"), *out]) == 2
    assert "holds no record of a search" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
