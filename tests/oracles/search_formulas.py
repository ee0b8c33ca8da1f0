"""Searches as one would write them for a single sample, in Python floats: slow, obvious, with no batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch

from tasks.inversion.settings import SearchSettings

Objective = Callable[[torch.Tensor], torch.Tensor]


class Trace(NamedTuple):
    point: list[float]
    loss: float
    passes: int


def value_and_gradient(objective: Objective, x: list[float]) -> tuple[float, list[float]]:
    point = torch.tensor([x], dtype=torch.float64, requires_grad=True)
    loss = objective(point)[0]
    loss.backward()
    assert point.grad is not None
    return loss.item(), point.grad[0].tolist()


def search_one(objective: Objective, start: list[float], s: SearchSettings, clip: float | None) -> Trace:
    """Adam (Kingma and Ba 2015, algorithm 1) or GMI's momentum SGD on one sample; the best point is kept."""
    x, best = list(start), Trace(list(start), math.inf, 0)
    m, v = [0.0] * len(x), [0.0] * len(x)
    stale, gained_at = 0, math.inf
    for t in range(1, s.steps + 1):
        loss, gradient = value_and_gradient(objective, x)
        enough = loss < math.inf if gained_at == math.inf else loss < gained_at - s.tolerance * abs(gained_at)
        stale, gained_at = (0, loss) if enough else (stale + 1, gained_at)
        if loss < best.loss:
            best = Trace(list(x), loss, t)
        best = best._replace(passes=t)
        for i, g in enumerate(gradient):
            if s.optimizer == "adam":
                m[i] = s.beta1 * m[i] + (1 - s.beta1) * g
                v[i] = s.beta2 * v[i] + (1 - s.beta2) * g * g
                x[i] -= s.lr * (m[i] / (1 - s.beta1**t)) / (math.sqrt(v[i] / (1 - s.beta2**t)) + 1e-8)
            else:  # v is the velocity: v' = mu v - lr g; x' = x - mu v + (1 + mu) v'
                before = v[i]
                v[i] = s.momentum * before - s.lr * g
                x[i] += -s.momentum * before + (1 + s.momentum) * v[i]
            if clip is not None:
                x[i] = min(clip, max(-clip, x[i]))
        if stale >= s.patience:
            break
    return best
