"""How likely a difference is by chance: a sign-flip permutation test clustered by label, and Holm's correction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.intervals import Values

EXACT = 16  # up to so many labels, all 2^labels flips are looked at
FLIPS = 50_000  # beyond that, so many random ones, the same ones every time
_SEED = 0
_AT_ONCE = 2_000_000  # signs drawn at once


def sign_flip_p(by_label: Mapping[Any, Values], *, exact: int = EXACT, flips: int = FLIPS) -> float:
    """Two-sided p of "the defense changes nothing": the share of flips with |mean| at least as large as seen.

    by_label: label -> differences of its pairs. Under the hypothesis a label's differences are as likely with
    the other sign (Fisher 1935), and all seeds of a label flip together, since they attack one person's pictures.
    Up to `exact` labels all 2^labels flips are enumerated; beyond, (1 + hits) / (1 + flips) of random ones with a
    fixed seed (Phipson & Smyth 2010), which never is 0. Raises ValueError without any label.
    """
    sums = np.array([float(np.sum(by_label[name])) for name in sorted(by_label)])
    if not sums.size:
        raise ValueError("there is no label, so there is nothing to flip")
    least = abs(sums.sum()) - 1e-12 * np.abs(sums).sum()  # what is equal but for rounding counts as equal
    if len(sums) <= exact:
        totals = sums[:1]  # the first sign stays: flipping everything gives the same |mean|
        for value in sums[1:]:
            totals = np.concatenate([totals + value, totals - value])
        return float(np.mean(np.abs(totals) >= least))
    generator, hits, left = np.random.default_rng(_SEED), 0, flips
    while left:
        some = min(left, max(1, _AT_ONCE // len(sums)))
        signs = 2.0 * generator.integers(0, 2, size=(some, len(sums))) - 1.0
        hits += int(np.count_nonzero(np.abs(signs @ sums) >= least))
        left -= some
    return (1 + hits) / (1 + flips)


def smallest_p(labels: int, *, exact: int = EXACT, flips: int = FLIPS) -> float:
    """The least p that `sign_flip_p` can give: 2 of 2^labels flips, or one of the random ones. 5 labels: 0.0625."""
    return float(2.0 ** (1 - labels)) if labels <= exact else 1 / (1 + flips)


def holm(values: Sequence[float]) -> list[float]:
    """Holm 1979: p adjusted for so many tests; the k-th smallest times (m - k + 1), never falling, at most 1."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    adjusted, highest = [0.0] * len(values), 0.0
    for k, i in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - k) * values[i]))
        adjusted[i] = highest
    return adjusted
