"""analysis/intervals.py against the quadratic, loops, and what an interval is for: coverage."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.intervals import cluster_bootstrap, pooled_mean, wilson
from tests.oracles import interval_formulas as by_hand
from tests.oracles.shapes import quick

CLUSTERS = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=2),
    st.lists(st.integers(0, 1), min_size=1, max_size=6),
    min_size=2,
    max_size=6,
)


@quick
@given(n=st.integers(1, 500), data=st.data(), level=st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_wilson_solves_its_quadratic(n: int, data: Any, level: float) -> None:
    hits = data.draw(st.integers(0, n))
    low, high = wilson(hits, n, level)
    assert (low, high) == pytest.approx(by_hand.wilson(hits, n, level), abs=1e-9)
    assert 0 <= low <= hits / n <= high <= 1


def test_wilson_known_values() -> None:
    assert wilson(2, 2) == pytest.approx((0.3424, 1.0), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)


@quick
@given(n=st.integers(1, 100), data=st.data())
def test_wilson_is_symmetric_in_hits_and_misses(n: int, data: Any) -> None:
    hits = data.draw(st.integers(0, n))
    low, high = wilson(hits, n)
    assert wilson(n - hits, n) == pytest.approx((1 - high, 1 - low))


@quick
@given(clusters=CLUSTERS, level=st.sampled_from([0.8, 0.95]), seed=st.integers(0, 9))
def test_bootstrap_pools_whole_clusters(clusters: dict[str, list[float]], level: float, seed: int) -> None:
    found = cluster_bootstrap(clusters, level, resamples=200, seed=seed)
    assert found == pytest.approx(by_hand.cluster_bootstrap(clusters, level, 200, seed), abs=1e-12)
    backwards = dict(reversed(clusters.items()))
    assert cluster_bootstrap(backwards, level, resamples=200, seed=seed) == found
    pooled = [value for values in clusters.values() for value in values]
    assert pooled_mean(clusters) == pytest.approx(math.fsum(pooled) / len(pooled))


def test_images_of_one_label_are_not_independent_trials() -> None:
    clusters = {label: [label % 2] * 100 for label in range(10)}  # each label's attack works always or never
    low, high = cluster_bootstrap(clusters)
    naive_low, naive_high = wilson(500, 1000)
    assert high - low > 8 * (naive_high - naive_low)


def test_bootstrap_agrees_with_the_normal_approximation_for_many_equal_clusters() -> None:
    means = np.random.default_rng(1).random(200)
    low, high = cluster_bootstrap({i: [m] for i, m in enumerate(means)}, resamples=4000)
    half = 1.96 * means.std() / math.sqrt(len(means))
    assert (low, high) == pytest.approx((means.mean() - half, means.mean() + half), abs=0.005)


def test_bootstrap_is_deterministic_in_its_seed_and_leaves_empty_labels_out() -> None:
    clusters = {0: [0.0, 1.0, 1.0], 1: [0.0], 2: [0.3, 0.2]}
    assert cluster_bootstrap(clusters, seed=5) == cluster_bootstrap(clusters, seed=5)
    assert cluster_bootstrap({**clusters, 3: []}, seed=5) == cluster_bootstrap(clusters, seed=5)
    assert pooled_mean({**clusters, 3: []}) == pytest.approx(2.5 / 6)
    assert cluster_bootstrap({0: np.ones(3, dtype=bool), 1: [1]}) == (1.0, 1.0)


def test_what_cannot_be_estimated_is_an_error() -> None:
    for hits, n in ((0, 0), (3, 2), (-1, 2)):
        with pytest.raises(ValueError, match="hits"):
            wilson(hits, n)
    with pytest.raises(ValueError, match="level"):
        wilson(1, 2, level=95)
    with pytest.raises(ValueError, match="wilson"):
        cluster_bootstrap({0: [1, 0], 1: []})
    with pytest.raises(ValueError, match="resamples"):
        cluster_bootstrap({0: [1], 1: [0]}, resamples=0)
    with pytest.raises(ValueError, match="no value"):
        pooled_mean({0: []})
