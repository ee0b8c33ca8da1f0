"""tasks/metrics/generator_quality.py against loops, and against what it must be where that can be worked out."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.metrics.generator_quality import NEIGHBOURS, density_coverage
from tests.oracles import quality_formulas as by_hand
from tests.oracles.shapes import normal, quick, seeds


@quick
@given(
    n=st.integers(2, 12),
    m=st.integers(1, 9),
    d=st.integers(1, 6),
    spread=st.sampled_from([0.3, 1.0, 3.0]),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
    seed=seeds,
    data=st.data(),
)
def test_density_and_coverage(
    n: int, m: int, d: int, spread: float, scale: float, seed: int, data: st.DataObject
) -> None:
    """Some fakes are copies of real images, which lie on the edges of balls."""
    k = data.draw(st.integers(1, n - 1))
    real = normal(n, d, seed=seed, scale=scale)
    fake = torch.cat([normal(m, d, seed=seed + 1, scale=scale * spread), real[: data.draw(st.integers(0, n))]])
    found = density_coverage(real, fake, k)
    assert found.density == pytest.approx(by_hand.density(real.tolist(), fake.tolist(), k), abs=1e-12)
    assert found.coverage == pytest.approx(by_hand.coverage(real.tolist(), fake.tolist(), k), abs=1e-12)


def test_five_points_on_a_line_by_hand() -> None:
    """Radii with k = 2: 2, 1, 1, 1, 2. The fake at 0.5 is in the balls of 0 and 1 alone."""
    real = torch.arange(5.0)[:, None]
    assert density_coverage(real, torch.tensor([[0.5]]), 2) == (2 / 2, 2 / 5)
    assert density_coverage(real, torch.tensor([[0.5], [2.0]]), 2) == ((2 + 5) / (2 * 2), 5 / 5)


@pytest.mark.parametrize("k", [1, 3, NEIGHBOURS])
def test_identical_sets(k: int) -> None:
    """Each ball holds its own image and its k nearest: density (k + 1) / k, coverage 1."""
    real = normal(40, 7, seed=k)
    assert tuple(density_coverage(real, real.clone(), k)) == pytest.approx(((k + 1) / k, 1.0))


def test_another_sample_of_the_same_distribution_has_density_about_one() -> None:
    """Naeem et al. 2020, eq. 5: the expected density of equal distributions is 1; coverage 1 - 2^-k, nearly."""
    found = density_coverage(normal(1500, 5, seed=1), normal(1500, 5, seed=2))
    assert found.density == pytest.approx(1.0, abs=0.06)
    assert found.coverage == pytest.approx(1 - 2**-NEIGHBOURS, abs=0.03)


def test_fakes_that_are_nowhere_near() -> None:
    assert density_coverage(normal(30, 4, seed=1), normal(20, 4, seed=2) + 1e3) == (0.0, 0.0)


def test_one_image_repeated_is_dense_and_covers_almost_nothing() -> None:
    """The balls that hold it, whose number does not grow with the number of real images."""
    real = normal(400, 3, seed=3)
    points = real.tolist()
    holders = sum(math.dist(x, points[0]) <= by_hand.radius(points, i, NEIGHBOURS) for i, x in enumerate(points))
    found = density_coverage(real, real[:1].expand(50, -1))
    assert tuple(found) == pytest.approx((holders / NEIGHBOURS, holders / 400))
    assert found.density > 0.5
    assert found.coverage < 0.04


def test_real_images_that_are_equal_have_a_ball_of_radius_zero() -> None:
    """With two copies of each and k = 1, only a fake that is the same again is inside."""
    real = normal(6, 3, seed=4).repeat(2, 1)
    assert density_coverage(real, real[:2], 1) == (2.0, 4 / 12)
    assert density_coverage(real, real[:2] + 1e-6, 1) == (0.0, 0.0)


def test_order_and_precision_do_not_matter() -> None:
    real, fake = normal(30, 4, seed=5).float(), normal(25, 4, seed=6).float()
    found = density_coverage(real, fake)
    assert density_coverage(real.flip(0), fake.flip(0)) == found
    assert density_coverage(real.double(), fake.double()) == found


@pytest.mark.parametrize(
    ("real", "fake", "k"),
    [((5, 3), (4, 3), 5), ((9, 3), (0, 3), 5), ((9, 3), (4, 2), 5)],
    ids=["too few real", "no fakes", "unequal widths"],
)
def test_what_cannot_be_measured_is_refused(real: tuple[int, int], fake: tuple[int, int], k: int) -> None:
    with pytest.raises(ValueError, match=r"more than k=5 real images and some fakes"):
        density_coverage(torch.zeros(real), torch.zeros(fake), k)
