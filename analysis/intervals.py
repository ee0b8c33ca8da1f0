"""Confidence intervals of rates: Wilson, a bootstrap clustered by label, and a crossed one for models x pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = Sequence[float] | NDArray[Any]


def wilson(hits: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval (low, high) of a rate of `hits` among `n` independent trials (Wilson 1927).

    (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n). Never leaves [0, 1] and is not a point at 0 or
    n hits: 2 of 2 is [.34, 1]. Raises ValueError unless 0 <= hits <= n, n >= 1, 0 < level < 1.
    """
    _check_level(level)
    if n < 1 or not 0 <= hits <= n:
        raise ValueError(f"0 <= hits <= n and n >= 1 must hold, but got {hits=}, {n=}")
    z = NormalDist().inv_cdf((1 + level) / 2)
    p = hits / n
    middle = p + z * z / (2 * n)
    half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = 0.0 if hits == 0 else max(0.0, (middle - half) / scale)
    high = 1.0 if hits == n else min(1.0, (middle + half) / scale)
    return low, high


def pooled_mean(values_by_cluster: Mapping[Any, Values]) -> float:
    """Mean over all values of all clusters: each image counts once, so a larger cluster counts for more.

    Raises ValueError if there is no value.
    """
    sums, counts = _sums(values_by_cluster)
    return float(sums.sum() / counts.sum())


def cluster_bootstrap(
    values_by_cluster: Mapping[Any, Values], level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval (low, high) of `pooled_mean` over resamples of whole clusters with replacement.

    values_by_cluster: label -> outcomes (0/1 or any float) of its images. Images of one label share a model,
    so they are no independent trials: only labels are drawn (Cameron et al. 2008). Deterministic in `seed`,
    whatever the order of the mapping; labels without values are left out. Where all labels agree it is a
    point, and with few labels it is too narrow: print the number of labels beside it. Raises ValueError for
    fewer than 2 labels with values: between labels there is then nothing to measure; use `wilson`.
    """
    _check_level(level)
    if resamples < 1:
        raise ValueError(f"resamples >= 1 must hold, but got {resamples=}")
    sums, counts = _sums(values_by_cluster)
    if len(sums) < 2:
        raise ValueError(f"at least 2 labels are needed, but got {len(sums)}; use wilson(hits, n)")
    drawn = np.random.default_rng(seed).integers(0, len(sums), size=(resamples, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def crossed_bootstrap(
    hits_by_cluster: Mapping[Any, NDArray[Any]], level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval (low, high) of the mean of models x pictures, both drawn anew: clusters and pictures.

    hits_by_cluster: cluster of models (a label, or a seed) -> (models, pictures) of 0/1, the same pictures in the
    same order everywhere. Models that were tested on the same pictures share their luck with them, so pictures are
    drawn once for all (the pigeonhole bootstrap of Owen 2007, which errs on the wide side). Deterministic in
    `seed`. Raises ValueError for fewer than 2 clusters or unequal numbers of pictures; for one model use `wilson`.
    """
    _check_level(level)
    arrays = [np.asarray(hits_by_cluster[name], dtype=np.float64) for name in sorted(hits_by_cluster, key=str)]
    if len(arrays) < 2 or len({array.shape[1] for array in arrays}) != 1 or not arrays[0].shape[1]:
        shapes = [array.shape for array in arrays]
        raise ValueError(f"at least 2 clusters of models on the same pictures are needed, but got {shapes=}")
    sums, models = np.stack([array.sum(axis=0) for array in arrays]), np.array([float(len(array)) for array in arrays])
    pictures, generator, means = sums.shape[1], np.random.default_rng(seed), []
    for _ in range(resamples):
        clusters = generator.integers(0, len(arrays), size=len(arrays))
        times = np.bincount(generator.integers(0, pictures, size=pictures), minlength=pictures)
        means.append(sums[clusters].sum(axis=0) @ times / (models[clusters].sum() * pictures))
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _sums(values_by_cluster: Mapping[Any, Values]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum and number of values of each cluster that has any, in the order of the clusters' names."""
    arrays = [np.asarray(values_by_cluster[name], dtype=np.float64) for name in sorted(values_by_cluster, key=str)]
    arrays = [values for values in arrays if values.size]
    if not arrays:
        raise ValueError(f"no value in any of {len(values_by_cluster)} labels, so there is no mean")
    return np.array([v.sum() for v in arrays]), np.array([float(v.size) for v in arrays])


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"0 < level < 1 must hold, but got {level=}")
