"""tasks/gan/inversion_losses.py and minibatch discrimination against their formulas by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.gan import inversion_losses as losses
from tasks.gan.inversion_networks import MinibatchDiscrimination
from tasks.inversion.losses import discrimination_loss
from tests.oracles import dmi_formulas as by_hand
from tests.oracles.loss_formulas import slope
from tests.oracles.shapes import feature_pairs, logits, normal, quick, seeds

CLOSE: dict[str, Any] = {"rel": 1e-5, "abs": 1e-9}


@quick
@given(rows=logits(), seed=seeds)
def test_supervised_loss_is_the_cross_entropy_with_soft_labels(rows: torch.Tensor, seed: int) -> None:
    target = normal(*rows.shape, seed=seed, scale=2)
    wanted = by_hand.supervised(rows.tolist(), target.tolist())
    assert losses.supervised_loss(rows, target).item() == pytest.approx(wanted, **CLOSE)


@quick
@given(rows=logits())
def test_losses_of_real_and_fake_images_and_the_score(rows: torch.Tensor) -> None:
    assert losses.real_loss(rows).item() == pytest.approx(by_hand.real(rows.tolist()), **CLOSE)
    assert losses.fake_loss(rows).item() == pytest.approx(by_hand.fake(rows.tolist()), **CLOSE)
    expected = [1 - by_hand.p_fake(row) for row in rows.tolist()]
    assert losses.realness(rows).sigmoid().tolist() == pytest.approx(expected, **CLOSE)


@quick
@given(rows=logits())
def test_a_search_by_log_sigmoid_has_dmis_prior(rows: torch.Tensor) -> None:
    """softplus(lse) - lse of each image, which is `real_loss` of it alone."""
    prior = discrimination_loss(losses.realness(rows), "log_sigmoid")
    assert prior.tolist() == pytest.approx([by_hand.real([row]) for row in rows.tolist()], **CLOSE)


@quick
@given(pair=feature_pairs())
def test_feature_matching(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    fake, real = pair
    expected = by_hand.matching(fake.tolist(), real.tolist())
    assert losses.feature_matching(fake, real).item() == pytest.approx(expected, **CLOSE)


@quick
@given(rows=logits())
def test_entropy_is_summed_over_the_batch(rows: torch.Tensor) -> None:
    assert losses.entropy(rows).item() == pytest.approx(by_hand.entropy(rows.tolist()), **CLOSE)
    twice = losses.entropy(torch.cat([rows, rows]))
    assert twice.item() == pytest.approx(2 * by_hand.entropy(rows.tolist()), **CLOSE)


@quick
@given(rows=logits(most=4), seed=seeds)
def test_gradients(rows: torch.Tensor, seed: int) -> None:
    """Of the sum of all four losses of logits, in every logit, by central differences."""
    target = normal(*rows.shape, seed=seed)
    n, k = rows.shape

    def total(values: list[float]) -> float:
        at = [values[i * k : (i + 1) * k] for i in range(n)]
        return by_hand.supervised(at, target.tolist()) + by_hand.real(at) + by_hand.fake(at) + by_hand.entropy(at)

    x = rows.requires_grad_()
    loss = losses.supervised_loss(x, target) + losses.real_loss(x) + losses.fake_loss(x) + losses.entropy(x)
    (gradient,) = torch.autograd.grad(loss, x)
    assert gradient.flatten().tolist() == pytest.approx(slope(total, rows.flatten().tolist()), rel=1e-4, abs=1e-6)


def test_extreme_logits_stay_finite() -> None:
    rows = torch.tensor([[1e4, -1e4], [-1e4, -1e4]], requires_grad=True)
    total = losses.supervised_loss(rows, rows.detach()) + losses.real_loss(rows) + losses.fake_loss(rows)
    (gradient,) = torch.autograd.grad(total + losses.entropy(rows), rows)
    assert bool(total.isfinite())
    assert bool(gradient.isfinite().all())


@quick
@given(
    n=st.integers(2, 5),
    inputs=st.integers(1, 6),
    count=st.integers(1, 4),
    dims=st.integers(1, 4),
    seed=seeds,
)
def test_minibatch_discrimination_in_training_is_over_the_batch(
    n: int, inputs: int, count: int, dims: int, seed: int
) -> None:
    layer, x = layer_with_weights(inputs, count, dims, n, seed), normal(n, inputs, seed=seed + 1)
    out = layer.train()(x)
    assert torch.equal(out[:, :inputs], x)
    expected = by_hand.similarity(x.tolist(), layer.project.weight.tolist(), count, dims)
    for found, row in zip(out[:, inputs:].tolist(), expected, strict=True):
        assert found == pytest.approx(row, **CLOSE)


@quick
@given(
    n=st.integers(1, 5),
    batch=st.integers(2, 5),
    count=st.integers(1, 4),
    dims=st.integers(1, 4),
    seed=seeds,
)
def test_minibatch_discrimination_in_eval_mode_is_over_the_reference(
    n: int, batch: int, count: int, dims: int, seed: int
) -> None:
    layer = layer_with_weights(3, count, dims, batch, seed).eval()
    reference, x = normal(batch - 1, 3, seed=seed + 1), normal(n, 3, seed=seed + 2)
    layer.settle(reference)
    expected = by_hand.similarity(x.tolist(), layer.project.weight.tolist(), count, dims, others=reference.tolist())
    for found, row in zip(layer(x)[:, 3:].tolist(), expected, strict=True):
        assert found == pytest.approx(row, **CLOSE)


def test_an_image_in_training_and_the_same_among_its_reference_get_the_same() -> None:
    """The reference has as many images as there are mates in a batch, so eval mode needs no other scale."""
    layer, x = layer_with_weights(4, 3, 2, 6, 0), normal(6, 4, seed=1)
    together = layer.train()(x)
    layer.settle(x[1:])
    assert torch.allclose(layer.eval()(x[:1]), together[:1])


def layer_with_weights(inputs: int, count: int, dims: int, batch: int, seed: int) -> MinibatchDiscrimination:
    layer = MinibatchDiscrimination(inputs, count, dims, batch).double().requires_grad_(False)
    layer.draw(torch.Generator().manual_seed(seed))
    return layer
