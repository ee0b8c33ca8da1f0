"""A search's report: what it counts, what the tables hold, equal bytes for equal records, no report of a broken one."""

from __future__ import annotations

import copy
import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from analysis.search_record import read_search
from analysis.search_report import search_markdown, trials_csv, write_search_report
from analysis.search_tables import front_table, front_volume, picks_table, steps_of
from grid.problems import SpecError
from grid.search_front import hypervolume
from tests.analysis.search_lab import LABELS, OBJECTIVES, STEPS, known_front, record
from tests.source_tree import imports, modules


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return record(40)


@pytest.fixture(scope="module")
def folder(document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("search")
    write_search_report(document, out)
    return out


def table(markdown: str, first: str) -> list[list[str]]:
    """Cells of the Markdown table whose first heading is `first`, without its ruler."""
    lines = markdown.split(f"| {first} |", 1)[1].split("\n\n", 1)[0]
    rows = f"| {first} |{lines}".strip().splitlines()
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in (rows[0], *rows[2:])]


def test_files_and_pictures_are_there_and_linked(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    stems = ("pareto", "parallel_coordinates", "importance", "contour")
    pictures = {f"{stem}.{end}" for stem in stems for end in ("png", "svg")}
    assert names == pictures | {"search.md", "search.html", "trials.csv", "importance.csv"}
    text = (folder / "search.md").read_text(encoding="utf-8")
    linked = re.findall(r"!\[[^]]*\]\((.*?)\)", text)
    assert sorted(linked) == sorted(name for name in pictures if name.endswith("png"))
    assert "TODO" not in text


def test_equal_records_give_equal_bytes(document: dict[str, Any], folder: Path, tmp_path: Path) -> None:
    paths = write_search_report(copy.deepcopy(document), tmp_path / "new" / "folder")
    assert sorted(paths) == sorted(path.name for path in folder.iterdir())
    for name, path in paths.items():
        assert path.read_bytes() == (folder / name).read_bytes(), name


def test_steps_are_counted_from_the_trials(document: dict[str, Any]) -> None:
    search = read_search(document)
    steps = steps_of(search)
    spent = saved = 0
    for trial in document["trials"]:
        taken = trial["curve"][-1]["step"] * len(LABELS)
        spent += taken
        saved += STEPS * len(LABELS) - taken if trial["state"] == "stopped" else 0
    assert (steps.spent, steps.saved) == (spent, saved)
    assert steps.share == saved / (spent + saved) > 1 / 3
    text = search_markdown(search)
    assert f"{spent} spent, {saved} saved by the scheduler" in text
    states = [trial["state"] for trial in document["trials"]]
    counts = ", ".join(f"{states.count(state)} {state}" for state in ("finished", "stopped", "failed"))
    assert f"40: {counts}" in text


def test_without_a_scheduler_nothing_is_saved() -> None:
    steps = steps_of(read_search(record(10, asha=False, failures=2)))
    assert (steps.saved, steps.share) == (0, 0.0)


def test_trials_csv_has_a_row_a_trial(document: dict[str, Any]) -> None:
    search = read_search(document)
    lines = list(csv.DictReader(io.StringIO(trials_csv(search))))
    assert [line["id"] for line in lines] == [trial["id"] for trial in document["trials"]]
    assert {line["id"] for line in lines if line["front"] == "True"} == set(search.front)
    for line, trial in zip(lines, document["trials"], strict=True):
        assert line["state"] == trial["state"]
        assert float(line["coefficients.alpha"]) == trial["coefficients"]["alpha"]
        assert float(line["aa_top1"]) == trial["metrics"]["aa_top1"], "fractions, in full"
        assert (line["error"] != "") == (trial["state"] == "failed")
        assert line["artifacts"].split() == [f"{label}={key}" for label, key in sorted(trial["artifacts"].items())]
    assert {line["rung"] for line in lines if line["state"] == "stopped"} == {"1", "2"}


def test_a_coefficient_named_steps_does_not_hide_the_steps(document: dict[str, Any]) -> None:
    wide = copy.deepcopy(document)
    wide["space"]["steps"] = {"kind": "choice", "values": [60, 100]}
    for trial in wide["trials"]:
        trial["coefficients"]["steps"] = 60
    line = next(csv.DictReader(io.StringIO(trials_csv(read_search(wide)))))
    assert (line["steps"], line["coefficients.steps"]) == (str(wide["trials"][0]["steps"]), "60")


def test_front_table_has_the_front_most_accurate_first() -> None:
    made, front = known_front()
    search = read_search(made)
    heading, *rows = table(front_table(search), "trial")
    assert {row[0] for row in rows} == front
    accuracies = [float(row[heading.index("MC all")]) for row in rows]
    assert accuracies == sorted(accuracies, reverse=True)
    assert rows[0][heading.index("MC all")] == "97.0"
    assert front_table(read_search(made | {"front": []})) == "No finished trial stands on it yet."


def test_the_volume_of_the_front_is_that_of_all_finished_trials() -> None:
    search = read_search(known_front()[0])
    every = [search.values_of(trial) for trial in search.finished]
    assert front_volume(search) == pytest.approx(hypervolume(every, [0, 0, 1, 1], search.directions), abs=1e-12)
    assert front_volume(read_search(known_front()[0] | {"front": []})) == 0.0


def test_picks_show_what_the_search_saw_and_what_was_confirmed(document: dict[str, Any]) -> None:
    search = read_search(document)
    heading, *rows = table(picks_table(search), "pick")
    column = heading.index("AA top-1")
    for order, pick in enumerate(document["picks"], start=1):
        seen, confirmed, difference = rows[3 * order : 3 * order + 3]
        assert seen[:3] == [pick["pick"], pick["trial"], "search"]
        assert seen[column] == f"{100 * pick['search']['aa_top1']:.1f}"
        low, high = (100 * pick["confirmed"][f"aa_top1_{end}"] for end in ("low", "high"))
        assert confirmed[column] == f"{100 * pick['confirmed']['aa_top1']:.1f} [{low:.1f}–{high:.1f}]"
        assert "gmi" in confirmed[2]
        change = 100 * (pick["confirmed"]["aa_top1"] - pick["search"]["aa_top1"])
        assert difference[column] == (f"**{change:+.1f}**" if change > 0 else f"{change:+.1f}")
        lost = 100 * (pick["confirmed"]["mc_all"] - pick["search"]["mc_all"])
        assert difference[column - 2] == (f"**{lost:+.1f}**" if lost < 0 else f"{lost:+.1f}"), "less MC is worse"
    assert any(row[column].startswith("**+") for row in rows), "the made search picks lucky trials"


def test_each_value_says_who_judged_it_and_on_what(document: dict[str, Any]) -> None:
    heading, *rows = table(picks_table(read_search(document)), "pick")
    column = heading.index("rests on")
    assert rows[0][0] == "undefended", "what all others are to be read beside"
    seen, confirmed = rows[3][column], rows[4][column]
    assert seen == "second evaluator, validation split; labels 0, 4, 8; seed 0; 39 images"
    assert confirmed == "F\\_E, test split; labels 0, 4, 8; seeds 1, 2; 240 images"
    many = copy.deepcopy(document)
    many["picks"][0]["confirmed"]["basis"] |= {"labels": list(range(20)), "seeds": [5]}
    assert "; 20 labels; seed 5; " in picks_table(read_search(many))
    old = copy.deepcopy(document)
    del old["measured_by"], old["picks"][0]["confirmed"]["basis"]
    assert table(picks_table(read_search(old)), "pick")[5][column] == "F\\_E, test split", "a record without it is read"
    many["picks"][0]["confirmed"]["basis"]["seeds"] = "1, 2"
    with pytest.raises(SpecError, match=r"picks\[0\].confirmed.basis.seeds: must be a list of whole numbers"):
        read_search(many)


def test_the_report_is_the_same_from_the_store_which_sorts_keys(document: dict[str, Any]) -> None:
    order = ["gamma", "alpha", "lambda3", "omega", "beta", "lr"]
    made = document | {"space": {name: document["space"][name] for name in order}, "space_order": order}
    kept = json.loads(json.dumps(made, sort_keys=True))
    assert trials_csv(read_search(kept)) == trials_csv(read_search(made))
    assert search_markdown(read_search(kept)) == search_markdown(read_search(made))
    assert read_search(kept).searched == order[:-1]


def test_a_pick_that_later_trials_dominate_says_so(document: dict[str, Any]) -> None:
    search = read_search(document)
    other = next(trial for trial in search.finished if trial.id not in search.front)
    assert "Picked before later trials" not in search_markdown(search)
    stale = [document["picks"][0] | {"trial": other.id}]
    text = search_markdown(read_search(document | {"picks": stale}))
    assert f"not on the front of all of them: {stale[0]['pick']} ({other.id})." in text


def test_a_pick_that_waits_for_its_grid_says_so(document: dict[str, Any]) -> None:
    waiting = [document["picks"][0] | {"confirmed": None}]
    text = picks_table(read_search(document | {"picks": waiting, "undefended": None}))
    assert [row[2] for row in table(text, "pick")[1:]] == ["search", "not confirmed yet"]


def test_a_front_whose_attack_did_not_converge_is_marked(document: dict[str, Any]) -> None:
    doubtful = copy.deepcopy(document)
    name = read_search(document).front[0]
    trial = next(trial for trial in doubtful["trials"] if trial["id"] == name)
    trial["metrics"]["target_confidence"] = 0.5
    text = search_markdown(read_search(doubtful))
    assert "50.0 ‡" in text
    assert f"below 80.0%: {name}: the attack did not converge" in text
    assert "‡" not in search_markdown(read_search(document))


def test_a_limit_explains_trials_that_are_not_on_the_front() -> None:
    made, front = known_front()
    kept = [trial["id"] for trial in made["trials"] if trial["id"] in front and trial["metrics"]["mc_all"] > 0.9]
    text = search_markdown(read_search(made | {"front": kept, "max_drop": 7.0}))
    assert "MC all at most 7 points below the undefended" in text
    assert f"not on the front that the search recorded (its limit): {', '.join(sorted(front - set(kept)))}." in text


def test_failures_are_named_and_cannot_break_the_page(document: dict[str, Any]) -> None:
    broken = copy.deepcopy(document)
    failed = next(trial for trial in broken["trials"] if trial["state"] == "failed")
    failed["error"] = "OutOfMemoryError: | CUDA\nran out"
    text = search_markdown(read_search(broken))
    assert rf"- {failed['id']}, after 60 steps: OutOfMemoryError: \| CUDA ran out" in text


def test_too_few_trials_leave_a_reason_in_place_of_a_picture(tmp_path: Path) -> None:
    document = record(6, asha=False, failures=0)
    paths = write_search_report(document, tmp_path)
    assert "importance.png" not in paths
    assert "contour.png" not in paths
    text = paths["search.md"].read_text(encoding="utf-8")
    assert "No importance at the end: finished trials: 6; 30 are needed for 5 coefficients." in text
    assert "omega x lambda3 > 0: 6; 8 are needed" in text


def test_the_images_of_mc_target_are_named(document: dict[str, Any]) -> None:
    text = search_markdown(read_search(document | {"target_images": "validation split"}))
    assert r"| MC l\_t measured on | validation split |" in text


def test_two_objectives_are_enough(tmp_path: Path) -> None:
    document = record(12, asha=False, failures=0) | {"objectives": [OBJECTIVES[0], OBJECTIVES[2]]}
    text = write_search_report(document, tmp_path)["search.md"].read_text(encoding="utf-8")
    heading, *_ = table(text, "trial")
    assert "AA top-5" not in heading


def test_a_search_that_has_just_begun_has_a_report(tmp_path: Path) -> None:
    document = record(3, asha=False, failures=0) | {"trials": [], "picks": [], "front": [], "undefended": None}
    paths = write_search_report(document, tmp_path)
    assert sorted(paths) == ["search.html", "search.md", "trials.csv"]
    assert "No finished trial" in paths["search.md"].read_text(encoding="utf-8")


def test_a_broken_record_writes_nothing(document: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="algorithm"):
        write_search_report({**document, "algorithm": None}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_analysis_needs_no_pandas_and_optuna_only_when_it_is_used() -> None:
    own = [i for module in modules() if module.startswith("analysis") for i in imports(module)]
    assert [i for i in own if i.target.split(".")[0] == "pandas"] == []
    assert {i.lazy for i in own if i.target.split(".")[0] == "optuna" and i.module == "analysis.importance"} == {True}
