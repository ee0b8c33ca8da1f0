"""The purifier: what it is trained for, that labels stay, and that answers vary less within a label."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from tasks.artifact import Artifact
from tasks.defenses.purifier import Purification, Purified, PurifierSettings
from tasks.defenses.purifier_training import label_loss, permute_labels, reconstruction_loss
from tasks.models.training import predict
from tasks.models.wrapped_record import dispersion, distortion, label_agreement
from tests.lab import CLASSES, Lab
from tests.resuming import killed_and_resumed
from tests.tasks.wrapped_lab import defender, network, pictures, purified, purifier


def answers(lab: Lab, stage: Purified, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Confidences of the victim and of the purified victim."""
    target = network(lab, stage)
    return predict(target.inner, images).softmax(dim=1), predict(target, images).softmax(dim=1)


def test_the_losses_by_hand() -> None:
    draws = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, generator=draws, dtype=torch.float64)
    p = torch.randn(3, 4, generator=draws, dtype=torch.float64).softmax(dim=1)
    squares, entropies = [], []
    for row, vector in zip(logits.tolist(), p.tolist(), strict=True):
        total = math.fsum(math.exp(z) for z in row)
        q = [math.exp(z) / total for z in row]
        squares.append(math.fsum((a - b) ** 2 for a, b in zip(q, vector, strict=True)))
        entropies.append(-math.log(q[vector.index(max(vector))]))
    assert reconstruction_loss(logits, p).item() == pytest.approx(math.fsum(squares) / 3)
    assert label_loss(logits, p).item() == pytest.approx(math.fsum(entropies) / 3)


def test_dispersion_by_hand() -> None:
    vectors, labels = torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8]]), torch.tensor([0, 0, 1])
    assert dispersion(vectors, labels) == pytest.approx(2 * (0.1**2 + 0.1**2) / 3)
    assert dispersion(vectors[labels], torch.zeros(3)) > 0
    assert distortion(vectors, vectors.flip(1)) == pytest.approx((1.6 + 0.8 + 1.2) / 3)
    assert label_agreement(vectors, torch.tensor([[0.6, 0.4], [0.3, 0.7], [0.1, 0.9]])) == pytest.approx(2 / 3)


def test_labels_stay_and_answers_vary_less_within_a_label(lab: Lab) -> None:
    """Also of people whom the purifier has not seen, the private ones among them."""
    stage = purified(lab)
    for part, audience in (("all", "defender"), ("train", "private"), ("test", "private")):
        clean, found = answers(lab, stage, pictures(lab, part, audience)[0])
        assert torch.allclose(found.sum(dim=1), torch.ones(len(found)), atol=1e-5)
        assert bool((found >= 0).all())
        assert label_agreement(clean, found) > 0.9
        assert 0.05 < distortion(clean, found) < 0.8
    metrics = lab.run(stage).metrics
    assert metrics["dispersion"] < 0.9 * metrics["dispersion_clean"]


def test_lambda_weighs_the_label_against_the_vector(lab: Lab) -> None:
    images, _ = pictures(lab, "all", "defender")
    moved = [
        distortion(*answers(lab, purified(lab, purifier=purifier(lab, lam=lam)), images)) for lam in (0.0, 0.3, 3.0)
    ]
    assert moved[0] < moved[1] < moved[2]
    reconstruction = [lab.run(purifier(lab, lam=lam)).metrics["reconstruction"] for lam in (0.0, 3.0)]
    assert reconstruction[0] < reconstruction[1] / 3


def test_labels_without_a_public_image_are_learned_by_permutation(lab: Lab) -> None:
    """The victim takes the 24 public images for some of its people only."""
    images, _ = pictures(lab)
    agreements = []
    for permuted in (0.0, 0.5):
        clean, found = answers(lab, purified(lab, purifier=purifier(lab, permuted=permuted, copies=0)), images)
        agreements.append(label_agreement(clean, found))
    assert agreements[1] > agreements[0] + 0.1


def test_permutations_are_each_vectors_own() -> None:
    p = torch.rand(40, 5, generator=torch.Generator().manual_seed(0)).softmax(dim=1)
    found = permute_labels(p, 30, torch.Generator().manual_seed(1))
    assert torch.equal(found[30:], p[30:])
    assert torch.equal(found.sort(dim=1).values, p.sort(dim=1).values)
    orders = {
        tuple(int((row == value).nonzero()[0]) for value in own) for row, own in zip(found[:30], p[:30], strict=True)
    }
    assert len(orders) > 15
    assert torch.equal(permute_labels(p, 0, torch.Generator()), p)


def test_bpda_is_the_purifiers_own_derivative(lab: Lab) -> None:
    """Against central differences of the answers themselves, in float64."""
    images = pictures(lab)[0][:2].double()
    target = network(lab, purified(lab, gradient="bpda")).double()
    draws = torch.Generator().manual_seed(0)
    direction = torch.randn(images.shape, generator=draws, dtype=torch.float64)
    cotangent = torch.randn(2, CLASSES, generator=draws, dtype=torch.float64)
    x = images.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad((target(x) * cotangent).sum(), x)
    with torch.no_grad():
        apart = target(images + 1e-6 * direction) - target(images - 1e-6 * direction)
    assert (gradient * direction).sum().item() == pytest.approx((apart * cotangent).sum().item() / 2e-6, rel=1e-4)


def test_a_certain_purifier_still_has_finite_logarithms(lab: Lab) -> None:
    target = network(lab, purified(lab))
    out = target.get_submodule("purifier.out")
    assert isinstance(out, torch.nn.Linear)
    out.weight.data *= 1e3
    found = target(pictures(lab)[0][:4])
    assert found.exp().min() == 0
    assert bool(found.isfinite().all())


def test_how_gradients_pass_needs_no_new_training(lab: Lab) -> None:
    kinds = [
        Purification(gradient=g, attackers="through").protect(defender(lab), (0,)).target for g in ("bpda", "stopped")
    ]
    assert kinds[0].key != kinds[1].key
    assert [stage.key for stage in kinds[0].upstream] == [stage.key for stage in kinds[1].upstream]


@pytest.mark.parametrize("kill_at", [1, 3, 4])
def test_a_killed_training_ends_as_an_undisturbed_one(lab: Lab, kill_at: int) -> None:
    stage = purifier(lab, steps=4)
    killed_and_resumed(lab, stage, kill_at)


def test_weights_are_loaded_strictly(lab: Lab) -> None:
    stage = purifier(lab)
    weights = load_file(lab.run(stage).path("purifier.safetensors"))
    weights["wrong.weight"] = weights.pop("out.weight")
    damaged = lab.root / "purifier_damaged.safetensors"
    save_file(weights, damaged)
    ctx = lab.context(purified(lab), load=lambda _: Artifact(stage.key, {}, lambda name: damaged))
    with pytest.raises(RuntimeError, match=r"wrong\.weight"):
        stage.trained(ctx)


def test_it_learns_from_the_defenders_public_images_alone(lab: Lab) -> None:
    """Of members' own vectors it would learn what is peculiar to members (Yang et al.)."""
    for split in (lab.split("train"), lab.split("test"), lab.split("all", "attacker")):
        with pytest.raises(ValidationError, match="trained on the defender's public images"):
            purifier(lab, data=split)
    target = Purification(attackers="through", lam=0.7).protect(defender(lab), (1,)).target
    assert isinstance(target, Purified)
    assert target.purifier.data == lab.split("all", "defender")
    assert target.purifier.lam == 0.7
    settings = {name: getattr(target.purifier, name) for name in PurifierSettings.model_fields}
    assert settings == PurifierSettings(lam=0.7).model_dump()
