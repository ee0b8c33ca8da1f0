"""Random fakes: real photographs of l_t and l_p in place of inversed ones, drawn fairly and from the right people."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from tasks.data.split import Audience
from tasks.defenses.gan_id import GANID
from tasks.defenses.random_fakes import Photographs, RandomFakes
from tasks.finetune.finetune import Finetune
from tasks.gan.gan import GAN
from tests.lab import CLASSES, Lab, folder_digests
from tests.tasks.test_finetune import defender

EACH = 5  # training photographs of a private person of the lab


def drawn(lab: Lab, audience: Audience = "private", **fields: Any) -> torch.Tensor:
    """The photographs of a stage, in order."""
    stage = Photographs(**{"data": lab.split("train", audience), "label": 2, "count": 3, **fields})
    return stage.images(lab_context(lab, stage))


def lab_context(lab: Lab, stage: Photographs) -> Any:
    lab.run(stage)
    return lab.context(stage)


def places(lab: Lab, images: torch.Tensor, audience: Audience = "private") -> list[tuple[int, int]]:
    """(label, row) of each image in its split: found by equality, so nothing was changed on the way."""
    split = lab.split("train", audience)
    known, labels = split.tensors(lab.context(split))
    found = []
    for image in images:
        rows = (known == image).flatten(1).all(dim=1).nonzero().flatten().tolist()
        assert len(rows) == 1
        found.append((int(labels[rows[0]]), rows[0]))
    return found


@pytest.mark.parametrize("count", [1, 3, EACH])
@pytest.mark.parametrize("label", [0, 2, CLASSES - 1])
def test_while_there_are_enough_none_is_drawn_twice(lab: Lab, label: int, count: int) -> None:
    found = places(lab, drawn(lab, label=label, count=count))
    assert {of for of, _ in found} == {label}
    assert len(set(found)) == len(found) == count


def test_a_persons_few_are_all_drawn_before_one_is_again(lab: Lab) -> None:
    """12 of 5: two whole rounds, each in an order of its own, and two more."""
    found = places(lab, drawn(lab, count=2 * EACH + 2))
    rounds = [found[:EACH], found[EACH : 2 * EACH]]
    assert set(rounds[0]) == set(rounds[1])
    assert len(set(rounds[0])) == EACH
    assert rounds[0] != rounds[1]
    assert len(set(found[2 * EACH :])) == 2


def test_few_are_the_first_of_many(lab: Lab) -> None:
    assert torch.equal(drawn(lab, count=3), drawn(lab, count=EACH)[:3])


def test_the_draw_is_random_and_repeatable(lab: Lab) -> None:
    """In no fixed order, another for another seed, and the same bytes whatever torch's generator is at."""
    orders = {tuple(row for _, row in places(lab, drawn(lab, count=EACH, seed=seed))) for seed in range(4)}
    assert len(orders) > 1
    stage = Photographs(data=lab.split("train"), label=2, count=7)
    products = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        ctx = lab.context(stage)
        products.append((stage.run(ctx), folder_digests(ctx.out)))
    assert products[0] == products[1]
    assert products[0][0] == {"photographs": EACH}


@pytest.mark.parametrize("part", ["val", "test", "all"])
def test_only_training_images_are_drawn(lab: Lab, part: Any) -> None:
    with pytest.raises(ValidationError, match=f"training images, not self.data.part='{part}'"):
        Photographs(data=lab.split(part), label=0)


def test_a_label_that_is_not_there_is_refused(lab: Lab) -> None:
    with pytest.raises(ValidationError, match=f"label={CLASSES} but the split has labels 0..{CLASSES - 1}"):
        Photographs(data=lab.split("train"), label=CLASSES)


def test_l_t_is_private_and_l_p_public(lab: Lab) -> None:
    found = RandomFakes(count=4).protect(defender(lab), (2, 5))
    assert isinstance(found.target, Finetune)
    assert found.target.pairs == found.pairs
    for pair, label in zip(found.pairs, (2, 5), strict=True):
        assert isinstance(pair.private, Photographs)
        assert isinstance(pair.public, Photographs)
        assert (pair.label, pair.decoy) == (label, label % 2)
        assert (pair.private.data, pair.private.label, pair.private.count) == (lab.split("train"), label, 4)
        assert (pair.public.data, pair.public.label) == (lab.split("train", "classifier"), label % 2)
        context = lab_context(lab, pair.public)
        assert {of for of, _ in places(lab, pair.public.images(context), "classifier")} == {label % 2}
    assert {people for p in found.pairs for people in p.public.data.people}.isdisjoint(lab.split("train").people)  # type: ignore[union-attr]


def test_all_but_the_samples_is_as_in_gan_id(lab: Lab) -> None:
    """Table III compares the samples: loss, Fisher and steps are shared, and no GAN is trained."""
    random, inversed = (d.protect(defender(lab), (2,)).target for d in (RandomFakes(lr=0.01), GANID(lr=0.01)))
    assert isinstance(random, Finetune)
    assert random == inversed.model_copy(update={"pairs": random.pairs})
    assert not any(isinstance(stage, GAN) for stage in random.closure().values())
    assert lab.public_classifier.key not in random.closure(), "whose photographs it takes, not F_C"


def test_its_ablations_are_named_like_the_others() -> None:
    assert RandomFakes().extensions == ()
    assert RandomFakes(beta=0, omega=0).extensions == ("no_l_pub", "no_l_cl")
    assert RandomFakes(gamma=0, replay=1).extensions == ("replay", "ce")


@pytest.mark.parametrize("audience", ["attacker", "judge"])
def test_only_images_that_a_defender_has(lab: Lab, audience: Audience) -> None:
    data = lab.split("train", "attacker").model_copy(update={"audience": audience})
    with pytest.raises(ValidationError, match="a defender has images of"):
        Photographs(data=data, label=0)
