"""Output wrappers as targets: what they answer, how gradients pass them, and that every attack can meet them."""

from __future__ import annotations

import copy
import math
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import load
from torch import nn

from tasks.attacks import ATTACKS
from tasks.attacks.attack import Attack, GeneratorAttack
from tasks.attacks.batchnorm_matching import match_statistics
from tasks.attacks.deepinversion import DeepInversion
from tasks.attacks.scoring import CONVERGED
from tasks.attacks.target_dropout import DropoutTarget
from tasks.data.pixels import to_float
from tasks.gan import GANS
from tasks.gan.gan import TargetGAN
from tasks.models.classifier import Model
from tasks.models.inference import inference_copy
from tasks.models.training import predict
from tasks.models.wrapped import Gradient
from tasks.models.wrapped_network import WrappedNetwork, unwrapped
from tests.lab import CLASSES, Lab
from tests.tasks import attack_contract as contract
from tests.tasks.wrapped_lab import (
    WRAPPERS,
    ToyWrapper,
    network,
    noised,
    pictures,
    pullback,
    purified,
    purifier,
    toy_inner,
    wrapped,
)

COSTS = ("passes", "queries", "setup_queries")
GRADIENTS: tuple[Gradient, ...] = get_args(Gradient)


def toy_input() -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(1)
    x = torch.randn(5, 1, 2, 2, generator=draws, dtype=torch.float64)
    return x, torch.randn(5, 3, generator=draws, dtype=torch.float64)


def test_each_gradient_is_what_its_name_says() -> None:
    """All three give the same answers; their derivatives against functions written out by hand."""
    x, cotangent = toy_input()
    inner = toy_inner()
    share = 0.1 * x.mean(dim=(1, 2, 3)).square()[:, None]

    def by_hand(images: torch.Tensor) -> torch.Tensor:
        raised = inner(images).softmax(dim=1).square() + share  # the image's share is a number here
        logs: torch.Tensor = (raised / raised.sum(dim=1, keepdim=True)).log()
        return logs

    expected = {
        "straight_through": pullback(inner, x, cotangent),
        "bpda": pullback(by_hand, x, cotangent),
        "stopped": torch.zeros_like(x),
    }
    assert set(expected) == set(GRADIENTS)
    for gradient in GRADIENTS:
        toy = ToyWrapper(inner, gradient).eval()
        assert torch.allclose(toy(x), by_hand(x), atol=1e-12)
        assert torch.allclose(pullback(toy, x, cotangent), expected[gradient], atol=1e-12)
    for a, b in (("straight_through", "bpda"), ("bpda", "stopped"), ("straight_through", "stopped")):
        assert not torch.allclose(expected[a], expected[b], atol=1e-3)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("name", WRAPPERS)
def test_answers_are_confidences_of_each_image_alone(lab: Lab, name: str, gradient: Gradient) -> None:
    """In float64: in float32 the rounding of another batch size is carried on by every step of the ascent."""
    images = pictures(lab)[0][:5].double()
    target = network(lab, wrapped(lab, name, gradient=gradient)).double()
    with torch.no_grad():
        together = target(images)
        alone = torch.cat([target(image[None]) for image in images])
        again = target(images)
        turned = target(images.flip(0)).flip(0)
    assert tuple(together.shape) == (5, CLASSES)
    assert bool(together.isfinite().all())
    assert torch.allclose(together.exp().sum(dim=1), torch.ones(5).double(), atol=1e-9)
    assert torch.allclose(together.softmax(dim=1), together.exp(), atol=1e-9)
    assert torch.allclose(alone, together, atol=1e-7)
    assert torch.allclose(turned, together, atol=1e-7)
    assert torch.equal(again, together)
    assert (together.exp() - target.inner(images).softmax(dim=1)).abs().max() > 0.01, "it does something"


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_wrapped_network_is_a_target(lab: Lab, name: str) -> None:
    stage = wrapped(lab, name)
    target, images = network(lab, stage), pictures(lab)[0][:3]
    assert stage.network_of() == lab.victim
    assert stage.classes == CLASSES
    assert not any(module.training for module in target.modules())
    assert not any(p.requires_grad for p in target.parameters())
    assert torch.equal(target.features(images), target.inner.features(images))
    assert unwrapped(target) is target.inner
    assert unwrapped(target.inner) is target.inner
    assert target.classifier is target.inner.classifier


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("name", WRAPPERS)
def test_no_graph_where_none_is_wanted_and_one_where_it_is(lab: Lab, name: str, gradient: Gradient) -> None:
    images = pictures(lab)[0][:3].clone().requires_grad_(True)
    target = network(lab, wrapped(lab, name, gradient=gradient))
    with torch.no_grad():
        quiet = target(images)
        assert not torch.is_grad_enabled()
    assert not quiet.requires_grad
    assert images.grad is None
    wanted = target(images)
    assert torch.is_grad_enabled()
    assert torch.equal(wanted, quiet), "what is answered does not depend on who wants a gradient"
    (found,) = torch.autograd.grad(wanted[:, 1].sum(), images)
    assert bool(found.isfinite().all())
    assert bool((found != 0).any()) == (gradient != "stopped")
    assert all(p.grad is None for p in target.parameters())
    assert not target(images.detach()).requires_grad


