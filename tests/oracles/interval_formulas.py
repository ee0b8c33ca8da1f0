"""Wilson's interval as the roots of its quadratic, and the clustered bootstrap by loops."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats


def wilson(hits: int, n: int, level: float) -> tuple[float, float]:
    """The two p with |hits/n - p| = z sqrt(p (1 - p) / n): p^2 (1 + z^2/n) - p (2 q + z^2/n) + q^2 = 0."""
    z2, q = float(stats.norm.ppf((1 + level) / 2)) ** 2, hits / n
    a, b, c = 1 + z2 / n, -(2 * q + z2 / n), q * q
    root = math.sqrt(max(0.0, b * b - 4 * a * c))
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


def cluster_bootstrap(
    clusters: Mapping[str, Sequence[float]], level: float, resamples: int, seed: int
) -> tuple[float, float]:
    """Draw as many clusters as there are, with replacement; pool their values; percentiles of the means."""
    names = sorted(clusters)
    draws = np.random.default_rng(seed).integers(0, len(names), size=(resamples, len(names)))
    means = []
    for draw in draws:
        pooled = [value for i in draw for value in clusters[names[i]]]
        means.append(math.fsum(pooled) / len(pooled))
    ordered = sorted(means)
    return quantile(ordered, (1 - level) / 2), quantile(ordered, (1 + level) / 2)


def quantile(ordered: Sequence[float], q: float) -> float:
    """Linear between order statistics."""
    place = q * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])
