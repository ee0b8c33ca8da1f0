"""The losses of KED-MI's GAN (Chen et al. 2021) one number at a time in Python floats, with "fake" as a class.

Unlike the code, the K+1st logit is written out (it is 0), and D(x) is one minus the probability of "fake".
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Vector = Sequence[float]
Rows = Sequence[Vector]


def mean(values: Vector) -> float:
    return math.fsum(values) / len(values)


def softmax(logits: Vector) -> list[float]:
    top = max(logits)
    weights = [math.exp(z - top) for z in logits]
    return [w / math.fsum(weights) for w in weights]


def p_fake(logits: Vector) -> float:
    """Probability of the K+1st class, whose logit is 0."""
    return softmax([*logits, 0.0])[-1]


def supervised(logits: Rows, target: Rows) -> float:
    rows = []
    for own, given in zip(logits, target, strict=True):
        wanted, told = softmax(given), softmax(own)
        rows.append(-math.fsum(w * math.log(p) for w, p in zip(wanted, told, strict=True)))
    return mean(rows)


def real(logits: Rows) -> float:
    return mean([-math.log(1 - p_fake(row)) for row in logits])


def fake(logits: Rows) -> float:
    return mean([-math.log(p_fake(row)) for row in logits])


def matching(fakes: Rows, reals: Rows) -> float:
    width = len(fakes[0])
    gaps = [mean([row[i] for row in fakes]) - mean([row[i] for row in reals]) for i in range(width)]
    return mean([abs(gap) for gap in gaps])


def entropy(logits: Rows) -> float:
    """Of the K labels, summed over images."""
    return math.fsum(-p * math.log(p) for row in logits for p in softmax(row))


def similarity(features: Rows, weights: Rows, count: int, dims: int, others: Rows | None = None) -> list[list[float]]:
    """o(x_i)_b = sum_j exp(-||M_ib - M_jb||_1), M_i = x_i T; weights are T transposed, (count * dims, inputs).

    Over all other images of the batch, or over `others` where an image is judged by a reference.
    """
    rows = []
    for i, x in enumerate(features):
        mates = [y for j, y in enumerate(features) if j != i] if others is None else others
        o = []
        for b in range(count):
            kernel = weights[b * dims : (b + 1) * dims]
            near = [math.exp(-math.fsum(abs(_dot(w, x) - _dot(w, y)) for w in kernel)) for y in mates]
            o.append(math.fsum(near))
        rows.append(o)
    return rows


def _dot(a: Vector, b: Vector) -> float:
    return math.fsum(p * q for p, q in zip(a, b, strict=True))
