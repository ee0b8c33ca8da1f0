"""Synthetic decoys (an extension): one face of the defender's GAN for each label, with variations."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tasks.defenses.gan_id import GANID
from tasks.finetune.finetune import Finetune
from tasks.gan.cgan import CGAN
from tasks.gan.gan import GAN, GANChoice
from tasks.gan.latents import blocks
from tasks.inversion.fakes import Fakes
from tasks.inversion.synthetic_person import SyntheticPerson
from tasks.models.classifier import Classifier
from tests.lab import Lab
from tests.tasks.test_finetune import defender

SYNTHETIC = GANID(gan=GANChoice(settings={"steps": 10}), decoys="synthetic", steps=2, batch=2)


def product(lab: Lab, gan: GAN | None = None, **fields: Any) -> dict[str, torch.Tensor]:
    stage = SyntheticPerson(gan=gan or lab.defender_gan, **{"label": 0, "count": 8, "chunk": 4, **fields})
    return lab.run(stage).tensors("images.safetensors")


def distances(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Between each latent of one and each of the other."""
    return torch.cdist(one, other)


def test_variations_are_nearer_to_each_other_than_to_another_person(lab: Lab) -> None:
    people = [product(lab, label=label, spread=0.2)["latents"] for label in range(4)]
    within = max(distances(person, person).max().item() for person in people)
    between = min(distances(a, b).min().item() for a in people for b in people if a is not b)
    assert 0 < within < between


def test_every_variation_is_as_likely_as_any_other_face(lab: Lab) -> None:
    """z stays N(0, I) whatever the spread: over many people its entries have mean 0 and variance 1."""
    for spread in (0.2, 0.9):
        latents = torch.cat([product(lab, label=label, spread=spread)["latents"] for label in range(40)])
        assert abs(latents.mean().item()) < 0.15
        assert latents.var().item() == pytest.approx(1, abs=0.15)


def test_without_spread_all_images_are_one(lab: Lab) -> None:
    images = product(lab, spread=0)["images"]
    assert (images == images[0]).all()
    assert len(product(lab)["images"].unique(dim=0)) == 8


def test_a_seed_and_a_label_make_a_person(lab: Lab) -> None:
    first = product(lab, spread=0.2)["latents"]
    for other in (product(lab, label=1, spread=0.2), product(lab, seed=1, spread=0.2)):
        assert distances(first, other["latents"]).min() > distances(first, first).max()


def test_z_is_clamped_and_a_condition_is_that_of_the_person(lab: Lab) -> None:
    data = lab.split("train", "defender")
    gan = CGAN(data=data, latent_dim=16, width=8, steps=0, batch=8)
    z, hot, _ = blocks(gan.latent_space, product(lab, gan, clip=0.5)["latents"])
    assert z.abs().max() == 0.5
    assert len(hot) == 1
    assert (hot[0] == hot[0][0]).all()
    assert sorted(hot[0][0].tolist())[-2:] == [0, 1]


def test_nobody_shares_a_decoy_and_no_public_classifier_is_trained(lab: Lab) -> None:
    found = SYNTHETIC.protect(defender(lab), (0, 2, 4))
    publics = [pair.public for pair in found.pairs]
    assert all(isinstance(public, SyntheticPerson) for public in publics)
    assert len({public.key for public in publics if public is not None}) == 3
    assert [pair.decoy for pair in found.pairs] == [None] * 3
    stages = found.target.closure().values()
    assert {stage.role for stage in stages if isinstance(stage, Classifier)} == {"victim"}
    assert {stage.model.key for stage in stages if isinstance(stage, Fakes)} == {lab.victim.key}
    assert {stage.role for stage in stages if isinstance(stage, GAN)} == {"defender"}


def test_it_has_a_name_of_its_own_where_it_matters() -> None:
    assert SYNTHETIC.extensions == ("synthetic_decoys",)
    assert SYNTHETIC.model_copy(update={"beta": 0.0}).extensions == ("no_l_pub",)


def test_the_fine_tune_takes_them_for_the_label(lab: Lab) -> None:
    target = SYNTHETIC.model_copy(update={"steps": 30, "lr": 0.02, "alpha": 0.0}).protect(defender(lab), (0, 2)).target
    assert isinstance(target, Finetune)
    lab.run(target)
    ctx = lab.context(target)
    target.run(ctx)
    curve = [point["p_pub"] for point in ctx.curves]
    assert curve[-1] > curve[0]
