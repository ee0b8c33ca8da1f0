"""DMI's GAN: its target is asked and left alone, its terms and its discriminator do their part."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import pytest
import torch
from pydantic import ValidationError

from tasks.gan.inversion_gan import InversionGAN
from tasks.gan.inversion_networks import InversionCritic
from tasks.models.architectures import Network
from tasks.models.classifier import Classifier
from tests.lab import Lab
from tests.tasks.gan_lab import SMALL, build, distance, generator_weights, play


class Asked(NamedTuple):
    """One call of a watched network."""

    images: int
    training: bool
    graph: bool


def watch(monkeypatch: pytest.MonkeyPatch) -> tuple[list[Network], list[Asked]]:
    """Every network that a classifier hands out from now on, and every call of it."""
    handed: list[Network] = []
    asked: list[Asked] = []
    original = Classifier.network

    def network(self: Classifier, ctx: Any) -> Network:
        made = original(self, ctx)
        made.register_forward_pre_hook(
            lambda module, inputs: asked.append(Asked(len(inputs[0]), module.training, torch.is_grad_enabled()))
        )
        handed.append(made)
        return made

    monkeypatch.setattr(Classifier, "network", network)
    return handed, asked


def test_the_target_is_asked_in_eval_mode_left_alone_and_counted(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference code leaves it in train mode: labels by batch statistics, and statistics that drift."""
    stage = build(lab, InversionGAN, steps=3, n_critic=2)
    before = {name: t.clone() for name, t in lab.victim.network(lab.context(lab.victim)).state_dict().items()}
    handed, asked = watch(monkeypatch)
    metrics = stage.run(lab.context(stage))
    (target,) = handed
    assert any("running_mean" in name for name in before)
    assert all(torch.equal(t, before[name]) for name, t in target.state_dict().items())
    assert not any(module.training for module in target.modules())
    assert all(p.grad is None for p in target.parameters())
    assert {(call.training, call.graph) for call in asked} == {(False, False)}
    assert metrics["target_queries"] == sum(call.images for call in asked) == 3 * 2 * 8


def test_a_target_in_train_mode_is_refused(lab: Lab) -> None:
    world = play(lab, stage := build(lab, InversionGAN))
    assert world.target is not None
    world.target.train()
    with pytest.raises(ValueError, match="eval mode"):
        stage.critic_terms(world)


def test_a_generators_term_of_weight_0_is_not_computed(lab: Lab) -> None:
    """As it stands DMI's generator has feature matching and entropy; the adversarial term is an extension."""

    def terms(**settings: Any) -> dict[str, float]:
        stage = build(lab, InversionGAN, **settings)
        return {name: term.item() for name, term in stage.generator_terms(play(lab, stage)).items()}

    assert set(terms()) == {"matching", "entropy"}
    assert set(terms(entropy_weight=0.0)) == {"matching"}
    once, twice = terms(adversarial_weight=1.0, entropy_weight=1e-4), terms(adversarial_weight=2.0, entropy_weight=1.0)
    assert twice["generator"] == pytest.approx(2 * once["generator"])
    assert twice["entropy"] == pytest.approx(1e4 * once["entropy"])
    assert once["entropy"] == pytest.approx(1e-4 * SMALL["batch"] * math.log(6), rel=0.1)  # of 8 almost uniform rows


def test_its_discriminator_learns_the_targets_labels(lab: Lab) -> None:
    stage = build(lab, InversionGAN, steps=240, target=lab.sure_victim)
    lab.run(stage)
    ctx = lab.context(stage)
    critic: Any = stage.trained(ctx)[1]
    images, _ = stage.data.tensors(ctx)
    with torch.no_grad():
        wanted = lab.sure_victim.network(ctx)(images).softmax(dim=1)
        told = critic.logits(images).log_softmax(dim=1)
    away = (wanted * (wanted.log() - told)).sum(dim=1).mean()
    of_a_guess = (wanted * (wanted.log() + math.log(wanted.shape[1]))).sum(dim=1).mean()
    assert away < 0.75 * of_a_guess, "divergence from the target's labels"


