"""Searches replayed on a table: equal budgets, honest states, no chance but the seed's, the real driver's rules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from analysis.search_parts import Trial
from benchmarks import replay as replaying
from benchmarks.replay import Run, Strategy, parse_strategies, replay
from benchmarks.search_table import Table
from grid.problems import SpecError
from grid.search_driver import Driver
from grid.search_proposals import make_proposals
from grid.search_space import Value
from grid.store import Store
from tests.benchmarks.tables import lab_table, line_table
from tests.grid.searching import ledger, study

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
RANDOM, HALVED = Strategy("random", False), Strategy("random", True)
EVERY = [Strategy(algorithm, halving) for algorithm in ("random", "optuna", "hyperopt") for halving in (False, True)]
WHOLE = 240  # steps of a trial of lab_table


@pytest.fixture(scope="module")
def table() -> Table:
    return lab_table(60)


def trials(run: Run) -> list[Trial]:
    return [one.trial for one in run.ended]


@pytest.mark.parametrize("strategy", EVERY, ids=lambda strategy: strategy.name)
def test_every_strategy_spends_the_same_steps_and_no_more(table: Table, strategy: Strategy) -> None:
    """Counted from the trials: what ended and what was cut off add up to the budget, to the step."""
    for steps in (12 * WHOLE, 12 * WHOLE - 10):
        run = replay(table, strategy, 0, steps)
        assert sum(trial.steps for trial in [*trials(run), *run.cut]) == steps
        assert all(one.spent <= steps for one in run.ended)
        assert len(run.cut) == replaying.WORKERS


@pytest.mark.parametrize("strategy", EVERY, ids=lambda strategy: strategy.name)
def test_a_replay_is_a_function_of_its_seed(table: Table, strategy: Strategy) -> None:
    one, same, other = (replay(table, strategy, seed, 8 * WHOLE) for seed in (3, 3, 4))
    assert one == same
    assert [trial.id for trial in trials(one)] != [trial.id for trial in trials(other)]


@pytest.mark.parametrize("strategy", EVERY, ids=lambda strategy: strategy.name)
def test_no_point_is_taken_twice(table: Table, strategy: Strategy) -> None:
    run = replay(table, strategy, 1, 15 * WHOLE)
    taken = [trial.id for trial in [*trials(run), *run.cut]]
    assert len(taken) == len(set(taken))


def test_a_stopped_trial_never_counts_as_finished(table: Table) -> None:
    run = replay(table, HALVED, 0, 20 * WHOLE)
    stopped = [trial for trial in trials(run) if trial.state == "stopped"]
    finished = [trial for trial in trials(run) if trial.state == "finished"]
    assert stopped
    assert finished
    assert len(stopped) + len(finished) == len(run.ended)
    for trial in stopped:
        assert trial.rung == len(trial.curve) < table.rungs
        assert trial.steps < trial.max_steps
        assert trial.metrics == trial.curve[-1].metrics
    assert all(trial.steps == trial.max_steps and len(trial.curve) == table.rungs for trial in finished)
    assert table.volume(trials(run)) == table.volume(finished)
    assert all(trial.state == "running" and trial.steps < trial.max_steps for trial in run.cut)


def test_without_halving_every_trial_ends(table: Table) -> None:
    run = replay(table, RANDOM, 0, 10 * WHOLE)
    assert [trial.state for trial in trials(run)] == ["finished"] * 10
    assert sum(trial.steps for trial in run.cut) == 0, "two were just taken up"
    assert [one.spent for one in run.ended] == [2 * WHOLE * (place // 2 + 1) for place in range(10)]


def test_what_ends_later_does_not_count_yet(table: Table) -> None:
    run = replay(table, RANDOM, 0, 10 * WHOLE)
    assert [len(run.until(steps)) for steps in (0, 2 * WHOLE - 1, 2 * WHOLE, 10 * WHOLE)] == [0, 0, 2, 10]
    volumes = [table.volume(run.until(steps)) for steps in range(0, 10 * WHOLE, WHOLE)]
    assert volumes == sorted(volumes)


def test_a_longer_replay_goes_on_from_a_shorter_one(table: Table) -> None:
    short, long = (replay(table, Strategy("optuna", True), 2, whole * WHOLE) for whole in (6, 12))
    assert long.ended[: len(short.ended)] == short.ended


def test_points_that_run_out_are_said_and_not_repeated(table: Table) -> None:
    with pytest.raises(SpecError, match="random has used all 60 points"):
        replay(table, RANDOM, 0, 61 * WHOLE)
    with pytest.raises(ValueError, match="multiple of the workers"):
        replay(table, RANDOM, 0, 7)


def test_halving_wins_where_rungs_tell_the_end_and_loses_where_they_mislead() -> None:
    """On equal steps. The replay is not rigged for either answer."""

    def volumes(rates: Callable[[float, int], dict[str, float]]) -> list[float]:
        table = line_table(200, rates)
        runs = [[replay(table, s, seed, 2000) for seed in range(4)] for s in (RANDOM, HALVED)]
        return [sum(table.volume(trials(run)) for run in found) / 4 for found in runs]

    def honest(alpha: float, rung: int) -> dict[str, float]:
        return {"aa_top1": alpha, "aa_top5": alpha}

    def misleading(alpha: float, rung: int) -> dict[str, float]:
        return honest(alpha if rung == 3 else 1 - alpha, rung)

    plain, halved = volumes(honest)
    assert halved > plain
    plain, halved = volumes(misleading)
    assert halved < plain


def test_a_model_is_told_each_point_where_it_was_measured(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own coefficients and state, and nothing of trials that are on their way."""
    told: list[list[dict[str, Any]]] = []

    def watched(*arguments: Any) -> Any:
        told.append([dict(known) for known in arguments[-1]])
        return make_proposals(*arguments)

    monkeypatch.setattr(replaying, "make_proposals", watched)
    run = replay(table, Strategy("optuna", True), 0, 12 * WHOLE)
    points = {tuple(point.coefficients.values()): point.id for point in table.points}
    for known in told:
        assert [points[tuple(one["coefficients"].values())] for one in known] == [
            trial.id for trial in trials(run)[: len(known)]
        ]
        assert [one["state"] for one in known] == [trial.state for trial in trials(run)[: len(known)]]
    assert [len(known) for known in told[:3]] == [0, 0, 1], "two workers ask before anything has ended"


