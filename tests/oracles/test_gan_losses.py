"""The logistic GAN losses and R1 of tasks/gan/losses.py against their formulas, values and gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.gan.losses import logistic_critic, logistic_generator, r1_penalty
from tests.oracles import gan_loss_formulas as by_hand
from tests.oracles.loss_formulas import slope
from tests.oracles.shapes import normal, quick, seeds


@quick
@given(n=st.integers(1, 6), m=st.integers(1, 6), seed=seeds)
def test_the_critic_s_loss_and_its_gradients(n: int, m: int, seed: int) -> None:
    real, fake = normal(n, seed=seed, scale=3).requires_grad_(), normal(m, seed=seed + 1, scale=3).requires_grad_()
    loss = logistic_critic(real, fake)
    to_real, to_fake = torch.autograd.grad(loss, [real, fake])
    r, f = real.tolist(), fake.tolist()
    assert loss.item() == pytest.approx(by_hand.logistic_critic(r, f))
    assert to_real.tolist() == pytest.approx(slope(lambda at: by_hand.logistic_critic(at, f), r), abs=1e-8)
    assert to_fake.tolist() == pytest.approx(slope(lambda at: by_hand.logistic_critic(r, at), f), abs=1e-8)


@quick
@given(n=st.integers(1, 6), seed=seeds)
def test_the_generator_s_loss_and_its_gradient(n: int, seed: int) -> None:
    fake = normal(n, seed=seed, scale=3).requires_grad_()
    loss = logistic_generator(fake)
    (gradient,) = torch.autograd.grad(loss, fake)
    assert loss.item() == pytest.approx(by_hand.logistic_generator(fake.tolist()))
    assert gradient.tolist() == pytest.approx(slope(by_hand.logistic_generator, fake.tolist()), abs=1e-8)


def test_extreme_scores_stay_finite_and_a_rejected_fake_still_teaches() -> None:
    """Non-saturating: the generator's gradient is strongest (-1/n) where the critic is surest that it is fake."""
    score = torch.tensor([-1e4, 1e4], requires_grad=True)
    total = logistic_critic(score, score)
    assert total.item() == pytest.approx(1e4)
    (gradient,) = torch.autograd.grad(logistic_generator(score), score)
    assert gradient.tolist() == pytest.approx([-0.5, 0.0])


def test_at_a_draw_the_losses_are_those_of_a_coin() -> None:
    """Scores of 0: 2 log 2 and log 2."""
    zero = torch.zeros(3, dtype=torch.float64)
    assert logistic_critic(zero, zero).item() == pytest.approx(1.3862943611)
    assert logistic_generator(zero).item() == pytest.approx(0.6931471806)


@quick
@given(n=st.integers(1, 5), side=st.integers(1, 4), seed=seeds)
def test_r1_of_a_linear_critic_is_half_its_squared_length(n: int, side: int, seed: int) -> None:
    """D(x) = <a, x>: R1 = |a|^2 / 2 whatever the images, and its gradient in a is a."""
    a, real = normal(1, side, side, seed=seed).requires_grad_(), normal(n, 1, side, side, seed=seed + 1)
    penalty = r1_penalty(lambda x: (a * x).sum(dim=(1, 2, 3)), real)
    (gradient,) = torch.autograd.grad(penalty, a)
    assert penalty.item() == pytest.approx(by_hand.r1([a.flatten().tolist()] * n))
    assert torch.allclose(gradient, a.detach())


@quick
@given(n=st.integers(1, 5), seed=seeds)
def test_r1_of_a_quadratic_critic(n: int, seed: int) -> None:
    """D(x) = sum b x^2 / 2: the gradient is b x, R1 its mean squared half, and d R1 / d b = b E[x^2]."""
    b, real = normal(1, 2, 3, seed=seed).requires_grad_(), normal(n, 1, 2, 3, seed=seed + 1)
    penalty = r1_penalty(lambda x: (b * x.square() / 2).sum(dim=(1, 2, 3)), real)
    (gradient,) = torch.autograd.grad(penalty, b)
    assert penalty.item() == pytest.approx(by_hand.r1((b * real).flatten(1).tolist()))
    assert torch.allclose(gradient, (b * real.square().mean(dim=0)).detach())


def test_r1_leaves_the_images_alone() -> None:
    real = normal(2, 1, 2, 2, seed=0)
    r1_penalty(lambda x: x.square().sum(dim=(1, 2, 3)), real)
    assert not real.requires_grad
    assert real.grad is None