def test_another_target_makes_another_gan(lab: Lab) -> None:
    other = lab.victim.model_copy(update={"seed": 1, "epochs": 2})
    here, there = build(lab, InversionGAN, steps=5), build(lab, InversionGAN, steps=5, target=other)
    assert here.key != there.key
    assert distance(generator_weights(lab, here), generator_weights(lab, there)) > 1e-4


def test_it_starts_from_another_gan(lab: Lab) -> None:
    first, other = build(lab, InversionGAN), lab.victim.model_copy(update={"seed": 1, "epochs": 2})
    fields = {"target": other, "start": "undefended", "init_steps": 1, "steps": 3, "lr": 1e-6, "critic_lr": 1e-6}
    from_it = build(lab, InversionGAN, init=first, **fields)
    fresh = build(lab, InversionGAN, **fields)
    assert (from_it.rounds, fresh.rounds) == (1, 3)
    assert build(lab, InversionGAN, init=first, target=other).rounds == SMALL["steps"]
    assert build(lab, InversionGAN, init=first, init_steps=1, steps=0, target=other).rounds == 0
    metrics = lab.run(from_it).metrics
    assert metrics["target_queries"] == SMALL["batch"]
    near = distance(generator_weights(lab, from_it), generator_weights(lab, first))
    away = distance(generator_weights(lab, fresh), generator_weights(lab, first))
    assert 0 < near < 1e-5 < 100 * near < away


def test_what_it_starts_from_must_fit(lab: Lab) -> None:
    with pytest.raises(ValidationError, match="same structure"):
        build(lab, InversionGAN, init=lab.defender_gan)
    with pytest.raises(ValidationError, match=r"width: 4 \(here 8\), batch: 4 \(here 8\)"):
        build(lab, InversionGAN, init=build(lab, InversionGAN, width=4, batch=4))
    with pytest.raises(ValidationError, match="the target takes"):
        build(lab, InversionGAN, data=lab.split("all", "defender").model_copy(update={"size": 64}))


def test_its_discriminator_judges_by_the_batch_in_training_and_by_its_reference_after(lab: Lab) -> None:
    critic = InversionCritic(1, 32, 4, classes=3, similarities=4, dims=2, batch=6)
    critic.initialise(torch.Generator().manual_seed(0))
    critic.label.weight.data[:, -4:] = 1.0  # so that the similarities count
    images = torch.randn(9, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    others = torch.cat([images[:1], images[5:]])
    assert not torch.allclose(critic.train()(images[:5])[0], critic(others)[0], atol=1e-3)
    critic.settle(images, torch.Generator().manual_seed(2))
    reference = critic.similar.reference.clone()
    assert torch.allclose(critic.eval()(images[:5])[0], critic(others)[0], atol=1e-5)
    critic.settle(images, torch.Generator().manual_seed(3))
    assert not torch.equal(critic.similar.reference, reference)
    critic.settle(images[:2], torch.Generator().manual_seed(3))
    assert bool((critic.similar.reference.flatten(1).norm(dim=1) > 0).all())


def test_initial_similarities_are_neither_nothing_nor_all(lab: Lab) -> None:
    """The code's N(0, 1) weights put every distance in the hundreds, where exp(-distance) has no gradient."""
    stage = build(lab, InversionGAN, similarities=64, similarity_dims=50)
    world = play(lab, stage)
    critic: Any = world.critic
    features = critic.trunk(world.real()[0])
    near = critic.similar(features)[:, -64:] / (len(features) - 1)
    assert 0.05 < near.mean() < 0.95
    critic.similar.project.weight.data.mul_(1 / critic.similar.scale)
    assert critic.similar(features)[:, -64:].max() < 1e-6
