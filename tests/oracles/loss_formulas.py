"""Gong et al. 2023, eq. 5-10, one number at a time in Python floats, straight from the printed formulas."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

Vector = Sequence[float]


def softmax(logits: Vector) -> list[float]:
    top = max(logits)
    weights = [math.exp(z - top) for z in logits]
    return [w / math.fsum(weights) for w in weights]


def sigmoid(score: float) -> float:
    return 1 / (1 + math.exp(-score))


def discrimination(score: float, kind: str) -> float:
    return {"critic": -score, "log_sigmoid": -math.log(sigmoid(score))}[kind]


def identification(logits: Vector, label: int, kind: str) -> float:
    p = softmax(logits)
    if kind == "ce":
        return -math.log(p[label])
    return math.fsum((q - (1.0 if k == label else 0.0)) ** 2 for k, q in enumerate(p)) / len(p)


def private(logits: Vector, label: int, gamma: float, variant: str, weight: float | None = None) -> float:
    """Eq. 7 of one sample; `weight` stands for p^gamma where it is held constant (detached)."""
    p = softmax(logits)[label]
    focal: float = p**gamma if weight is None else weight
    if variant == "unlikelihood":
        return focal * math.log(1 - p)
    return -(1.0 if variant == "ce" else focal) * math.log(p)


def public(logits: Vector, label: int, gamma: float) -> float:
    p = softmax(logits)[label]
    focal: float = (1 - p) ** gamma
    return -focal * math.log(p)


def ewc(theta: Vector, anchor: Vector, fisher: Vector, lambda3: float) -> float:
    return math.fsum(lambda3 / 2 * f * (t - a) ** 2 for t, a, f in zip(theta, anchor, fisher, strict=True))


def objective(l_pri: float, l_pub: float, l_cl: float, alpha: float, beta: float, omega: float) -> float:
    return -alpha * l_pri + beta * l_pub + omega * l_cl


def slope(f: Callable[[list[float]], float], at: Vector, step: float = 1e-5) -> list[float]:
    """Central differences of f at `at`, one coordinate after another."""
    found = []
    for i in range(len(at)):
        up, down = list(at), list(at)
        up[i] += step
        down[i] -= step
        found.append((f(up) - f(down)) / (2 * step))
    return found


def mean(values: Vector) -> float:
    return math.fsum(values) / len(values)
