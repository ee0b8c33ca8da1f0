"""Ad-mi's noise against loops written from the formulas, and its constraints over random shapes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from tasks.attacks.decoder_networks import DecoderNetwork, encode
from tasks.defenses.ad_mi_noise import LEAD, MIXED, Decode, adversarial_confidences, feasible, keep_label, within_budget
from tests.oracles import ad_mi_formulas as by_hand
from tests.oracles.shapes import normal, quick, seeds

budgets = st.sampled_from([0.01, 0.3, 1.0, 2.0])
certainty = st.sampled_from([0.1, 1.0, 4.0, 15.0])  # of the confidences: almost uniform to p = 1 - 1e-12
classes = st.integers(2, 7)


def vectors(n: int, k: int, seed: int, scale: float) -> torch.Tensor:
    return normal(n, k, seed=seed, scale=scale).softmax(dim=1)


def linear_decoder(a: torch.Tensor, b: torch.Tensor) -> Decode:
    """q -> A log q + b as images (n, 1, 1, d)."""
    return lambda q: (q.log() @ a.T + b)[:, None, None, :]


@quick
@given(n=st.integers(1, 4), k=classes, scale=certainty, budget=budgets, steps=st.integers(1, 5), seed=seeds)
def test_the_noise(n: int, k: int, scale: float, budget: float, steps: int, seed: int) -> None:
    p, x = vectors(n, k, seed, scale), normal(n, 3, seed=seed + 1)
    a, b = normal(3, k, seed=seed + 2), normal(3, seed=seed + 3)
    found = adversarial_confidences(p, x[:, None, None, :], linear_decoder(a, b), steps=steps, budget=budget, rate=0.25)
    for row, confidences, pixels in zip(found.tolist(), p.tolist(), x.tolist(), strict=True):
        expected = by_hand.noised(
            confidences, pixels, a.tolist(), b.tolist(), steps=steps, budget=budget, rate=0.25, lead=LEAD, mixed=MIXED
        )
        assert row == pytest.approx(expected, abs=1e-7)


@quick
@given(n=st.integers(1, 6), k=classes, scale=certainty, budget=budgets, seed=seeds)
def test_what_is_allowed_on_the_way(n: int, k: int, scale: float, budget: float, seed: int) -> None:
    p, wanted = vectors(n, k, seed, scale), vectors(n, k, seed + 1, 3.0)
    found = feasible(p, wanted, budget)
    for row, a, b in zip(found.tolist(), p.tolist(), wanted.tolist(), strict=True):
        assert row == pytest.approx(by_hand.feasible(a, b, budget, LEAD, MIXED), abs=1e-12)


@quick
@given(n=st.integers(1, 6), k=classes, scale=certainty, budget=budgets, seed=seeds, half=st.booleans())
def test_every_constraint_holds_at_once(n: int, k: int, scale: float, budget: float, seed: int, half: bool) -> None:
    """In float32, as it runs, too: on the simplex, below 1, above 0, within the budget, of the same label."""
    p = vectors(n, k, seed, scale)
    p = p.float() if half else p
    a, b, x = (t.to(p) for t in (normal(3, k, seed=seed), normal(3, seed=seed + 1), normal(n, 1, 1, 3, seed=seed + 2)))
    q = adversarial_confidences(p, x, linear_decoder(a, b), steps=4, budget=budget, rate=0.5)
    assert torch.allclose(q.sum(dim=1), torch.ones(n).to(q), atol=1e-6)
    assert bool(((q > 0) & (q < 1)).all())
    assert bool(((q - p).abs().sum(dim=1) <= budget + 3e-6).all())
    assert torch.equal(q.argmax(dim=1), p.argmax(dim=1))
    assert torch.equal(q.log().argmax(dim=1), p.argmax(dim=1))


@quick
@given(n=st.integers(2, 6), k=classes, scale=certainty, seed=seeds)
def test_no_row_becomes_easier_to_decode(n: int, k: int, scale: float, seed: int) -> None:
    p, x = vectors(n, k, seed, scale), normal(n, 1, 1, 3, seed=seed + 1)
    decode = linear_decoder(normal(3, k, seed=seed + 2), normal(3, seed=seed + 3))
    q = adversarial_confidences(p, x, decode, steps=5, budget=0.3, rate=0.25)

    def errors(v: torch.Tensor) -> torch.Tensor:
        return (decode(v) - x).square().mean(dim=(1, 2, 3))

    start = feasible(p, p, 0.3)  # p itself, but for the MIXED that keeps it above 0
    assert torch.allclose(start, p, atol=2e-6)
    assert bool((errors(q) >= errors(start)).all())
    assert bool((errors(q) > errors(start) + 1e-6).any())


def test_a_decoder_of_zeros_and_ones_has_finite_gradients() -> None:
    """relu(log p + 50) has a derivative of 0 * inf at p = 0; a saturated softmax gets there in float32."""
    p = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.5, 0.5, 0.0]])
    raw = p.clone().requires_grad_(True)
    (naive,) = torch.autograd.grad(encode(raw, 0, 50.0).sum(), raw)
    assert bool(naive.isnan().any()), "else this test shows nothing"
    network = DecoderNetwork(3, 1, 32, 4, 0, 50.0).eval()
    images = torch.zeros(3, 1, 32, 32)
    q = adversarial_confidences(p, images, network, steps=3, budget=0.5, rate=0.25)
    assert bool(q.isfinite().all())
    assert bool(((q > 0) & (q < 1)).all())
    assert not torch.allclose(q[:2], p[:2], atol=1e-3)
    assert torch.equal(q.argmax(dim=1), p.argmax(dim=1))


def test_the_label_modifier_at_a_tie() -> None:
    p = torch.tensor([[0.4, 0.4, 0.2], [0.5, 0.3, 0.2]], dtype=torch.float64)
    towards = torch.tensor([[-0.2, 0.2, 0.0], [-0.2, 0.2, 0.0]], dtype=torch.float64)
    assert torch.equal(keep_label(p, towards)[0], torch.zeros(3, dtype=torch.float64)), "nothing is left to give"
    assert (p + keep_label(p, towards))[1].tolist() == pytest.approx([0.4, 0.4, 0.2], abs=LEAD)
    away = -towards[1:]
    assert torch.equal(keep_label(p[1:], away), away), "noise that favours the label passes"


def test_the_budget_is_the_l1_norm_of_a_row() -> None:
    noise = torch.tensor([[0.3, -0.3], [0.05, -0.05], [0.0, 0.0]])
    assert torch.allclose(within_budget(noise, 0.2), torch.tensor([[0.1, -0.1], [0.05, -0.05], [0.0, 0.0]]))


def test_the_formulas_gradient_is_that_of_their_error() -> None:
    """The oracle itself: its gradient by autograd, and the torch error differentiable where the noise asks."""
    a, b, x = normal(3, 4, seed=1), normal(3, seed=2), normal(3, seed=3)
    q = vectors(1, 4, 4, 1.0).requires_grad_(True)
    decode = linear_decoder(a, b)
    value = (decode(q) - x).square().mean()
    (found,) = torch.autograd.grad(value, q)
    row = q.detach()[0].tolist()
    assert value.item() == pytest.approx(by_hand.error(row, a.tolist(), b.tolist(), x.tolist()))
    assert found[0].tolist() == pytest.approx(by_hand.gradient(row, a.tolist(), b.tolist(), x.tolist()))
    assert gradcheck(lambda v: (decode(v) - x).square().mean(), q)
