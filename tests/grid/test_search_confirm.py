"""A pick is confirmed by an ordinary grid in which nothing is what the search selected by."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from grid.expand import expand
from grid.places import document_name
from grid.plan import Plan, leaks
from grid.problems import SpecError
from grid.search_confirm import (
    check_grids,
    confirmed_values,
    confirming_seeds,
    confirming_spec,
    row_name,
    write_spec,
)
from grid.search_study import Aim, Study
from grid.spec_parser import load_spec
from grid.store import Store
from tasks.attacks.attack import GeneratorAttack
from tasks.finetune.finetune import Finetune
from tasks.gan.gan import GAN
from tests.grid.searching import study
from tests.grid.specs import problems, write

CHOSEN = {"alpha": 2.34, "lambda3": 45.6, "omega": 1.0}
DEFENSES = [{"name": "gan_id", "lr": 0.003, "fakes": {"steps": 7}}, "none", {"name": "gan_id", "as": "other"}]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Plan]:
    folder = tmp_path_factory.mktemp("confirm")
    changes: dict[str, Any] = {"defenses": DEFENSES, "seeds": [3, 5, 8], "attacks": ["gmi", "privacy"]}
    found, _ = study(folder, **changes)
    spec = confirming_spec(load_spec(write(folder, **changes)), found, "small-mine", "max-privacy-at-drop=3", CHOSEN)
    return found, expand(spec)


def test_the_first_seed_is_the_searchs_and_the_others_confirm() -> None:
    assert confirming_seeds([3, 5, 8]) == [5, 8]
    assert confirming_seeds([3]) == [4, 5]
    assert confirming_seeds([3, 5]) == [5], "as it was before a search could have several"
    assert confirming_seeds([3, 5, 8], 2) == [8, 9]
    assert confirming_seeds([3, 5, 8, 9], 2) == [8, 9]
    assert confirming_seeds([5, 3], 2) == [6, 7]


def test_it_is_a_grid_of_the_specs_attacks_with_the_picked_coefficients(made: tuple[Study, Plan]) -> None:
    found, plan = made
    assert plan.name == "small-mine.max-privacy-at-drop-3"
    rows = {(row.defense, row.attack) for row in plan.rows}
    named = "gan_id max-privacy-at-drop-3"
    assert rows == {(defense, attack) for defense in ("none", named) for attack in ("gmi", "privacy")}
    assert row_name(found, "max-privacy-at-drop=3", CHOSEN) == named
    tuned = [stage for stage in plan.stages().values() if isinstance(stage, Finetune)]
    assert {stage.seed for stage in tuned} == {5, 8}
    assert {(s.alpha, s.lambda3, s.omega, s.lr) for s in tuned} == {(2.34, 45.6, 1.0, 0.003)}, "the rest is the spec's"
    assert {s.pairs[0].private.steps for s in tuned if s.pairs[0].private is not None} == {7}  # type: ignore[attr-defined]


def test_nothing_in_it_is_what_the_search_selected_by(made: tuple[Study, Plan]) -> None:
    found, plan = made
    assert leaks(plan) == []
    seen = {**found.attack(found.victim(3), Aim(3, 0)).closure(), **found.second(3).closure()}
    shared = seen.keys() & plan.stages().keys()
    assert {plan.stages()[key].group for key in shared} == {"data"}, "other seeds: nothing trained is shared"
    attackers = {s.gan.role for s in plan.stages().values() if isinstance(s, GeneratorAttack)}
    assert attackers == {"confirm"}
    gans = [s for s in plan.stages().values() if isinstance(s, GAN) and s.role == "confirm"]
    assert {gan.data.audience for gan in gans} == {"attacker"}
    ordinary = expand(load_spec(write(found.world.spec.folder, seeds=[5, 8])))
    assert not {gan.key for gan in gans} & ordinary.stages().keys()


def test_an_attacker_that_confirms_may_not_have_the_defenders_images(made: tuple[Study, Plan]) -> None:
    """The planner's own proof covers the role."""
    _, plan = made
    gan = next(s for s in plan.stages().values() if isinstance(s, GAN) and s.role == "confirm")
    other = next(s for s in plan.stages().values() if isinstance(s, GAN) and s.role == "defender")
    row = plan.rows[0]
    attack = row.cells[0].evaluate.attack.model_copy(update={"gan": gan.model_copy(update={"data": other.data})})
    evaluate = row.cells[0].evaluate.model_copy(update={"attack": attack, "rerun": None})
    cell = dataclasses.replace(row.cells[0], evaluate=evaluate)
    spoiled = dataclasses.replace(plan, rows=(dataclasses.replace(row, cells=(cell,)),))
    assert any("the defender's public images" in problem.message for problem in leaks(spoiled))


