"""Ad-mi's noise one number at a time in Python floats, for a decoder whose gradient can be written down.

The decoder paints D(q) = A log q + b, so that d/dq_k of mean_i (D_i - x_i)^2 is 2 / d sum_i (D_i - x_i) A_ik / q_k.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Vector = list[float]
Matrix = Sequence[Sequence[float]]


def error(q: Vector, a: Matrix, b: Vector, x: Vector) -> float:
    return math.fsum(r * r for r in _residuals(q, a, b, x)) / len(x)


def gradient(q: Vector, a: Matrix, b: Vector, x: Vector) -> Vector:
    residuals = _residuals(q, a, b, x)
    return [
        2 / len(x) * math.fsum(r * row[k] / q[k] for r, row in zip(residuals, a, strict=True)) for k in range(len(q))
    ]


def _residuals(q: Vector, a: Matrix, b: Vector, x: Vector) -> Vector:
    logs = [math.log(p) for p in q]
    return [
        math.fsum(w * u for w, u in zip(row, logs, strict=True)) + shift - pixel
        for row, shift, pixel in zip(a, b, x, strict=True)
    ]


def nearest_on_the_simplex(v: Vector) -> Vector:
    """max(v - t, 0), t by bisection: the sum falls as t grows."""
    low, high = min(v) - 1.0, max(v)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if math.fsum(max(c - middle, 0.0) for c in v) > 1 else (low, middle)
    return [max(c - high, 0.0) for c in v]


def allowed_share(p: Vector, noise: Vector, budget: float, lead: float) -> float:
    """The largest share of the noise that budget and label allow."""
    share = min(1.0, budget / max(math.fsum(abs(n) for n in noise), 1e-300))
    label = p.index(max(p))
    within = share
    for k in range(len(p)):
        lost = share * (noise[k] - noise[label])
        if k != label and lost > 0:
            within = min(within, share * max(p[label] - p[k] - lead, 0.0) / lost)
    return within


def feasible(p: Vector, wanted: Vector, budget: float, lead: float, mixed: float) -> Vector:
    noise = [w - c for w, c in zip(wanted, p, strict=True)]
    share = allowed_share(p, noise, budget, lead)
    return [(1 - mixed) * (c + share * n) + mixed / len(p) for c, n in zip(p, noise, strict=True)]


def noised(
    p: Vector,
    x: Vector,
    a: Matrix,
    b: Vector,
    *,
    steps: int,
    budget: float,
    rate: float,
    lead: float,
    mixed: float,
) -> Vector:
    """The worst vector to decode on a way of `steps` normalised gradients."""
    current = feasible(p, p, budget, lead, mixed)
    seen = [current]
    for _ in range(steps):
        slope = gradient(current, a, b, x)
        length = math.sqrt(math.fsum(g * g for g in slope))
        moved = [c + rate * budget * g / length for c, g in zip(current, slope, strict=True)]
        current = feasible(p, nearest_on_the_simplex(moved), budget, lead, mixed)
        seen.append(current)
    return max(seen, key=lambda q: error(q, a, b, x))