@pytest.mark.parametrize("name", WRAPPERS)
def test_straight_through_on_a_trained_victim(lab: Lab, name: str) -> None:
    images = pictures(lab)[0][:3]
    target = network(lab, wrapped(lab, name))
    cotangent = torch.randn(3, CLASSES, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(pullback(target, images, cotangent), pullback(target.inner, images, cotangent), atol=1e-6)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("name", WRAPPERS)
def test_the_inference_copy_answers_alike(lab: Lab, name: str, gradient: Gradient) -> None:
    images = pictures(lab)[0][:4]
    target = network(lab, wrapped(lab, name, gradient=gradient))
    before = [id(module) for module in target.modules()]
    frozen = inference_copy(target)
    assert isinstance(frozen, WrappedNetwork)
    assert not any(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in frozen.modules()), "all are folded"
    assert frozen.body is frozen.inner.body
    assert [id(module) for module in target.modules()] == before
    assert torch.allclose(frozen(images), target(images), atol=1e-3)
    cotangent = torch.randn(4, CLASSES, generator=torch.Generator().manual_seed(0))
    wanted, found = (pullback(n, images, cotangent) for n in (target, frozen))
    assert torch.allclose(found, wanted, atol=1e-3 * float(wanted.abs().max()) + 1e-9)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_deepinversion_matches_the_inner_networks_statistics_alone(lab: Lab, gradient: Gradient) -> None:
    """A wrapper's BatchNorm has never seen the private images; here its statistics are absurd."""
    stage = DeepInversion(target=lab.victim, label=1, images=3, steps=2, bn_weight=1.0)
    victim, found = lab.victim.network(lab.context(stage)), []
    for mean in (0.0, 1000.0):
        toy = VictimToy(victim, gradient).eval()
        toy.norm.running_mean = torch.full((CLASSES,), mean)
        found.append(match_statistics(stage, lab.context(stage), toy).images)
        assert not any(module._forward_pre_hooks for module in toy.modules())
    assert torch.equal(*found)
    assert found[0].std() > 0.1


class VictimToy(ToyWrapper):
    """The toy around a network of the lab."""

    def __init__(self, inner: Any, gradient: Gradient) -> None:
        super().__init__(inner, gradient)
        self.norm = nn.BatchNorm1d(CLASSES)


@pytest.mark.parametrize("name", WRAPPERS)
def test_dropout_is_in_the_inner_network_alone(lab: Lab, name: str) -> None:
    target = network(lab, wrapped(lab, name))
    dropped = DropoutTarget(target, 0.5, 0.5, seed=1)._network
    assert isinstance(dropped, WrappedNetwork)
    hooked = {id(module) for module in dropped.modules() if module._forward_hooks}
    assert len(hooked) > 1
    assert hooked <= {id(module) for module in dropped.inner.body.modules()}
    assert not any(module._forward_hooks for module in target.modules())


def test_a_toy_is_asked_once_a_pass() -> None:
    toy = ToyWrapper(toy_inner(), "straight_through").eval()
    toy(toy_input()[0])
    assert toy.calls == 1
    assert copy.deepcopy(toy).inner is not toy.inner


def attack_on(lab: Lab, name: str, target: Model) -> Attack:
    """A few steps of any attack. Where the GAN is not trained against the target, the lab's own will do."""
    attack, few = ATTACKS[name], {"steps": 4, "images": 2, "pool": 64, "chunk": 2}
    shared: dict[str, Any] = {}
    if issubclass(attack, GeneratorAttack) and not issubclass(GANS[attack.default_gan], TargetGAN):
        shared["gan"] = lab.attacker_gan
    stage = contract.build(lab, attack, 1, target=target, **few, **shared)
    for parent in stage.upstream:
        lab.run(parent)
    return stage


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_meets_a_wrapped_target(lab: Lab, name: str) -> None:
    """It runs, twice to the same bytes, on answers of the wrapper, and counts what a bare victim would have cost."""
    stage = attack_on(lab, name, noised(lab, steps=3))
    first = contract.product(lab, stage)
    assert contract.product(lab, stage) == first
    metrics, _, rows = first
    bare, _, bare_rows = contract.product(lab, attack_on(lab, name, lab.victim))
    assert metrics["passes"] + metrics["queries"] > 0
    assert {name: metrics[name] for name in COSTS} == {name: bare[name] for name in COSTS}
    assert all(math.isfinite(row["loss"]) for row in rows)
    assert [row["target_p"] for row in rows] != [row["target_p"] for row in bare_rows]


def test_an_attack_has_converged_where_the_wrapped_model_believes_it(lab: Lab) -> None:
    """A wrapper may cap p; a cap must not pass for an attack that failed."""
    capped = attack_on(lab, "gmi", noised(lab, budget=2.0)).model_copy(update={"steps": 60})
    metrics, images, rows = contract.product(lab, capped)
    inner = predict(lab.victim.network(lab.context(capped)), to_float(load(images)["images"])).softmax(dim=1)[:, 1]
    assert [row["inner_p"] for row in rows] == inner.tolist()
    assert metrics["target_confidence"] == sum(p >= CONVERGED for p in inner.tolist()) / len(rows)
    assert [row["target_p"] for row in rows] != inner.tolist(), "what the attacker is told"
    assert "inner_p" not in contract.product(lab, attack_on(lab, "gmi", lab.victim))[2][0]


@pytest.mark.parametrize("name", ["dmi", "ami"])
def test_what_an_attacker_trains_is_trained_against_the_wrapped_target(lab: Lab, name: str) -> None:
    target = noised(lab, steps=3)
    stage = contract.build(lab, ATTACKS[name], 1, target=target)
    own = [part for part in stage.upstream if part.key != target.key]
    assert own
    assert all(getattr(part, "target", target).key == target.key for part in own)
    assert any(target.key in part.closure() for part in own)


def test_keys(lab: Lab) -> None:
    """How gradients pass is in the target's key and not in what was trained for it."""
    for name in WRAPPERS:
        stages = [wrapped(lab, name, gradient=gradient) for gradient in GRADIENTS]
        assert len({stage.key for stage in stages}) == 3
        assert len({parent.key for stage in stages for parent in stage.upstream}) == 2
    assert noised(lab).key != noised(lab, budget=0.4).key
    assert purified(lab).key != purified(lab, purifier=purifier(lab, lam=0.2)).key


@pytest.mark.parametrize("name", WRAPPERS)
def test_the_record_speaks_of_the_defenders_images(lab: Lab, name: str) -> None:
    stage = wrapped(lab, name)
    metrics, stored = lab.run(stage).metrics, lab.run(stage).tensors("answers.safetensors")
    assert stage.measured_on.audience == "defender"
    images, _ = pictures(lab, "all", "defender")
    target = network(lab, stage)
    clean, answers = (predict(n, images).softmax(dim=1) for n in (target.inner, target))
    assert torch.equal(stored["clean"], clean)
    assert torch.equal(stored["answers"], answers)
    same = sum(a.argmax() == b.argmax() for a, b in zip(clean, answers, strict=True)) / len(images)
    moved = sum((a - b).abs().sum().item() for a, b in zip(clean, answers, strict=True)) / len(images)
    assert metrics["label_agreement"] == pytest.approx(float(same))
    assert metrics["distortion"] == pytest.approx(moved, rel=1e-4)
    assert 0.02 < metrics["distortion"] < 1
