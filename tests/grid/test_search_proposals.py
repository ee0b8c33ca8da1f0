"""Where coefficients come from: chance, a grid, and models that are told the truth about stopped trials."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from grid.problems import SpecError
from grid.search_objectives import OBJECTIVES, Goals, parse_objectives, parse_picks
from grid.search_proposals import ModelProposals, grid_points, make_proposals, within
from grid.search_space import Space
from tests.grid.searching import GOALS, UNDEFENDED, metrics, space_of

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
TEXT = """
from ray import tune
SPACE = {
    "alpha": tune.loguniform(0.3, 10.0),  # push
    "lpri": tune.choice(["detached", "ce"]),  # form
    "steps": tune.randint(10, 20),  # steps
    "omega": 1.0,  # fixed
}
"""


@pytest.fixture
def space(tmp_path: Path) -> Space:
    return space_of(tmp_path, TEXT)


def trial(number: int, state: str, space: Space, alpha: float, **changes: float) -> dict[str, Any]:
    coefficients = {"alpha": alpha, "lpri": "ce", "steps": 12, "omega": 1.0}
    return {"id": f"t{number}", "state": state, "coefficients": coefficients, "metrics": metrics(**changes)}


def make(algorithm: str, space: Space, ended: Any = (), goals: Goals = GOALS, trials: int = 20, seed: int = 0) -> Any:
    return make_proposals(algorithm, space, goals, UNDEFENDED, seed, trials, ended)


def inside(space: Space, chosen: Mapping[str, Any]) -> bool:
    return within(space, {"coefficients": space.complete(chosen)})


@pytest.mark.parametrize("algorithm", ["optuna", "hyperopt", "random", "grid"])
def test_every_algorithm_stays_in_the_space_and_asks_again(algorithm: str, space: Space) -> None:
    proposals = make(algorithm, space)
    seen = []
    for number in range(1, 13):
        chosen = proposals.ask(f"t{number}", number)
        assert inside(space, chosen), chosen
        seen.append(tuple(space.complete(chosen).values()))
        state = ("finished", "stopped", "failed")[number % 3]
        proposals.tell(f"t{number}", state, metrics(aa_top1=0.1 * (number % 5)))
    assert len(set(seen)) > 8


def test_a_random_trial_does_not_depend_on_those_before_it(space: Space) -> None:
    one, other = make("random", space), make("random", space)
    later = [other.ask("x", number) for number in (3, 2, 1)]
    assert [one.ask("x", number) for number in (1, 2, 3)] == later[::-1]
    assert make("random", space, seed=1).ask("x", 1) != one.ask("x", 1)


def test_a_grid_holds_every_choice_and_as_many_values_as_fit(space: Space) -> None:
    points = grid_points(space, 20)
    assert len(points) == 2 * 3 * 3, "lpri twice, alpha and steps thrice; four of one would be 24"
    assert {point["lpri"] for point in points} == {"detached", "ce"}
    assert sorted({point["steps"] for point in points}) == [10, 14, 19]
    assert make("grid", space).ask("x", 19) is None
    with pytest.raises(SpecError, match="2 combinations"):
        grid_points(space, 1)


def test_optuna_counts_only_finished_trials_as_complete(space: Space) -> None:
    ended = [trial(1, "finished", space, 1.0), trial(2, "stopped", space, 2.0), trial(3, "failed", space, 3.0)]
    proposals = make("optuna", space, ended)
    assert isinstance(proposals, ModelProposals)
    proposals.ask("t4", 4)
    proposals.tell("t4", "stopped", metrics(aa_top1=0.0))
    study = proposals._search._ot_study
    assert [found.state.name for found in study.trials] == ["COMPLETE", "PRUNED", "FAIL", "PRUNED"]
    assert [found.params["alpha"] for found in study.trials[:3]] == [1.0, 2.0, 3.0]
    assert study.trials[0].values == [UNDEFENDED[name] for name in OBJECTIVES]
    assert [way.name for way in study.directions] == ["MAXIMIZE", "MAXIMIZE", "MINIMIZE", "MINIMIZE"]


def test_optuna_is_told_how_far_a_trial_breaks_the_limit(space: Space) -> None:
    goals = Goals(GOALS.objectives, max_drop=3)
    ended = [trial(1, "finished", space, 1.0, mc_all=0.9), trial(2, "finished", space, 2.0, mc_all=0.5)]
    study = make("optuna", space, ended, goals)._search._ot_study
    broken = [next(iter(found.constraints.values())) for found in study.trials]
    assert broken == [pytest.approx(-0.03), pytest.approx(0.37)]
    assert [found.number for found in study.best_trials] == [0], "the second trial is not feasible"


def test_optuna_learns_from_what_it_is_told(space: Space) -> None:
    """Privacy is best at small alpha, whatever else; after 40 trials that is where it looks."""
    goals = Goals((("aa_top1", "min"),))
    proposals = make("optuna", space, (), goals, seed=1)
    asked = []
    for number in range(1, 61):
        chosen = proposals.ask(f"t{number}", number)
        asked.append(chosen["alpha"])
        proposals.tell(f"t{number}", "finished", metrics(aa_top1=chosen["alpha"] / 10))
    assert sum(asked[40:]) / 20 < 0.5 * sum(asked[:10]) / 10


@pytest.mark.parametrize("algorithm", ["optuna", "hyperopt"])
def test_a_resumed_model_does_not_repeat_its_first_draws(algorithm: str, space: Space) -> None:
    first = make(algorithm, space)
    chosen = [space.complete(first.ask(f"t{n}", n)) for n in range(1, 4)]
    ended = [{"id": "t", "state": "finished", "coefficients": c, "metrics": metrics()} for c in chosen]
    second = make(algorithm, space, ended)
    assert space.complete(second.ask("t4", 4)) not in chosen


def test_hyperopt_replays_each_result_to_its_own_point(space: Space) -> None:
    ended = [trial(n, "finished", space, float(n), aa_top1=n / 10) for n in (1, 2, 3)]
    search = make("hyperopt", space, ended)._search
    told = {found["misc"]["vals"]["alpha"][0]: found["result"]["loss"] for found in search._hpopt_trials.trials}
    expected = {float(n): -GOALS.score(metrics(aa_top1=n / 10), UNDEFENDED) for n in (1, 2, 3)}
    assert told == pytest.approx(expected)


def test_trials_of_another_space_are_left_out(space: Space) -> None:
    good = trial(1, "finished", space, 1.0)
    assert within(space, good)
    for change in ({"alpha": 11.0}, {"omega": 2.0}, {"lpri": "literal"}, {"replay": 1.0}):
        assert not within(space, {"coefficients": {**good["coefficients"], **change}})
    assert not within(space, {"coefficients": {"alpha": 1.0}})


def test_the_score_is_the_mean_of_the_objectives_less_the_penalty() -> None:
    goals = Goals(GOALS.objectives, max_drop=3)
    fine = metrics(mc_all=0.88, mc_target=1.0, aa_top1=0.1, aa_top5=0.4)
    assert goals.score(fine, UNDEFENDED) == pytest.approx((0.88 + 1 - 0.1 - 0.4) / 4)
    lost = metrics(mc_all=0.5, mc_target=1.0, aa_top1=0.0, aa_top5=0.0)
    assert goals.score(lost, UNDEFENDED) == pytest.approx((0.5 + 1) / 4 - 10 * 0.37)


def test_picks_keep_to_their_limit() -> None:
    def finished(name: str, mc_all: float, aa_top1: float) -> dict[str, Any]:
        return {"id": name, "state": "finished", "metrics": metrics(mc_all=mc_all, aa_top1=aa_top1)}

    trials = [finished("useful", 0.9, 0.4), finished("between", 0.87, 0.2), finished("private", 0.4, 0.0)]
    picked = {
        rule: (GOALS.pick(rule, trials, UNDEFENDED) or {}).get("id")
        for rule in ("knee", "max-privacy-at-drop=3", "max-privacy-at-drop=1", "max-privacy-at-drop=60")
    }
    assert picked == {
        "knee": "between",
        "max-privacy-at-drop=3": "between",
        "max-privacy-at-drop=1": "useful",
        "max-privacy-at-drop=60": "private",
    }
    strict = Goals(GOALS.objectives, max_drop=1)
    assert strict.front(trials, UNDEFENDED) == ["useful"]
    assert strict.pick("knee", trials[1:], UNDEFENDED) is None


def test_options_are_checked() -> None:
    problems: list[Any] = []
    assert parse_objectives("mc_all, aa_top1", problems) == (("mc_all", "max"), ("aa_top1", "min"))
    assert parse_picks(["knee", "max-privacy-at-drop=2.5", "none", "knee"], problems) == [
        "knee",
        "max-privacy-at-drop=2.5",
    ]
    assert problems == []
    parse_objectives("aa_top2", problems)
    parse_objectives("mc_all,mc_all", problems)
    parse_objectives("", problems)
    parse_picks(["max-privacy-at-drop=lots"], problems)
    assert [problem.place for problem in problems] == ["--objectives"] * 3 + ["--pick"]
    assert "did you mean 'aa_top" in problems[0].message
