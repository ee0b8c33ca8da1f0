"""What a defender who knows the attack gets of its GAN: structure and settings, never weights, seed or images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from grid.attack_choices import known_structure
from tasks.attacks.attack import GeneratorAttack
from tasks.gan.gan import GANChoice
from tasks.gan.wgan import WGAN
from tests.grid.specs import planned
from tests.grid.test_defense_rows import gan_of_defense, targets
from tests.grid.test_given_gan_spec import LATENT, WIDTH, brought, gan

BUDGET = {"wgan": {"steps": 20, "n_critic": 3, "width": 8}, "stylegan": {"steps": 30, "max_width": 64}}


@pytest.mark.parametrize("control", ["none", "untrained"])
def test_a_given_gan_is_known_by_its_structure_and_shape(tmp_path: Path, control: str) -> None:
    """The file is the attacker's: the defender trains the same network, as the budget has it."""
    brought(tmp_path)
    attacks = ["gmi", {"name": "gmi", "as": "ours", "gan": gan()}]
    plan = planned(tmp_path, attacks=attacks, defenses=["none", "gan_d"], control=control)
    own, usual = gan_of_defense(plan, "ours"), gan_of_defense(plan, "gmi")
    assert isinstance(own, WGAN)
    assert isinstance(usual, WGAN)
    assert usual.width != WIDTH
    assert own == usual.model_copy(update={"width": WIDTH, "latent_dim": LATENT})
    assert (own.role, own.steps > 0) == ("defender", True)
    for row in plan.rows:
        for attack in (cell.evaluate.attack for cell in row.cells):
            assert isinstance(attack, GeneratorAttack)
            assert (attack.gan.kind == "given_gan") == (row.attack == "ours")
    if control == "untrained":
        assert targets(plan, "gan_d", "ours untrained") == targets(plan, "gan_d", "ours")


def given(**settings: Any) -> GANChoice:
    return GANChoice(name="given", settings={"weights": "x.safetensors", **settings})


@pytest.mark.parametrize(
    ("choice", "known"),
    [
        (None, None),
        (GANChoice(name="wgan", settings={"steps": 9, "width": 4}), {"steps": 9, "width": 4}),
        (GANChoice(name="wgan", settings={}), {}),
        (GANChoice(name="wgan", settings={"steps": 0, "width": 4}), {"steps": 20, "width": 4}),
        (GANChoice(name="dcgan", settings={"steps": 0, "width": 4}), {"width": 4}),
        (given(), {"steps": 20, "n_critic": 3}),
        (given(settings={"width": 4}, latent_dim=9), {"steps": 20, "n_critic": 3, "width": 4, "latent_dim": 9}),
        (given(settings={"steps": 0}), {"steps": 20, "n_critic": 3}),
        (given(structure="stylegan"), {"steps": 30}),
        (given(structure="dcgan", settings={"width": 4}), {"width": 4}),
    ],
)
def test_what_is_known(choice: GANChoice | None, known: dict[str, Any] | None) -> None:
    """A budget's width is of its own networks, not of the user's; what it says of training holds for any."""
    found = known_structure(choice, BUDGET)
    assert (None if found is None else found.settings) == known
    if choice is None or found is None:
        return
    assert found.name == choice.settings.get("structure", "wgan" if choice.name == "given" else choice.name)
