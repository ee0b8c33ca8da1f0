"""A search's record: what is read of it, and that one which contradicts itself is refused with every place."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from analysis.search_parts import Domain
from analysis.search_record import read_search
from grid.problems import SpecError
from tests.analysis.search_lab import LABELS, RUNGS, known_front, record


def problems(document: dict[str, Any]) -> dict[str, str]:
    """Messages by place, without the search's name before it."""
    with pytest.raises(SpecError) as caught:
        read_search(document)
    assert all(problem.place.startswith(f"search {document.get('name')}: ") for problem in caught.value.problems)
    return {problem.place.split(": ", 1)[1]: problem.message for problem in caught.value.problems}


def test_a_record_is_read_as_it_was_written() -> None:
    document = record()
    search = read_search(document)
    assert (search.name, search.spec, search.defense) == ("orl_search-finetune", "orl_search", "gan_id")
    assert search.searched == ["alpha", "beta", "omega", "gamma", "lambda3"], "lr is constant"
    states = [trial["state"] for trial in document["trials"]]
    assert [trial.state for trial in search.trials] == states
    assert (states.count("failed"), states.count("stopped") > 20, states.count("finished") > 15) == (2, True, True)
    first = document["trials"][0]
    assert search.trials[0].coefficients == first["coefficients"]
    assert [point.step for point in search.trials[0].curve] == [point["step"] for point in first["curve"]]
    assert search.values_of(search.finished[0]) == [search.finished[0].metrics[m] for m, _ in document["objectives"]]
    assert search.undefended is not None
    assert search.picks[0].outcome.attack == "gmi"


def test_the_front_of_a_made_surface_is_known() -> None:
    document, front = known_front()
    search = read_search(document)
    assert set(search.front) == front
    assert 5 <= len(front) < len(search.trials) / 3
    assert read_search(document | {"front": sorted(front)}).front == tuple(sorted(front))


def test_a_stopped_trial_is_never_on_the_front_however_good() -> None:
    document, front = known_front()
    best = next(trial for trial in document["trials"] if trial["id"] in front)
    perfect = {"mc_all": 1.0, "mc_target": 1.0, "aa_top1": 0.0, "aa_top5": 0.0}
    best.update(state="stopped", rung=1, steps=10, metrics=perfect)
    assert best["id"] not in read_search(document).front
    found = problems(document | {"front": [best["id"]]})
    assert "is stopped; only finished trials" in found["front[0]"]


def test_all_problems_are_named_at_once_each_with_its_place() -> None:
    document = record(10)
    document["trials"][0]["state"] = "finishd"
    document["trials"][1]["metrics"] = {"mc_all": 0.9}
    document["trials"][1]["state"] = "finished"
    del document["trials"][2]["coefficients"]["alpha"]
    document["trials"][3]["metrics"]["aa_top1"] = 35.0
    document["objectives"][0] = ["mc_all", "up"]
    document["space"] = document["space"] | {"beta": {"kind": "loguniform", "low": 0.0, "high": 1.0}}
    document["picks"][0].pop("search")
    found = problems(document)
    assert "did you mean 'finished'" in found["trials[0].state"]
    assert "failed, finished, running, stopped" in found["trials[0].state"]
    assert "lacks mc_target, aa_top1, aa_top5" in found["trials[1].metrics"]
    assert "lacks alpha" in found["trials[2].coefficients"]
    assert "fraction in [0, 1], but got 35.0" in found["trials[3].metrics.aa_top1"]
    assert "max or min" in found["objectives[0]"]
    assert "above 0" in found["space.beta.low"]
    assert "mapping" in found["picks[0].search"]


@pytest.mark.parametrize(
    ("place", "change", "message"),
    [
        ("front[1]", {"front": ["t0003", "t9999"]}, "no trial of this search"),
        ("trials[1].id", {"trials": [0, 0]}, "there twice"),
        ("objectives", {"objectives": []}, "but got []"),
        ("space", {"space": None}, "but got None"),
        ("trials", {"trials": "none"}, "list of mappings"),
        ("max_drop", {"max_drop": "three"}, "must be a number, but got 'three'"),
    ],
)
def test_one_problem_at_a_time(place: str, change: dict[str, Any], message: str) -> None:
    document = record(10, asha=False, failures=0)
    if change.get("trials") == [0, 0]:
        change = {"trials": [document["trials"][0]] * 2, "picks": []}
    assert message in problems(document | change)[place]


def test_a_front_that_contradicts_itself_is_refused() -> None:
    document, front = known_front()
    beaten = next(trial["id"] for trial in document["trials"] if trial["id"] not in front)
    found = problems(document | {"front": [*sorted(front), beaten]})
    assert found == {f"front[{len(front)}]": f"{beaten!r} is dominated by another trial of the front"}


def test_a_trial_that_did_not_take_its_steps_has_not_finished() -> None:
    document = record(10, asha=False, failures=0)
    document["trials"][4]["steps"] -= 1
    assert "max_steps=240" in problems(document)["trials[4].steps"]


def test_a_search_that_has_just_begun_can_be_read() -> None:
    document = record(5, asha=False, failures=0)
    running = {"state": "running", "curve": [], "metrics": {}, "steps": 0}
    document["trials"] = [trial | running for trial in document["trials"]]
    search = read_search(document | {"picks": [], "front": [], "undefended": None})
    assert (search.front, search.finished, search.undefended) == ((), [], None)
    assert search.common_rung is None


def test_coefficients_stand_in_the_papers_order_though_the_store_sorts_keys() -> None:
    document = record(5)
    document["space"]["a_tenth"] = {"kind": "constant", "values": [0.1]}
    stored = json.loads(json.dumps(document, sort_keys=True))
    assert list(read_search(stored).space) == ["alpha", "beta", "omega", "gamma", "lambda3", "a_tenth", "lr"]


def test_reading_changes_nothing() -> None:
    document = record(20)
    before = copy.deepcopy(document)
    read_search(document)
    assert document == before


def test_rungs_leave_out_what_was_found_in_the_store() -> None:
    """A finished trial with its last report alone was never seen at the first rung, though it has a first report."""
    document = record(20)
    search = read_search(document)
    finished = search.finished[0]
    assert search.common_rung == 1
    assert search.at_rung(finished, 1) == finished.curve[0].metrics != finished.metrics
    place = next(i for i, trial in enumerate(document["trials"]) if trial["id"] == finished.id)
    document["trials"][place]["curve"] = document["trials"][place]["curve"][-1:]
    found = read_search(document)
    assert found.at_rung(found.finished[0], 1) is None
    stopped = next(trial for trial in found.by_state("stopped") if trial.rung == 1)
    assert (stopped.steps, found.at_rung(stopped, 2)) == (len(LABELS) * RUNGS[0], None)


def test_a_domain_knows_whether_there_is_a_choice() -> None:
    assert not Domain("constant", None, None, (1.0,), False).searched
    assert not Domain("uniform", 2.0, 2.0, (), False).searched
    assert not Domain("randint", 1, 2, (), False).searched, "a whole number from 1 on and below 2"
    assert Domain("randint", 1, 3, (), False).top == 2
    assert not Domain("choice", None, None, ("ce",), False).searched
    assert Domain("choice", None, None, ("ce", "detached"), False).categorical
    assert not Domain("choice", None, None, (1, 2), False).categorical
    assert Domain("choice", None, None, (True, False), False).categorical