def test_the_written_spec_plans_the_same_grid(made: tuple[Study, Plan], tmp_path: Path) -> None:
    found, plan = made
    spec = confirming_spec(found.world.spec, found, "small-mine", "max-privacy-at-drop=3", CHOSEN)
    write_spec(spec, tmp_path / "confirm.yaml")
    again = expand(load_spec(str(tmp_path / "confirm.yaml")))
    assert set(again.stages()) == set(plan.stages())
    assert again.name == plan.name


def test_nested_and_extended_coefficients_reach_the_spec(tmp_path: Path) -> None:
    text = 'from ray import tune\nSPACE = {"fakes.count": tune.choice([4, 8]), "replay": tune.uniform(0, 2)}\n'
    found, _ = study(tmp_path, text, defenses=["none", {"name": "gan_id", "fakes": {"steps": 7}}])
    spec = confirming_spec(found.world.spec, found, "s", "knee", {"fakes.count": 4, "replay": 1.0})
    (choice,) = [choice for choice in spec.defenses if choice.defense.name == "gan_id"]
    assert choice.shown == "gan_id+replay knee", "a row with an extension says so"
    assert choice.defense.fakes.count == 4  # type: ignore[attr-defined]
    assert choice.defense.fakes.steps == 7  # type: ignore[attr-defined]


def row(defense: str, attack: str, aa: float | None, control: bool = False) -> dict[str, Any]:
    """A line of a grid's table, as far as a confirmation reads it."""
    rates = {"mc_all": 0.9, "mc_target": 1.0, "aa_top1": aa, "aa_top5": 0.5}
    ends = {f"{name}_low": (value or 0) - 0.05 for name, value in rates.items()}
    ends |= {f"{name}_high": (value or 0) + 0.1 for name, value in rates.items()}
    about = {"defense": defense, "attack": attack, "control": control, "images": 48, "aa_top1_second": 0.2}
    return {**about, **rates, **ends, "target_confidence": 1.0}


def test_the_attack_that_gets_most_counts() -> None:
    rows = [
        row("none", "gmi", 0.5),
        row("d", "gmi", 0.1),
        row("d", "mirror", 0.3),
        row("d", "gmi untrained", 0.9, True),
    ]
    found = confirmed_values(rows, "d", [0], [1])
    assert found is not None
    assert (found["aa_top1"], found["attack"], found["by_attack"]["gmi"]["aa_top1"]) == (0.3, "mirror", 0.1)
    undefended = confirmed_values(rows, None, [0], [1])
    assert undefended is not None
    assert undefended["aa_top1"] == 0.5
    unfinished = [*rows, row("d", "privacy", None)]
    assert confirmed_values(unfinished, "d", [0], [1]) is None, "an incomplete grid confirms nothing"
    assert confirmed_values(rows, "e", [0], [1]) is None


def test_a_confirmed_rate_carries_the_tables_interval_and_what_it_rests_on() -> None:
    found = confirmed_values([row("d", "gmi", 0.1), row("d", "mirror", 0.3)], "d", (2, 7), (1, 2))
    assert found is not None
    for name, value in {"aa_top1": 0.3, "aa_top5": 0.5, "mc_all": 0.9, "mc_target": 1.0}.items():
        assert (found[f"{name}_low"], found[f"{name}_high"]) == pytest.approx((value - 0.05, value + 0.1)), name
    assert found["by_attack"]["gmi"]["aa_top1_low"] == pytest.approx(0.05)
    about = {"judge": "F_E", "split": "test split", "labels": [2, 7], "seeds": [1, 2], "images": 48}
    assert found["basis"] == about
    bare = {name: value for name, value in row("d", "gmi", 0.1).items() if not name.endswith(("_low", "_high"))}
    without = confirmed_values([bare], "d", [0], [1])
    assert without is not None
    assert "aa_top1_low" not in without


def test_a_wrong_role_is_refused(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, attacker_role="search")
    assert "must be one of: attacker, confirm" in found.message


def test_a_confirmation_takes_no_other_grids_place(tmp_path: Path) -> None:
    """Its own earlier one it does: a search that goes on may pick another trial by the same rule."""
    store, place = Store(str(tmp_path)), document_name("mine.knee")
    check_grids("mine", ["knee"], store)
    store.write_document(place, {"name": "mine.knee", "rows": [], "spec": {"attacker_role": "confirm"}})
    check_grids("mine", ["knee"], store)
    store.write_document(place, {"name": "mine.knee", "rows": [], "spec": {}})
    check_grids("mine", ["max-privacy-at-drop=3"], store)
    with pytest.raises(SpecError, match=r"'mine\.knee', but the store holds another grid of that name"):
        check_grids("mine", ["max-privacy-at-drop=3", "knee"], store)
    store.write_document(document_name("search-x.knee"), {"name": "x.knee", "trials": []})
    with pytest.raises(SpecError, match=r"holds the record of the search 'x\.knee'"):
        check_grids("search-x", ["knee"], store)
