"""Every attack of the registry keeps the contract; and the contract notices an attack that does not."""

from __future__ import annotations

import pytest
import torch

from tasks.attacks import ATTACKS
from tasks.attacks.attack import Inverted, WhiteBoxAttack
from tasks.attacks.gmi import GMI
from tasks.context import Context
from tasks.models.architectures import Network
from tests.lab import Lab
from tests.tasks import attack_contract as contract


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", ATTACKS)
def test_contract(lab: Lab, name: str, check: contract.Check) -> None:
    check(lab, ATTACKS[name])


@pytest.mark.parametrize("name", ATTACKS)
def test_kind_is_the_registry_name(name: str) -> None:
    assert ATTACKS[name].kind == name
    assert ATTACKS[name].group == "attack"


class Toy(WhiteBoxAttack):
    """A random walk in pixel space that keeps what the target likes: a minimal honest attack."""

    kind = "toy"
    tries: int = 30

    def invert(self, ctx: Context, target: Network) -> Inverted:
        draws = ctx.generator("latents")
        with torch.no_grad():
            best = torch.zeros(self.images, 1, 32, 32)
            losses = -target(best).log_softmax(1)[:, self.label]
            for _ in range(self.tries):
                near = (best + 0.5 * torch.randn(best.shape, generator=draws)).clamp(-1, 1)
                loss = -target(near).log_softmax(1)[:, self.label]
                best = torch.where((loss < losses)[:, None, None, None], near, best)
                losses = torch.minimum(loss, losses)
        return Inverted(best, losses, passes=0, queries=self.images * (self.tries + 1))


class Careless(Toy):
    """Breaks the contract in the ways that are easiest to get wrong."""

    kind = "careless"

    def invert(self, ctx: Context, target: Network) -> Inverted:
        target.train()
        images = 3 * torch.rand(self.images, 1, 32, 32)
        return Inverted(images, target(images)[:, 0].detach(), passes=0, queries=0)


@pytest.mark.parametrize("check", contract.CHECKS[1:], ids=lambda check: check.__name__)
def test_a_new_attack_needs_no_change_here(lab: Lab, check: contract.Check) -> None:
    check(lab, Toy)


@pytest.mark.parametrize(
    "check",
    [
        contract.raises_the_target_above_chance,
        contract.is_deterministic_and_alone,
        contract.returns_images_in_range_and_its_cost,
        contract.leaves_global_randomness_alone,
        contract.leaves_the_target_alone,
    ],
    ids=lambda check: check.__name__,
)
def test_the_contract_notices_a_careless_attack(lab: Lab, check: contract.Check) -> None:
    with pytest.raises(AssertionError):
        check(lab, Careless)


def test_wrong_shapes_are_named(lab: Lab) -> None:
    class Flat(Toy):
        kind = "flat"

        def invert(self, ctx: Context, target: Network) -> Inverted:
            return Inverted(torch.zeros(self.images, 32), torch.zeros(self.images), 0, 1)

    stage = contract.build(lab, Flat, 0)
    with pytest.raises(ValueError, match=r"returned images of shape \(4, 32\), not \(4, 1, 32, 32\)"):
        stage.run(lab.context(stage))


def test_defended_and_undefended_are_attacked_from_the_same_latents(lab: Lab) -> None:
    """The draw depends on (seed, role, label, name), never on the target: a paired comparison."""
    other = lab.victim.model_copy(update={"epochs": 1})
    one = GMI(target=lab.victim, gan=lab.attacker_gan, label=1)
    two = GMI(target=other, gan=lab.attacker_gan, label=1)
    assert one.key != two.key
    seeds = [lab.context(stage).seed("latents") for stage in (one, two)]
    assert seeds[0] == seeds[1]
    different = [one.model_copy(update=change) for change in ({"label": 2}, {"seed": 1}, {"role": "defender"})]
    assert len({lab.context(stage).seed("latents") for stage in different} | {seeds[0]}) == 4


def test_restarts_are_chosen_per_image_by_the_targets_loss(lab: Lab) -> None:
    """Each image is the best of its own starts, whichever label is attacked (never row i for class i)."""
    for label in (0, 5):
        many = contract.build(lab, GMI, label, images=6, steps=3)
        losses = torch.tensor(lab.run(many).table("samples.parquet").column("loss").to_pylist())
        few = contract.build(lab, GMI, label, images=2, steps=3).model_copy(update={"restarts": 3})
        chosen = torch.tensor(lab.run(few).table("samples.parquet").column("loss").to_pylist())
        assert torch.allclose(chosen, losses.view(2, 3).amin(dim=1), rtol=1e-3)
