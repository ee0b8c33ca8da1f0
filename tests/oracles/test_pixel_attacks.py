"""Filters, MI-Face's update and DeepInversion's terms against loops written from the formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tasks.attacks.batchnorm_matching import rate, statistics_distance, total_variation, watched
from tasks.attacks.denoise import non_local_means, sharpen
from tasks.attacks.pixels import descend
from tasks.attacks.privacy import Privacy
from tasks.models.architectures import Network
from tests.lab import CLASSES, Lab
from tests.oracles import pixel_attack_formulas as by_hand
from tests.oracles.shapes import normal, quick, seeds

few = settings(quick, max_examples=8)
LABEL = 2


@few
@given(
    channels=st.sampled_from([1, 3]),
    height=st.integers(4, 7),
    width=st.integers(4, 7),
    strength=st.sampled_from([0.05, 0.3, 2.0]),
    seed=seeds,
)
def test_non_local_means(channels: int, height: int, width: int, strength: float, seed: int) -> None:
    images = normal(2, channels, height, width, seed=seed, scale=0.3)
    filtered = non_local_means(images, strength)
    for image, found in zip(images, filtered, strict=True):
        assert np.allclose(found.numpy(), by_hand.non_local_means(image.numpy(), strength), atol=1e-12)


@few
@given(channels=st.sampled_from([1, 3]), height=st.integers(2, 7), amount=st.sampled_from([0.0, 0.25, 4.0]), seed=seeds)
def test_sharpening(channels: int, height: int, amount: float, seed: int) -> None:
    images = normal(2, channels, height, 5, seed=seed)
    for image, found in zip(images, sharpen(images, amount), strict=True):
        assert np.allclose(found.numpy(), by_hand.sharpen(image.numpy(), amount), atol=1e-12)


def test_filters_do_what_their_names_say() -> None:
    """Noise on two flat halves goes, their edge stays, and a flat image is left alone by both."""
    clean = torch.full((1, 1, 16, 16), -0.5, dtype=torch.float64)
    clean[..., 8:] = 0.5
    noisy = clean + normal(1, 1, 16, 16, seed=0, scale=0.05)
    filtered = non_local_means(noisy, 0.1)
    assert (filtered - clean).square().mean() < 0.3 * (noisy - clean).square().mean()
    assert (filtered[..., 8] - filtered[..., 7]).mean() > 0.9
    assert (sharpen(clean, 1.0)[..., 8] - sharpen(clean, 1.0)[..., 7]).mean() > 1.2
    flat = torch.full((1, 3, 8, 8), 0.25)
    assert torch.allclose(sharpen(non_local_means(flat, 0.1), 2.0), flat)


def softmax_regression(seed: int) -> tuple[Network, by_hand.Softmax]:
    """The same classifier twice: as a network here, and as a matrix for the oracle."""
    layer = nn.Linear(32 * 32, CLASSES)
    weight, bias = normal(CLASSES, 32 * 32, seed=seed, scale=0.1), normal(CLASSES, seed=seed + 1)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    stored = [p.detach().double().numpy() for p in (layer.weight, layer.bias)]
    return Network(nn.Flatten(), layer), by_hand.Softmax(*stored)


CASES = {
    "algorithm_1": {"momentum": 0.0, "cost": "probability"},
    "cross_entropy": {"momentum": 0.0, "cost": "ce"},
    "momentum": {"momentum": 0.9, "cost": "ce"},
    "process": {"momentum": 0.0, "cost": "ce", "process": "denoise", "process_every": 3},
    "gamma": {"momentum": 0.0, "cost": "ce", "stop_below": 0.3},
}


@pytest.mark.parametrize("case", CASES)
def test_mi_face_is_algorithm_1(lab: Lab, case: str) -> None:
    """x <- PROCESS(x - lambda grad c(x)), the least-cost x kept; momentum, unlike in a published port, moves it."""
    fields = CASES[case]
    network, model = softmax_regression(seed=3)
    steps, lr = 8, 0.05
    stage = Privacy(target=lab.victim, label=LABEL, images=2, chunk=2, steps=steps, lr=lr, optimizer="sgd", **fields)
    ctx = lab.context(stage)
    found = descend(stage, ctx, network)
    start = torch.randn(2, 1, 32, 32, generator=ctx.generator("latents")) * stage.noise
    start[0] = 0.0
    filters = by_hand.Filters(stage.process_every, stage.denoise_strength, stage.sharpen)
    passes = 0
    for i in range(2):
        image, cost, done = by_hand.mi_face(
            model,
            start[i].double().numpy(),
            LABEL,
            steps=steps,
            lr=lr,
            momentum=stage.momentum,
            cost=stage.cost,
            filters=filters if stage.process == "denoise" else None,
            gamma=stage.stop_below,
        )
        passes += done
        assert np.abs(found.images[i].double().numpy() - image).max() < 1e-5
        assert found.losses[i].item() == pytest.approx(cost, abs=1e-5)
    assert found.passes == passes
    assert (passes < 2 * steps) == (case == "gamma")


@quick
@given(n=st.integers(1, 4), channels=st.integers(1, 5), places=st.sampled_from([(), (1, 1), (2, 3)]), seed=seeds)
def test_statistics_distance(n: int, channels: int, places: tuple[int, ...], seed: int) -> None:
    features = normal(n, channels, *places, seed=seed).requires_grad_()
    mean, var = normal(channels, seed=seed + 1), normal(channels, seed=seed + 2).square() + 0.1
    found = statistics_distance(features, mean, var)
    rows = features.detach().reshape(n, channels, -1).numpy()
    assert found.item() == pytest.approx(by_hand.statistics_distance(rows, mean.tolist(), var.tolist()))
    (gradient,) = torch.autograd.grad(found, features)
    assert bool(gradient.isfinite().all()), "also with one value, whose variance is 0"


@quick
@given(n=st.integers(1, 3), height=st.integers(2, 5), width=st.integers(2, 5), seed=seeds)
def test_total_variation(n: int, height: int, width: int, seed: int) -> None:
    images = normal(n, 2, height, width, seed=seed)
    assert total_variation(images).item() == pytest.approx(by_hand.total_variation(images.numpy()))


def test_every_batchnorm_is_watched_at_its_input_in_order() -> None:
    layers = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(inplace=True), nn.Flatten())
    layers.append(nn.Linear(2 * 9, 3)).append(nn.BatchNorm1d(3)).double().eval()
    first, last = layers[1], layers[5]
    assert isinstance(first, nn.BatchNorm2d)
    assert isinstance(last, nn.BatchNorm1d)
    for norm, seed in ((first, 5), (last, 8)):
        norm.running_mean = normal(norm.num_features, seed=seed)
        norm.running_var = normal(norm.num_features, seed=seed + 1).square() + 0.1
    images = normal(4, 1, 5, 5, seed=0)
    with torch.no_grad(), watched(layers) as distances:
        layers(images)
        inputs = [layers[:1](images), layers[:5](images)]
    norms: tuple[nn.BatchNorm2d | nn.BatchNorm1d, ...] = (first, last)
    for norm, x, found in zip(norms, inputs, distances, strict=True):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        rows = x.reshape(4, norm.num_features, -1).numpy()
        expected = by_hand.statistics_distance(rows, norm.running_mean.tolist(), norm.running_var.tolist())
        assert found.item() == pytest.approx(expected)
    before = [d.item() for d in distances]
    layers(2 * images)
    assert [d.item() for d in distances] == before, "a hook was left behind"


def test_the_rate_rises_for_a_twentieth_and_falls_to_0() -> None:
    factors = [rate(step, 2000) for step in range(2000)]
    assert factors[0] == pytest.approx(0.01)
    assert factors[49] == pytest.approx(0.5)
    assert max(factors) == factors[99] == pytest.approx(1)
    assert factors[100 + 950] == pytest.approx(0.5)
    assert factors[100:] == sorted(factors[100:], reverse=True)
    assert factors[-1] < 1e-5
    assert rate(0, 1) == 1, "too few steps for a rise"