def test_a_model_learns_from_the_table() -> None:
    """Where one coefficient decides all, TPE comes to the better points sooner than chance."""
    table = line_table(200, lambda alpha, rung: {"aa_top1": alpha, "aa_top5": alpha})

    def late(algorithm: str) -> list[float]:
        runs = [replay(table, Strategy(algorithm, False), seed, 4000) for seed in range(2)]
        return [float(trial.coefficients["alpha"] or 0) for run in runs for trial in trials(run)[30:]]

    for algorithm in ("optuna", "hyperopt"):
        assert fmean(late(algorithm)) < 0.7 * fmean(late("random"))


def test_a_replay_is_the_search_that_the_driver_would_have_run(table: Table, tmp_path: Path) -> None:
    """The real driver, one trial at a time, asks the same proposer and is told what the table says."""
    run = replay(table, HALVED, 5, 12 * WHOLE, workers=1)
    made, _ = study(tmp_path)
    document = ledger(Store(str(tmp_path)), table.space, table.goals)
    snapped = replaying._Snapped(table, "random", 5)
    asked: list[Trial] = []

    class Asking:
        def ask(self, ticket: str, number: int) -> dict[str, Value]:
            asked.append(snapped.ask())
            return {name: asked[-1].coefficients[name] for name in table.space.searched}

        def tell(self, ticket: str, state: str, metrics: object) -> None:
            return

    driver = Driver(
        made,
        table.space,
        table.goals,
        document,
        Asking(),
        Store(str(tmp_path)),
        len(run.ended),
        halving=True,
        said=lambda text: None,
        changed=lambda: None,
    )
    for place in range(len(run.ended)):
        config = driver.next(ticket := f"ticket {place}")
        assert config is not None
        for rung in range(1, table.rungs + 1):
            point = asked[-1].curve[rung - 1]
            about = {"rung": rung, "step": point.step, "steps": 1, "seconds": 1.0, "finished": rung == table.rungs}
            goes_on = driver.goes_on(ticket, result := {**point.metrics, **about})
            driver.reported(ticket, result)
            if not goes_on or about["finished"]:
                driver.ended(ticket, result)
                break
    assert [trial.id for trial in asked] == [trial.id for trial in trials(run)]
    assert [(trial["state"], trial["rung"]) for trial in document.trials] == [
        (trial.state, trial.rung) for trial in trials(run)
    ]


def test_strategies_are_checked() -> None:
    problems: list[Any] = []
    assert parse_strategies("optuna+asha, random", problems) == [Strategy("optuna", True), RANDOM]
    assert problems == []
    assert [strategy.name for strategy in parse_strategies("hyperopt+asha", problems)] == ["hyperopt+asha"]
    parse_strategies("grid,random,random", problems)
    parse_strategies("", problems)
    assert ["choose one of: hyperopt, hyperopt+asha, optuna" in problem.message for problem in problems] == [
        True,
        False,
        False,
    ]
