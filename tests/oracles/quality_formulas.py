"""Density and coverage (Naeem et al. 2020, eq. 3 and 4) by loops over Python floats, with closed balls."""

from __future__ import annotations

import math
from collections.abc import Sequence

Points = Sequence[Sequence[float]]


def radius(points: Points, i: int, k: int) -> float:
    """NND_k: distance from point i to the k-th nearest of the others."""
    return sorted(math.dist(points[i], points[j]) for j in range(len(points)) if j != i)[k - 1]


def density(real: Points, fake: Points, k: int) -> float:
    """1/(kM) sum_j sum_i 1[Y_j in B(X_i, NND_k(X_i))]."""
    held = 0
    for y in fake:
        for i, x in enumerate(real):
            held += math.dist(x, y) <= radius(real, i, k)
    return held / (k * len(fake))


def coverage(real: Points, fake: Points, k: int) -> float:
    """1/N sum_i 1[some Y_j in B(X_i, NND_k(X_i))]."""
    hit = 0
    for i, x in enumerate(real):
        hit += any(math.dist(x, y) <= radius(real, i, k) for y in fake)
    return hit / len(real)
