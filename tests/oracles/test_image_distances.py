"""tasks/metrics/image_distances.py against loops, scipy and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given

from tasks.metrics.image_distances import diversity, feature_mean_sqdist, frechet_distance, knn_sqdist
from tests.oracles import distance_formulas as by_hand
from tests.oracles.shapes import feature_pairs, normal, quick

Pair = tuple[torch.Tensor, torch.Tensor]


@quick
@given(pair=feature_pairs())
def test_eq_13_is_the_distance_of_the_means(pair: Pair) -> None:
    a, b = pair
    expected = by_hand.feature_mean_sqdist(a.tolist(), b.tolist())
    assert feature_mean_sqdist(a, b) == pytest.approx(expected, rel=1e-9, abs=1e-18)
    assert feature_mean_sqdist(a, a) == 0


def test_eq_13_has_no_covariance_and_is_not_a_frechet_distance() -> None:
    a = normal(50, 4, seed=0)
    wider = a.mean(dim=0) + 3 * (a - a.mean(dim=0))
    assert feature_mean_sqdist(a, wider) == pytest.approx(0, abs=1e-20)
    assert frechet_distance(a, wider) == pytest.approx(4 * float(a.var(dim=0).sum()))  # (3 - 1)^2 tr C


@quick
@given(pair=feature_pairs())
def test_knn_is_the_least_squared_distance(pair: Pair) -> None:
    a, b = pair
    distances, nearest = knn_sqdist(a, b)
    expected = by_hand.knn(a.tolist(), b.tolist())
    assert distances.tolist() == pytest.approx([d for d, _ in expected], rel=1e-9, abs=1e-18)
    assert nearest.tolist() == [j for _, j in expected]


def test_knn_of_a_near_copy_does_not_cancel_and_ties_take_the_first() -> None:
    b = 1000 + normal(3, 8, seed=1)
    copy = b[2:] + 1e-6
    distances, nearest = knn_sqdist(copy, torch.cat([b, b]))
    assert distances.tolist() == pytest.approx([8e-12], rel=1e-3)
    assert nearest.tolist() == [2]


@quick
@given(pair=feature_pairs(least=2, width=2))
def test_frechet_agrees_with_two_other_routes(pair: Pair) -> None:
    a, b = (x.numpy() for x in pair)
    scale = by_hand.frechet_by_svd(a, b) + float(a.var() + b.var())
    found = frechet_distance(*pair)
    assert found == pytest.approx(by_hand.frechet_by_svd(a, b), abs=1e-5 * scale)
    assert found == pytest.approx(by_hand.frechet_by_sqrtm(a, b), abs=1e-5 * scale)


def test_frechet_closed_forms() -> None:
    a = normal(40, 3, seed=2)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(a, a + 2) == pytest.approx(3 * 4)
    point = torch.ones(5, 3)  # an attack that gives one picture five times
    assert frechet_distance(point, 3 * point) == pytest.approx(12)
    spread = float(a.var(dim=0).sum())
    gap = float((a.mean(dim=0) - 1).square().sum())
    assert frechet_distance(point, a) == pytest.approx(gap + spread, rel=1e-5)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_frechet_of_few_images_with_many_features_works_at_any_scale(scale: float) -> None:
    a, b = (scale * normal(n, 64, seed=n) for n in (2, 3))
    expected = by_hand.frechet_by_svd(a.numpy(), b.numpy())
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-5)
    assert 0 <= frechet_distance(a, a) < 1e-5 * expected


def test_frechet_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    frechet_distance(torch.eye(2).repeat(1, 8), torch.zeros(2, 16))
    assert capsys.readouterr() == ("", "")


@quick
@given(pair=feature_pairs())
def test_diversity_is_the_mean_over_pairs(pair: Pair) -> None:
    rows = pair[0]
    assert diversity(rows) == pytest.approx(by_hand.diversity(rows.tolist()), rel=1e-9, abs=1e-18)


def test_diversity_of_copies_and_of_one_image_is_0() -> None:
    assert diversity(torch.ones(6, 3)) == diversity(torch.ones(1, 3)) == 0
    assert diversity(torch.tensor([[0.0, 0.0], [3.0, 4.0]])) == pytest.approx(25)


def test_wrong_shapes_are_errors() -> None:
    two, wide, one, none = torch.zeros(2, 3), torch.zeros(2, 4), torch.zeros(1, 3), torch.zeros(0, 3)
    for a, b in ((two, wide), (two, none), (two, torch.zeros(3)), (two, torch.full((2, 3), math.nan))):
        for distance in (feature_mean_sqdist, knn_sqdist, frechet_distance):
            with pytest.raises(ValueError, match="features"):
                distance(a, b)
    with pytest.raises(ValueError, match="at least 2 images"):
        frechet_distance(two, one)
    with pytest.raises(ValueError, match="at least 2 features"):
        frechet_distance(torch.zeros(3, 1), torch.zeros(3, 1))
    with pytest.raises(ValueError, match="at least 1 images"):
        diversity(none)


def test_float32_features_are_measured_in_float64() -> None:
    a = (1000 + normal(20, 6, seed=3)).float()
    exact = by_hand.frechet_by_svd(a.double().numpy(), np.zeros((2, 6)))
    assert frechet_distance(a, torch.zeros(2, 6)) == pytest.approx(exact, rel=1e-9)
