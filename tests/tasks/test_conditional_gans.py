"""Logistic, conditional and information GANs: conditions and codes do their part, and R1 comes when it is due."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from tasks.gan import training
from tasks.gan.cgan import CGAN
from tasks.gan.conditional_networks import ProjectionCritic
from tasks.gan.dcgan import DCGAN, LogisticGAN
from tasks.gan.gan import TrainedGAN
from tasks.gan.infogan import InfoGAN, category_loss, continuous_loss
from tasks.gan.latents import blocks, draw
from tests.lab import Lab
from tests.tasks.gan_lab import build, play


@pytest.mark.parametrize("structure", [CGAN, InfoGAN])
def test_the_condition_changes_the_image(lab: Lab, structure: type[TrainedGAN]) -> None:
    """The same z with every other value of the categorical block, and with other codes."""
    stage = build(lab, structure)
    lab.run(stage)
    generator, _ = stage.trained(lab.context(stage))
    space = stage.latent_space
    z = draw(space, 1, torch.Generator().manual_seed(0)).repeat(3, 1)
    z[:, space.normal : space.normal + 3] = torch.eye(3)
    images = generator(z).detach().flatten(1)
    assert torch.pdist(images).min() / math.sqrt(images.shape[1]) > 0.02
    if space.uniform:
        z = z[:1].repeat(2, 1)
        z[:, -1] = torch.tensor([-1.0, 1.0])
        assert torch.pdist(generator(z).detach().flatten(1)).item() > 0.1


def test_a_generator_is_linear_in_its_condition_where_it_enters(lab: Lab) -> None:
    """Half of each of two people enters as the mean of both: a point inside the simplex means something."""
    generator, _ = training.build_pair(build(lab, CGAN))
    z = draw(build(lab, CGAN).latent_space, 1, torch.Generator().manual_seed(0)).repeat(3, 1)
    z[:, 16:] = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0.5, 0.5, 0]])
    first: Any = generator
    entered = first.project[0](z)
    assert torch.allclose(entered[2], entered[:2].mean(dim=0), atol=1e-6)


def test_without_a_label_a_projection_critic_says_the_mean_over_people() -> None:
    critic = randomised(ProjectionCritic(1, 32, 4, people=5))
    images = torch.randn(3, 1, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    of_each = torch.stack([critic.judge(images, torch.full((3,), person)) for person in range(5)])
    assert of_each.std(dim=0).min() > 1e-3
    assert torch.allclose(of_each.mean(dim=0), critic(images))
    critic.people.weight.data += torch.randn(1, critic.trunk.features, dtype=torch.float64)
    shifted = torch.stack([critic.judge(images, torch.full((3,), person)) for person in range(5)])
    assert torch.allclose(shifted, of_each)


def randomised(critic: Any) -> Any:
    """In float64, with weights large enough to matter."""
    draws = torch.Generator().manual_seed(0)
    for parameter in critic.double().parameters():
        nn.init.normal_(parameter, 0, 0.1, generator=draws)
    return critic.requires_grad_(False)


def test_the_fakes_that_a_cgans_critic_sees_are_of_the_people_of_the_real_batch(lab: Lab) -> None:
    stage = build(lab, CGAN)
    world = play(lab, stage)
    z, labels = world.latents(), torch.tensor([2, 0, 0, 0, 0, 0, 1, 0])
    of_people = stage.of_people(z, labels)
    assert torch.equal(of_people[:, :16], z[:, :16])
    assert torch.equal(of_people[:, 16:].argmax(dim=1), labels)
    assert torch.equal(of_people[:, 16:].sum(dim=1), torch.ones(8))


def test_infogan_learns_to_read_its_codes_and_both_players_gain(lab: Lab) -> None:
    stage = build(lab, InfoGAN)
    lab.run(stage)
    generator, critic = stage.trained(lab.context(stage))
    reader: Any = critic
    z = draw(stage.latent_space, 200, torch.Generator().manual_seed(0))
    _, (hot,), codes = blocks(stage.latent_space, z)
    with torch.no_grad():
        _, logits, means = reader.read(generator(z))
    assert (logits.argmax(dim=1) == hot.argmax(dim=1)).double().mean() > 0.8  # chance: 1/3
    assert torch.corrcoef(torch.cat([means, codes], dim=1).T)[0, 1] > 0.3
    world = play(lab, stage)
    for terms, network in ((stage.critic_terms, world.critic), (stage.generator_terms, world.generator)):
        told = {name: term for name, term in terms(world).items() if "info" in name}
        assert len(told) == 2
        for term in told.values():
            gradients = torch.autograd.grad(term, list(network.parameters()), allow_unused=True, retain_graph=True)
            assert any(g is not None and bool(g.abs().sum() > 0) for g in gradients)


def test_information_terms_by_hand() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1))) / 2
    assert category_loss(logits, torch.tensor([[1.0, 0.0], [1.0, 0.0]])).item() == pytest.approx(expected)
    means, codes = torch.tensor([[0.0, 1.0], [0.5, 0.0]]), torch.tensor([[1.0, 0.0], [0.5, -1.0]])
    assert continuous_loss(means, codes).item() == pytest.approx((1 + 1 + 0 + 1) / 2 / 2)


@pytest.mark.parametrize("settings", [{"categories": 0, "continuous": 0}, {"categories": 1}])
def test_an_infogan_without_a_code_is_refused(lab: Lab, settings: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="2 categories or 1 code"):
        build(lab, InfoGAN, **settings)


@pytest.mark.parametrize("settings", [{"categories": 0}, {"continuous": 0}, {"info_weight": 0.0}])
def test_an_infogan_with_one_kind_of_code_trains(lab: Lab, settings: dict[str, Any]) -> None:
    metrics = lab.run(build(lab, InfoGAN, steps=2, **settings)).metrics
    informed = {name.removeprefix("generator_") for name in metrics if "info" in name}
    kinds = {"info_continuous"} if "categories" in settings else {"info_category"}
    assert informed == (set() if "info_weight" in settings else kinds)


def test_the_generators_term_is_eq_3s_or_the_non_saturating_one(lab: Lab) -> None:
    scores = torch.tensor([-2.0, 0.5])
    p = [1 / (1 + math.exp(-s)) for s in scores.tolist()]
    plain, to_the_letter = build(lab, DCGAN), build(lab, DCGAN, saturating=True)
    assert plain.fooled(scores).item() == pytest.approx(-(math.log(p[0]) + math.log(p[1])) / 2)
    assert to_the_letter.fooled(scores).item() == pytest.approx((math.log(1 - p[0]) + math.log(1 - p[1])) / 2)


@pytest.mark.parametrize("structure", [DCGAN, CGAN, InfoGAN])
def test_r1_comes_in_every_so_many_steps_as_many_times_as_strong(lab: Lab, structure: type[LogisticGAN]) -> None:
    def penalty(step: int, **settings: Any) -> float | None:
        stage = build(lab, structure, **settings)
        world = play(lab, stage)
        world.step = step
        term = stage.critic_terms(world).get("r1")
        return None if term is None else term.item()

    once = penalty(4, r1_weight=0.5, r1_every=1)
    assert once is not None
    assert penalty(4, r1_weight=0.5, r1_every=4) == pytest.approx(4 * once, rel=1e-4)
    assert penalty(4, r1_weight=1.0, r1_every=1) == pytest.approx(2 * once, rel=1e-4)
    assert penalty(5, r1_every=4) is None
    assert penalty(4, r1_weight=0.0) is None
