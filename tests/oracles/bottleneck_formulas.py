"""The objective of MID, one number at a time in Python floats."""

from __future__ import annotations

import math
from collections.abc import Sequence

Vector = Sequence[float]


def softplus(value: float) -> float:
    return math.log1p(math.exp(value))


def kl(mean: Vector, std: Vector) -> float:
    """KL of a diagonal Gaussian to N(0, I), dimension by dimension: log(1/std) + (std^2 + mean^2)/2 - 1/2."""
    return math.fsum(math.log(1 / s) + (s * s + m * m) / 2 - 0.5 for m, s in zip(mean, std, strict=True))


def kl_by_integration(mean: float, std: float, points: int = 20_001) -> float:
    """The integral of q log(q / p) over 12 standard deviations a side, by the trapezoid rule: no closed form."""
    low, step = mean - 12 * std, 24 * std / (points - 1)
    terms = []
    for i in range(points):
        z = low + i * step
        log_q = -((z - mean) ** 2) / (2 * std * std) - math.log(std)
        terms.append(math.exp(log_q) * (log_q + z * z / 2) * (0.5 if i in (0, points - 1) else 1.0))
    return math.fsum(terms) * step / math.sqrt(2 * math.pi)


def cross_entropy(logits: Vector, label: int, smoothing: float) -> float:
    """-sum_y t_y log p_y with t = (1 - smoothing) one-hot + smoothing / classes."""
    top = max(logits)
    total = top + math.log(math.fsum(math.exp(z - top) for z in logits))
    truth = [(1 - smoothing) * (y == label) + smoothing / len(logits) for y in range(len(logits))]
    return math.fsum(t * (total - z) for t, z in zip(truth, logits, strict=True))
