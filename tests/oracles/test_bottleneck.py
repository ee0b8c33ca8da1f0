"""tasks/models/bottleneck_loss.py against its formulas by hand, and the draws of tasks/models/image_noise.py."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.models.bottleneck_loss import bottleneck_loss, gaussian_kl
from tasks.models.image_noise import image_noise
from tests.oracles import bottleneck_formulas as by_hand
from tests.oracles.shapes import logits, normal, quick, seeds

sizes = st.integers(1, 6)


def mean_of(values: list[float]) -> float:
    return sum(values) / len(values)


def posterior(n: int, k: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """mu (n, k) and std (n, k), from nearly no noise to much."""
    return normal(n, k, seed=seed, scale=2.0), normal(n, k, seed=seed + 1, scale=1.5).exp()


@quick
@given(n=sizes, k=sizes, seed=seeds)
def test_kl_is_the_formula_and_a_mean_over_the_batch(n: int, k: int, seed: int) -> None:
    mean, std = posterior(n, k, seed)
    wanted = mean_of([by_hand.kl(m, s) for m, s in zip(mean.tolist(), std.tolist(), strict=True)])
    assert gaussian_kl(mean, std).item() == pytest.approx(wanted, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (1.5, 0.3), (-2.0, 1.7), (0.0, 0.0067)])
def test_kl_is_the_integral(mean: float, std: float) -> None:
    found = gaussian_kl(torch.tensor([[mean]], dtype=torch.float64), torch.tensor([[std]], dtype=torch.float64))
    assert found.item() == pytest.approx(by_hand.kl_by_integration(mean, std), rel=1e-6, abs=1e-9)


@quick
@given(rows=logits(), k=sizes, seed=seeds, beta=st.sampled_from([0.003, 0.5, 20.0]), smooth=st.sampled_from([0.0, 0.1]))
def test_the_loss_is_cross_entropy_plus_beta_kl(
    rows: torch.Tensor, k: int, seed: int, beta: float, smooth: float
) -> None:
    mean, std = posterior(len(rows), k, seed)
    labels = torch.arange(len(rows)) % rows.shape[1]
    found = bottleneck_loss(rows, labels, mean, std, beta, smooth)
    ce = mean_of([by_hand.cross_entropy(z, int(y), smooth) for z, y in zip(rows.tolist(), labels, strict=True)])
    kl = mean_of([by_hand.kl(m, s) for m, s in zip(mean.tolist(), std.tolist(), strict=True)])
    assert found.ce.item() == pytest.approx(ce, rel=1e-9)
    assert found.kl.item() == pytest.approx(kl, rel=1e-9)
    assert found.loss.item() == pytest.approx(ce + beta * kl, rel=1e-9)


def test_beta_0_has_no_gradient_of_the_kl_even_where_it_is_infinite() -> None:
    rows = normal(2, 3, seed=1).requires_grad_()
    mean, std = torch.zeros(2, 4, dtype=torch.float64), torch.zeros(2, 4, dtype=torch.float64)
    for tensor in (mean, std):
        tensor.requires_grad_()
    found = bottleneck_loss(rows, torch.tensor([0, 2]), mean, std, beta=0.0)
    assert found.loss.item() == found.ce.item()
    gradients = torch.autograd.grad(found.loss, (rows, mean, std), allow_unused=True)
    assert gradients[0] is not None
    assert gradients[1] is gradients[2] is None
    assert not found.kl.requires_grad


def test_noise_is_standard_normal_and_an_images_own() -> None:
    images = normal(40, 1, 4, 4, seed=3).float()
    drawn = image_noise(images, 500, seed=7)
    assert drawn.shape == (40, 500)
    assert drawn.dtype == torch.float32
    assert drawn.mean().abs() < 4 / len(drawn.flatten()) ** 0.5
    assert abs(drawn.std().item() - 1) < 0.02
    assert len({tuple(row) for row in drawn[:, :2].tolist()}) == 40
    shuffled = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    assert torch.equal(image_noise(images[shuffled], 500, seed=7), drawn[shuffled])
    assert torch.equal(image_noise(images[3:4], 500, seed=7), drawn[3:4])


def test_noise_depends_on_the_seed_and_on_every_pixel() -> None:
    images = torch.zeros(1, 3, 4, 4)
    drawn = image_noise(images, 8, seed=7)
    assert not torch.equal(image_noise(images, 8, seed=8), drawn)
    for place in range(images.numel()):
        changed = images.clone()
        changed.view(-1)[place] = 1e-6
        assert not torch.equal(image_noise(changed, 8, seed=7), drawn)


def test_noise_does_not_depend_on_layout_precision_or_the_sign_of_zero() -> None:
    images = normal(2, 3, 4, 4, seed=5).float()
    images[0, 0, 0, 0] = 0.0
    drawn = image_noise(images, 8, seed=7)
    assert torch.equal(image_noise(images.contiguous(memory_format=torch.channels_last), 8, seed=7), drawn)
    assert torch.equal(image_noise(images.double(), 8, seed=7), drawn)
    negative = images.clone()
    negative[0, 0, 0, 0] = -0.0
    assert torch.equal(image_noise(negative, 8, seed=7), drawn)


def test_noise_leaves_global_generators_alone() -> None:
    before = torch.get_rng_state()
    image_noise(torch.zeros(2, 1, 4, 4), 8, seed=7)
    assert torch.equal(torch.get_rng_state(), before)
