"""Mirror (An et al., NDSS 2022) one number at a time in Python floats, from the paper and its reference code."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

Vector = Sequence[float]


def leaky_relu(x: float, slope: float) -> float:
    return x if x >= 0 else slope * x


def box(ws: Sequence[Vector], slope: float, width: float) -> tuple[list[float], list[float], list[float], list[float]]:
    """(mean, std, low, high) by dimension of P = LeakyReLU of slope 1/slope; std divides by n."""
    means, stds = [], []
    for column in zip(*ws, strict=True):
        p = [leaky_relu(w, 1 / slope) for w in column]
        mean = math.fsum(p) / len(p)
        means.append(mean)
        stds.append(math.sqrt(math.fsum((x - mean) ** 2 for x in p) / len(p)))
    low = [m - width * s for m, s in zip(means, stds, strict=True)]
    high = [m + width * s for m, s in zip(means, stds, strict=True)]
    return means, stds, low, high


def clip(w: Vector, low: Vector, high: Vector, slope: float) -> list[float]:
    """Clip in P, coordinate by coordinate, and map back."""
    p = [min(max(leaky_relu(x, 1 / slope), a), b) for x, a, b in zip(w, low, high, strict=True)]
    return [leaky_relu(x, slope) for x in p]


def crossover_share(confidences: Vector, first: int, second: int) -> float:
    """s1 / (s1 + s2) with s the softmax over the population of fitness = log confidence."""
    top = max(math.log(p) for p in confidences)
    weights = [math.exp(math.log(p) - top) for p in confidences]
    s = [w / math.fsum(weights) for w in weights]
    return s[first] / (s[first] + s[second])


def ramp(step: int, steps: int, up: float = 0.05, down: float = 0.25) -> float:
    """`adjust_lr` of the reference: cosine down over the last quarter, linear up over the first twentieth."""
    t = step / steps
    factor = min(1.0, (1 - t) / down)
    factor = 0.5 - 0.5 * math.cos(factor * math.pi)
    return factor * min(1.0, t / up)


def largest_agreement(logits: Sequence[Vector], label: int) -> list[set[int]]:
    """All groups of the largest size that agree, by looking at every subset of rows."""
    tops = []
    for row in logits:
        ranked = sorted(range(len(row)), key=lambda k: -row[k])[:5]
        tops.append(set(ranked[1:]) if ranked[0] == label else set())
    for common in (2, 1):
        for size in range(len(tops), 0, -1):
            found = [
                set(rows)
                for rows in combinations(range(len(tops)), size)
                if len(set.intersection(*(tops[i] for i in rows))) >= common
            ]
            if found:
                return found
    return [set(range(len(tops)))]
