"""A recorded search read as a table: what it must have, what a point costs, and which point is nearest."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.search_table import LEAST, read_table
from grid.problems import SpecError
from tests.analysis.search_lab import RUNGS, UNDEFENDED, record
from tests.benchmarks.tables import lab_document, lab_table, line_document, line_table


def said(document: dict[str, Any], least: int = 5) -> str:
    with pytest.raises(SpecError) as caught:
        read_table(document, least)
    return str(caught.value)


def test_a_search_that_stopped_trials_or_is_short_is_no_table() -> None:
    found = said(record(60) | {"undefended": None}, LEAST)
    assert "scheduler: trials may have been stopped" in found
    assert "undefended: was not measured" in found
    assert "at least 200 points measured at every rung" in found, "all problems at once"
    assert len(read_table(lab_document(LEAST)).points) == LEAST


def test_a_trial_that_was_not_measured_at_every_rung_is_left_out() -> None:
    """One failed, one still running, and one that was found in the store and has its end alone."""
    document = lab_document(8)
    failed, running, found = document["trials"][:3]
    failed.update(state="failed", curve=failed["curve"][:1])
    running.update(state="running", curve=[], metrics={})
    found.update(curve=found["curve"][-1:])
    table = read_table(document, 5)
    assert [trial.id for trial in table.left_out] == ["t0001", "t0002", "t0003"]
    assert len(table.points) == 5
    assert table.rungs == 3


def test_a_record_that_cannot_be_true_is_refused() -> None:
    document = lab_document(6)
    document["trials"][1]["coefficients"]["alpha"] = 11.0
    document["trials"][2]["artifacts"] = {}
    document["trials"][3].update(max_steps=100, steps=100)
    found = said(document)
    assert "t0002.coefficients" in found
    assert "t0003.max_steps" in found
    assert "t0004.max_steps" in found, "three models of 80 steps take more"


def test_a_point_costs_its_steps_over_labels_and_rounds() -> None:
    table = lab_table(5)
    assert [table.steps_at(table.points[0], rung) for rung in (1, 2, 3)] == [3 * step for step in RUNGS]
    document = lab_document(5)
    for trial in document["trials"]:
        trial.update(steps=480, max_steps=480)  # an earlier round of 80 steps a label
    rounds = read_table(document, 5)
    assert [rounds.steps_at(rounds.points[0], rung) for rung in (1, 2, 3)] == [240 + 3 * step for step in RUNGS]
    for trial in document["trials"]:
        trial.update(steps=80, max_steps=80, artifacts=dict.fromkeys("048", "finetune-joint"))
    joint = read_table(document, 5)
    assert [joint.steps_at(joint.points[0], rung) for rung in (1, 2, 3)] == list(RUNGS), "one model for all labels"


def test_nearest_is_by_the_scale_of_each_range() -> None:
    document = lab_document(3)
    middle = {"alpha": 1.0, "beta": 1.0, "omega": 1.0, "gamma": 2.5, "lambda3": 10.0, "lr": 1e-3}
    one, two, three = document["trials"]
    one["coefficients"] = {**middle, "lambda3": 1000.0}  # two of lambda3's four decades, though 990 away
    two["coefficients"] = {**middle, "gamma": 5.0}  # half of gamma's range
    three["coefficients"] = {**middle, "alpha": 2.0}  # a seventh of alpha's two decades
    table = read_table(document, 3)
    found = table.nearest(middle, used=())
    assert found is not None
    assert found.id == "t0003"
    assert math.isclose(table._distance(middle, found.coefficients), (math.log10(2) / 2) ** 2)
    second = table.nearest(middle, used={"t0003"})
    assert second is not None
    assert second.id == "t0001", "both are half a range away; the first of the record"
    assert table.nearest(middle, used={"t0001", "t0002", "t0003"}) is None


def test_another_choice_is_as_far_as_a_whole_range() -> None:
    document = line_document(4, lambda alpha, rung: {})
    document["space"]["lpri"] = {"kind": "choice", "low": None, "high": None, "values": ["ce", "d"], "log": False}
    for trial, lpri in zip(document["trials"], ("d", "ce", "ce", "ce"), strict=True):
        trial["coefficients"]["lpri"] = lpri
    table = read_table(document, 4)
    found = table.nearest({"alpha": 0.1, "lpri": "ce"}, used=())
    assert found is not None
    assert found.id == "t0002", "the first is nearer in alpha"


def test_only_finished_trials_within_the_limit_have_volume() -> None:
    table = line_table(4, lambda alpha, rung: {"mc_all": 0.8, "mc_target": 1.0, "aa_top1": alpha, "aa_top5": 0.5})
    best = table.points[0]
    assert table.volume(table.points) == pytest.approx(0.8 * 1.0 * (1 - 0.125) * 0.5), "from MC 0 and AA 1"
    assert table.volume([replace(best, state="stopped"), replace(best, id="x", state="running")]) == 0.0
    assert table.volume([]) == 0.0


def test_what_breaks_the_limit_on_accuracy_has_no_volume() -> None:
    lost = 100 * (UNDEFENDED["mc_all"] - 0.8)
    for limit, counts in ((lost + 1, True), (lost - 1, False), (None, True)):
        table = line_table(4, lambda alpha, rung: {"mc_all": 0.8}, max_drop=limit)
        assert (table.volume(table.points) > 0) == counts


def test_reading_does_not_change_the_record() -> None:
    document = lab_document(5)
    before = copy.deepcopy(document)
    read_table(document, 5)
    assert document == before
