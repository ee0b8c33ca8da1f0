"""What the guarantee of DP-SGD rests on holds in every step: images apart, clipping, noise, Poisson batches."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from tasks.models.architectures import build, group_norm
from tasks.models.augment import augment
from tasks.models.initialise import initialise
from tasks.models.private_training import PrivateTraining
from tests.lab import Lab
from tests.oracles.dp_formulas import clipped_sum
from tests.tasks.dp_lab import C, stage, training


def weights(begun: PrivateTraining) -> torch.Tensor:
    return torch.cat([p.detach().flatten().double() for p in begun.network.parameters()])


def step(begun: PrivateTraining, rows: torch.Tensor, brighter: float = 1.0) -> None:
    """A step on these rows; the last image `brighter` times as far from grey."""
    images = begun.images[rows]
    images[-1:] *= brighter
    begun.step(rows, images, 0)


def gradient(begun: PrivateTraining) -> torch.Tensor:
    return torch.cat([p.grad.flatten().double() for p in begun.network.parameters() if p.grad is not None])


@pytest.mark.parametrize("width", [0.0625, 0.13, 0.5, 1.0])
def test_no_image_meets_another_and_no_relu_is_in_place(width: float) -> None:
    with torch.device("meta"):
        network = build("vgg16_gn", channels=3, size=64, classes=4, width=width)
        twin = build("vgg16_bn", channels=3, size=64, classes=4, width=width)
    kinds = [type(m) for m in network.modules()]
    assert kinds.count(nn.GroupNorm) == 15, "13 convolutions and two hidden fully connected layers"
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules())
    assert not any(m.inplace for m in network.modules() if isinstance(m, nn.ReLU))
    assert list(network.buffers()) == []
    assert [p.shape for p in network.parameters()] == [p.shape for p in twin.parameters()]


def test_an_image_is_answered_alone() -> None:
    network = build("vgg16_gn", channels=1, size=32, classes=4, width=0.0625).double().train()
    x = torch.randn(3, 1, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(network(x)[:1], network(x[:1]), rtol=1e-10)


@pytest.mark.parametrize("features", [8, 13, 16, 24, 32, 64, 100, 512, 4096])
def test_no_group_is_so_small_that_it_erases_its_input(features: int) -> None:
    """Of k numbers a group keeps k - 2: after a fully connected layer 1 number becomes 0, 2 become their order."""
    norm = group_norm(features)
    assert features // norm.num_groups >= min(16, features)
    x = torch.randn(64, features, generator=torch.Generator().manual_seed(1))
    grouped = norm(x).detach().flatten()
    assert torch.corrcoef(torch.stack([x.flatten(), grouped]))[0, 1] > 0.8
    assert norm.num_groups <= 32


def test_hidden_layers_still_tell_images_apart(lab: Lab) -> None:
    network = build("vgg16_gn", channels=1, size=32, classes=6, width=0.0625).eval()
    initialise(network, torch.Generator().manual_seed(0))
    images, _ = lab.split("train").tensors(lab.context(stage(lab)))
    with torch.no_grad():
        found = network.features(images)
    assert found.std(dim=0).mean() > 0.02
    assert len(found.round(decimals=3).unique()) > 200


def test_clipped_gradients_are_those_of_one_image_at_a_time(lab: Lab) -> None:
    begun = training(lab, label_smoothing=0.1)
    rows = torch.arange(0, 22, 2)
    step(begun, rows)
    again = training(lab)
    again.model.cleanup()  # no hooks of Opacus

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(logits, labels, label_smoothing=0.1)

    total, norms = clipped_sum(again.network.double(), loss, begun.images[rows].double(), begun.labels[rows], C)
    assert max(norms) > 2 * C, "clipping has something to do"
    expected = torch.cat([t.flatten() for t in total]) / begun.stage.batch
    assert torch.allclose(gradient(begun), expected, atol=1e-5)
    assert gradient(begun).norm() * begun.stage.batch <= len(rows) * C


def test_chunks_change_nothing(lab: Lab) -> None:
    rows = torch.arange(11)
    found = []
    for chunk in (1, 4, 64):
        begun = training(lab, chunk=chunk)
        step(begun, rows)
        found.append(gradient(begun))
    assert torch.allclose(found[0], found[1], atol=1e-6)
    assert torch.allclose(found[0], found[2], atol=1e-6)


@pytest.mark.parametrize("bound", [C, None])
def test_one_extreme_image_moves_the_weights_by_a_bounded_step(lab: Lab, bound: float | None) -> None:
    """At most lr C / batch, whatever it shows; without clipping far more."""
    moved = []
    for rows in ([1, 2, 3], [1, 2, 3, 0]):
        begun = training(lab, max_grad_norm=bound)
        begun.labels[0] = 5
        begun.network.classifier.weight.data *= 50  # so that it is certain of something else
        rate = begun.plain.param_groups[0]["lr"]
        step(begun, torch.tensor(rows), brighter=1.0 if len(rows) == 3 else 1e4)
        moved.append(weights(begun))
    shift = float((moved[1] - moved[0]).norm())
    limit = rate * C / begun.stage.batch
    if bound is None:
        assert shift > 10 * limit
    else:
        assert 0.9 * limit < shift <= 1.001 * limit


def test_noise_has_the_accounted_deviation_and_an_empty_batch_is_a_step(lab: Lab) -> None:
    """A step on no image is noise alone: std sigma C / batch in every layer; the accountant counts it."""
    begun = training(lab, epsilon=2.0)
    before = weights(begun)
    step(begun, torch.empty(0, dtype=torch.int64))
    expected = begun.noise_multiplier * C / begun.stage.batch
    noise = [p.grad.flatten() for p in begun.network.parameters() if p.grad is not None]
    assert len(noise) == len(list(begun.network.parameters()))
    for values in noise:
        if len(values) >= 400:
            assert values.std().item() == pytest.approx(expected, rel=5 / math.sqrt(2 * len(values)))
    whole = torch.cat(noise)
    assert abs(whole.mean().item()) < 5 * expected / math.sqrt(len(whole))
    assert (weights(begun) - before).norm() > 0
    assert begun.accountant.history == [(begun.noise_multiplier, begun.sample_rate, 1)]


def test_noise_comes_once_a_step_on_top_of_the_gradient(lab: Lab) -> None:
    rows = torch.arange(11)
    found = []
    for epsilon in (None, 2.0):
        begun = training(lab, epsilon=epsilon)
        step(begun, rows)
        found.append(gradient(begun))
    noise = found[1] - found[0]
    expected = begun.noise_multiplier * C / begun.stage.batch
    assert noise.std().item() == pytest.approx(expected, rel=0.02)
    assert begun.accountant.history == [(begun.noise_multiplier, begun.sample_rate, 1)]


def test_batches_are_poisson(lab: Lab) -> None:
    """Every image with the same probability, independently: sizes vary like a binomial, and some are empty."""
    begun = training(lab, batch=2)
    batches = [begun.sample() for _ in range(4000)]
    n, q = len(begun.images), begun.sample_rate
    sizes = torch.tensor([float(len(rows)) for rows in batches])
    assert sizes.mean().item() == pytest.approx(n * q, rel=0.05)
    assert sizes.var().item() == pytest.approx(n * q * (1 - q), rel=0.1)
    assert (sizes == 0).double().mean().item() == pytest.approx((1 - q) ** n, abs=0.03)
    often = torch.bincount(torch.cat(batches), minlength=n) / len(batches)
    assert (often - q).abs().max() < 5 * math.sqrt(q * (1 - q) / len(batches))


def test_augmentation_mixes_no_images() -> None:
    one, other = torch.randn(2, 3, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    other[0] = one[0]
    changed = [augment(images, torch.Generator().manual_seed(1)) for images in (one, other)]
    assert torch.equal(changed[0][0], changed[1][0])
    assert not torch.equal(changed[0][1], changed[1][1])
