"""Control rows: the same attack with an untrained generator, asked for by a word in the spec."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest

from grid.attack_choices import untrained
from grid.plan import Plan, Row
from grid.spec_parser import load_spec
from tasks.attacks import ATTACKS
from tasks.attacks.attack import Attack, GeneratorAttack
from tasks.attacks.rerun import Rerun
from tasks.gan.gan import GANChoice
from tasks.gan.wgan import WGAN
from tests.grid.specs import only, planned, problems, write

CONTROL = {"name": "gmi", "control": "untrained"}


def names(plan: Plan) -> list[str]:
    """The attacks of the rows, each once, in order."""
    return list(dict.fromkeys(row.attack for row in plan.rows))


def rows(plan: Plan, attack: str) -> list[Row]:
    return [row for row in plan.rows if row.attack == attack]


def attacks_of(row: Row) -> list[GeneratorAttack]:
    found = [cell.evaluate.attack for cell in row.cells]
    assert all(isinstance(attack, GeneratorAttack) for attack in found)
    return found  # type: ignore[return-value]


def gan_of(row: Row) -> WGAN:
    (gan,) = {attack.gan for attack in attacks_of(row)}
    assert isinstance(gan, WGAN)
    return gan


def test_a_control_is_the_same_attack_with_a_generator_of_no_steps(tmp_path: Path) -> None:
    plan = planned(tmp_path, attacks=["gmi", CONTROL])
    assert names(plan) == ["gmi", "gmi untrained"]
    for trained, control in zip(rows(plan, "gmi"), rows(plan, "gmi untrained"), strict=True):
        assert trained.defense == control.defense
        assert gan_of(trained).steps > 0
        assert gan_of(control) == gan_of(trained).model_copy(update={"steps": 0})
        for one, other in zip(attacks_of(trained), attacks_of(control), strict=True):
            assert other == one.model_copy(update={"gan": gan_of(control)}), "all else is equal"


def test_rows_say_which_are_controls(tmp_path: Path) -> None:
    plan = planned(tmp_path, attacks=["gmi", CONTROL, "privacy"])
    assert {row.attack: row.control for row in plan.rows} == {"gmi": False, "gmi untrained": True, "privacy": False}
    document = json.loads(json.dumps(plan.document()))
    assert [row["control"] for row in document["rows"]] == [row.control for row in plan.rows]
    assert {row["attack_settings"]["gan_steps"] for row in document["rows"] if row["control"]} == {0}
    assert {entry["settings"]["gan_steps"] for entry in document["gans"]} > {0}


@pytest.mark.parametrize("defenses", [["none", "gan_id"], ["gan_id"]])
def test_one_word_for_the_whole_grid_puts_a_control_beside_each_attack_that_has_one(
    tmp_path: Path, defenses: list[str]
) -> None:
    """The key `control` is the same as an entry of each; `privacy` has no generator, so it has no control."""
    attacks: list[Any] = ["gmi", "privacy", {"name": "gmi", "as": "short", "steps": 3}]
    plan = planned(tmp_path, control="untrained", attacks=attacks, defenses=defenses)
    assert names(plan) == ["gmi", "gmi untrained", "privacy", "short", "short untrained"]
    assert {row.defense for row in rows(plan, "short untrained")} == set(defenses)
    short = {attack.steps for row in rows(plan, "short untrained") for attack in attacks_of(row)}  # type: ignore[attr-defined]
    assert short == {3}
    written = [attacks[0], CONTROL, attacks[1], attacks[2], {**attacks[2], **CONTROL, "as": "short untrained"}]
    assert set(planned(tmp_path, attacks=written, defenses=defenses).stages()) == set(plan.stages())


def test_a_control_that_is_asked_for_twice_is_there_once(tmp_path: Path) -> None:
    plan = planned(tmp_path, control="untrained", attacks=["gmi", CONTROL])
    assert names(plan) == ["gmi", "gmi untrained"]
    assert names(planned(tmp_path, control="untrained", attacks=[CONTROL])) == ["gmi untrained"]
    assert names(planned(tmp_path, control="none", attacks=["gmi"])) == ["gmi"]


def test_a_control_may_have_a_name_and_a_gan_of_its_own(tmp_path: Path) -> None:
    wide = {"name": "wgan", "width": 16}
    plan = planned(tmp_path, attacks=[{**CONTROL, "as": "noise", "gan": wide}])
    assert names(plan) == ["noise"]
    assert all(row.control for row in plan.rows)
    assert (gan_of(plan.rows[0]).steps, gan_of(plan.rows[0]).width) == (0, 16)
    plan = planned(tmp_path, attacks=[{**CONTROL, "gan": {**wide, "steps": 9}}])
    assert gan_of(plan.rows[0]).steps == 0, "the word is stronger than the number"


def test_controls_are_not_run_again(tmp_path: Path) -> None:
    """A control that fails to convince is no sign of hidden gradients."""
    plan = planned(tmp_path, attacks=["gmi", CONTROL])
    cells = {(row.attack, row.defense): [cell.evaluate.rerun for cell in row.cells] for row in plan.rows}
    assert all(rerun is not None for rerun in cells["gmi", "gan_id"])
    for row in ("gmi untrained", "gan_id"), ("gmi untrained", "none"), ("gmi", "none"):
        assert cells[row] == [None, None]
    assert len([stage for stage in plan.stages().values() if isinstance(stage, Rerun)]) == 2


def test_a_control_written_as_a_number_is_one_too(tmp_path: Path) -> None:
    """`steps: 0` of the GAN says the same, so the row says the same and has no rerun either."""
    by_hand = {"name": "gmi", "as": "gmi untrained", "gan": {"name": "wgan", "steps": 0}}
    plan = planned(tmp_path, attacks=["gmi", by_hand])
    assert all(row.control for row in rows(plan, "gmi untrained"))
    assert all(cell.evaluate.rerun is None for row in rows(plan, "gmi untrained") for cell in row.cells)
    assert set(plan.stages()) == set(planned(tmp_path, attacks=["gmi", CONTROL]).stages())


def test_the_control_of_an_attack_that_trains_more_than_a_gan(tmp_path: Path) -> None:
    """Every part is left untrained; an attack with a part that has no training has no control."""

    class Parted(Attack):
        parts: ClassVar = {"decoder": WGAN}

    spec = load_spec(write(tmp_path))
    choice = spec.attacks[0]._replace(attack=Parted, parts={"decoder": {"steps": 7, "width": 8}})
    control = untrained(choice)
    assert control is not None
    assert (control.parts, control.control) == ({"decoder": {"steps": 0, "width": 8}}, True)
    assert control.settings == choice.settings
    both = choice._replace(parts={**choice.parts, "gan": GANChoice(name="given", settings={"weights": "x"})})
    control = untrained(both)
    assert control is not None
    assert control.parts["gan"] == GANChoice(name="wgan", settings={"steps": 0})


@pytest.mark.parametrize("value", ["trained", True, 0, None, ["untrained"], {"untrained": 1}])
def test_a_word_that_does_not_exist(tmp_path: Path, value: Any) -> None:
    place, text = only(tmp_path, attacks=["gmi", {"name": "gmi", "as": "other", "control": value}])
    assert place == "attacks[1].control"
    assert "must be: untrained" in text
    assert repr(value) in text
    place, text = only(tmp_path, control=value)
    assert (place, "must be one of: none, untrained" in text, repr(value) in text) == ("control", True, True)


def test_an_attack_without_a_generator_has_no_control(tmp_path: Path) -> None:
    place, text = only(tmp_path, attacks=["gmi", {"name": "privacy", "control": "untrained"}])
    assert place == "attacks[1].control"
    assert "privacy has no generator that could be left untrained" in text


def test_the_control_of_a_given_generator_is_its_structure_untrained(tmp_path: Path) -> None:
    """Its weights were not trained here, but what they are weights of can be left as initialised."""
    gan = {
        "name": "given",
        "weights": "x.safetensors",
        "structure": "dcgan",
        "settings": {"width": 16},
        "latent_dim": 20,
    }
    spec = load_spec(write(tmp_path, attacks=[{"name": "gmi", "gan": gan}]), look=False)
    control = untrained(spec.attacks[0])
    assert control is not None
    assert control.parts["gan"] == GANChoice(name="dcgan", settings={"width": 16, "latent_dim": 20, "steps": 0})


def test_steps_0_of_all_that_is_trained_is_a_control_and_gets_no_second_one(tmp_path: Path) -> None:
    attacks = [{"name": "gmi", "gan": {"name": "wgan", "steps": 0}}, {"name": "ami", "decoder": {"steps": 0}}]
    plan = planned(tmp_path, attacks=attacks, control="untrained", defenses=["none"])
    assert [(row.attack, row.control) for row in plan.rows] == [("gmi", True), ("ami", True)]


def test_a_control_of_a_name_that_is_taken(tmp_path: Path) -> None:
    place, text = only(tmp_path, attacks=[CONTROL, {**CONTROL, "steps": 3}])
    assert (place, "two entries are called 'gmi untrained'" in text) == ("attacks", True)


def test_settings_of_a_control_are_checked_like_any_others(tmp_path: Path) -> None:
    place, _ = only(tmp_path, attacks=[{**CONTROL, "stepz": 3}])
    assert place == "attacks[0].stepz"
    place, _ = only(tmp_path, attacks=[{**CONTROL, "gan": {"name": "wgan", "width": 1}}])
    assert place == "attacks[0].gan.width"


@pytest.mark.parametrize("name", ATTACKS)
def test_whatever_an_attack_trains_is_untrained_in_its_control(tmp_path: Path, name: str) -> None:
    """Of every attack of the registry: none of the stages that only the control has was trained."""
    assert problems(tmp_path, attacks=[name], defenses=["none"]) == ()
    trains = issubclass(ATTACKS[name], GeneratorAttack) or bool(ATTACKS[name].parts)
    plan = planned(tmp_path, attacks=[name], control="untrained", defenses=["none"])
    ordinary = planned(tmp_path, attacks=[name], defenses=["none"]).stages()
    new = [stage for key, stage in plan.stages().items() if key not in ordinary and not isinstance(stage, Attack)]
    steps = [stage.config["steps"] for stage in new if "steps" in stage.config]
    assert set(steps) <= {0}
    assert len(names(plan)) == (2 if trains else 1)
    assert bool(steps) == trains
