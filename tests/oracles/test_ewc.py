"""tasks/finetune/ewc.py against one-sample loops in float64."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tasks.finetune.ewc import ewc_penalty, fisher_diagonal, normalise_fisher, sampled_labels
from tasks.models.architectures import build
from tasks.models.initialise import initialise
from tests.oracles import fisher_loops
from tests.oracles import loss_formulas as by_hand
from tests.oracles.shapes import normal, quick, seeds

NETWORKS = {"vgg16": 0.125, "vgg16_bn": 0.125, "ir_small": 0.5, "densenet_small": 0.5}


def small(seed: int = 0) -> nn.Sequential:
    """Convolution, BatchNorm, in-place ReLU, linear; in train mode, as a careless caller has it."""
    layers = [nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.Flatten()]
    network = nn.Sequential(*layers, nn.Linear(3 * 16, 4))
    initialise(network, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for name, buffer in network.named_buffers():
            if "running" in name:
                buffer.copy_(normal(3, seed=seed).abs() + 0.5)
    return network.double()


def batch(n: int, seed: int, channels: int = 2, size: int = 4, classes: int = 4) -> tuple[torch.Tensor, ...]:
    labels = torch.randint(classes, (n,), generator=torch.Generator().manual_seed(seed))
    return normal(n, channels, size, size, seed=seed), labels


@quick
@given(n=st.integers(1, 7), chunk=st.integers(1, 4), seed=seeds)
def test_fisher_is_the_mean_of_squared_gradients_for_any_chunk(n: int, chunk: int, seed: int) -> None:
    network, (images, labels) = small(), batch(n, seed)
    expected = fisher_loops.fisher(network, images, labels)
    found = fisher_diagonal(network, images, labels, chunk)
    assert found.keys() == expected.keys() == {name for name, _ in network.named_parameters()}
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-14)


def test_fisher_is_not_the_square_of_the_mean_gradient() -> None:
    network, (images, labels) = small(), batch(6, seed=1)
    found = fisher_diagonal(network, images, labels)
    wrong = fisher_loops.squared_mean_gradient(network, images, labels)
    assert all(bool((found[name] >= wrong[name] - 1e-12).all()) for name in found)  # Jensen
    assert sum(float(f.sum()) for f in found.values()) > 1.5 * sum(float(f.sum()) for f in wrong.values())


@pytest.mark.parametrize("arch", NETWORKS)
def test_fisher_of_every_family_at_32_px(arch: str) -> None:
    network = build(arch, channels=1, size=32, classes=4, width=NETWORKS[arch])
    initialise(network, torch.Generator().manual_seed(0))
    images, labels = batch(3, seed=2, channels=1, size=32)
    expected = fisher_loops.fisher(network, images, labels)
    found = fisher_diagonal(network, images.float(), labels, chunk=2)
    for name, value in expected.items():
        assert found[name].dtype == torch.float32
        torch.testing.assert_close(found[name].double(), value, rtol=1e-3, atol=1e-6 * float(value.max()))


def test_fisher_runs_in_eval_mode_and_leaves_the_network_as_it_was() -> None:
    network, (images, labels) = small(), batch(5, seed=3)
    network[1].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    fisher_diagonal(network, images, labels)
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in network.parameters())


def test_fisher_does_not_depend_on_batch_mates() -> None:
    network, (images, labels) = small(), batch(4, seed=4)
    together = fisher_diagonal(network, images, labels)
    alone = [fisher_diagonal(network, images[i : i + 1], labels[i : i + 1]) for i in range(4)]
    for name, value in together.items():
        torch.testing.assert_close(value, sum(one[name] for one in alone) / 4)


def test_fisher_covers_only_trainable_parameters() -> None:
    network, (images, labels) = small(), batch(3, seed=5)
    network[0].requires_grad_(False)
    assert fisher_diagonal(network, images, labels).keys() == {"1.weight", "1.bias", "4.weight", "4.bias"}
    network.requires_grad_(False)
    with pytest.raises(ValueError, match="requires a gradient"):
        fisher_diagonal(network, images, labels)


def test_fisher_wants_a_label_an_image() -> None:
    network, (images, labels) = small(), batch(3, seed=5)
    for pictures, names in ((images, labels[:2]), (images[:0], labels[:0])):
        with pytest.raises(ValueError, match="one label an image"):
            fisher_diagonal(network, pictures, names)


def test_sampled_labels_follow_the_softmax_and_their_generator() -> None:
    row = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
    drawn = sampled_labels(row.expand(20000, 4), torch.Generator().manual_seed(0))
    shares = torch.bincount(drawn, minlength=4) / len(drawn)
    assert shares.tolist() == pytest.approx(by_hand.softmax(row[0].tolist()), abs=0.02)
    assert torch.equal(drawn, sampled_labels(row.expand(20000, 4), torch.Generator().manual_seed(0)))


@quick
@given(scale=st.sampled_from([1e-20, 1e-6, 1.0, 1e6]), seed=seeds)
def test_normalised_fisher_has_overall_mean_1(scale: float, seed: int) -> None:
    fisher = {"a": normal(3, 4, seed=seed).square() * scale, "b": normal(2, seed=seed + 1).square() * scale}
    found = normalise_fisher(fisher)
    values = found["a"].flatten().tolist() + found["b"].tolist()
    assert by_hand.mean(values) == pytest.approx(1)
    torch.testing.assert_close(found["a"] / found["b"][0], fisher["a"] / fisher["b"][0])


def test_a_zero_or_broken_fisher_is_an_error() -> None:
    with pytest.raises(ValueError, match="zero everywhere"):
        normalise_fisher({"a": torch.zeros(3)})
    with pytest.raises(ValueError, match="zero everywhere"):
        normalise_fisher({})
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="not finite"):
            normalise_fisher({"a": torch.tensor([1.0, bad])})


@quick
@given(n=st.integers(1, 6), seed=seeds, lambda3=st.floats(0, 1000))
def test_penalty_is_eq_9_and_its_gradient_is_lambda3_f_times_the_drift(n: int, seed: int, lambda3: float) -> None:
    theta, anchor = normal(n, 2, seed=seed).requires_grad_(), normal(n, 2, seed=seed + 1)
    fisher = normal(n, 2, seed=seed + 2).square()
    loss = ewc_penalty({"w": theta}, {"w": anchor}, {"w": fisher}, lambda3)
    (gradient,) = torch.autograd.grad(loss, theta)
    rows = [x.flatten().tolist() for x in (theta, anchor, fisher)]
    assert loss.item() == pytest.approx(by_hand.ewc(rows[0], rows[1], rows[2], lambda3))
    torch.testing.assert_close(gradient, lambda3 * fisher * (theta - anchor).detach())


def test_penalty_of_a_network_is_0_at_its_anchors_and_grows_with_the_drift() -> None:
    network, (images, labels) = small(), batch(3, seed=6)
    fisher = normalise_fisher(fisher_diagonal(network, images, labels))
    anchors = {name: value.clone() for name, value in network.state_dict().items()}  # with buffers
    parameters = dict(network.named_parameters())
    assert ewc_penalty(parameters, anchors, fisher, 10).item() == 0
    with torch.no_grad():
        for p in parameters.values():
            p.add_(0.1)
    count = sum(p.numel() for p in parameters.values())
    penalty = ewc_penalty(parameters, anchors, fisher, 10).item()
    assert penalty == pytest.approx(10 / 2 * 0.1**2 * count)  # because mean F is 1


def test_penalty_refuses_parameters_that_would_drift_unpenalised() -> None:
    w, free = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    fisher = {"w": torch.ones(2)}
    for parameters, anchors in (
        ({"w": w, "free": free}, {"w": w, "free": free}),
        ({"w": w}, {}),
        ({}, {"w": w}),
    ):
        with pytest.raises(ValueError, match="missing"):
            ewc_penalty(parameters, anchors, fisher, 1)
