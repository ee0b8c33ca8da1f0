"""The sign-flip test by naming every flip, Holm's correction by its definition, and the crossed bootstrap by loops."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from tests.oracles.interval_formulas import quantile


def sign_flip_p(by_label: Mapping[int, Sequence[Fraction]]) -> Fraction:
    """Share of all 2^labels flips whose |mean| is at least the seen one. In fractions: no rounding decides a tie."""
    labels = sorted(by_label)
    pairs = sum(len(by_label[label]) for label in labels)
    seen = abs(sum((d for label in labels for d in by_label[label]), Fraction()) / pairs)
    hits = 0
    for signs in itertools.product((1, -1), repeat=len(labels)):
        total = Fraction()
        for sign, label in zip(signs, labels, strict=True):
            for difference in by_label[label]:
                total += sign * difference
        hits += abs(total / pairs) >= seen
    return Fraction(hits, 2 ** len(labels))


def holm_rejects(values: Sequence[float], level: float) -> list[bool]:
    """Step down: while the k-th smallest of m is at most level / (m - k + 1), reject it; stop at the first."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    rejected = [False] * len(values)
    for k, i in enumerate(order, start=1):
        if values[i] > level / (len(values) - k + 1):
            break
        rejected[i] = True
    return rejected


def crossed_bootstrap(
    clusters: Mapping[str, Sequence[Sequence[float]]], level: float, resamples: int, seed: int
) -> tuple[float, float]:
    """For each resample draw clusters, then pictures, and average every cell of what was drawn, one by one."""
    names = sorted(clusters)
    pictures = len(clusters[names[0]][0])
    generator, means = np.random.default_rng(seed), []
    for _ in range(resamples):
        drawn = [names[i] for i in generator.integers(0, len(names), size=len(names))]
        columns = generator.integers(0, pictures, size=pictures)
        cells = [model[column] for name in drawn for model in clusters[name] for column in columns]
        means.append(math.fsum(cells) / len(cells))
    ordered = sorted(means)
    return quantile(ordered, (1 - level) / 2), quantile(ordered, (1 + level) / 2)
