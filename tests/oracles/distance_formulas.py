"""Distances between feature sets by plain loops, and the Frechet distance by two other routes than ours."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

Row = Sequence[float]
Matrix = NDArray[np.float64]


def sqdist(x: Row, y: Row) -> float:
    return math.fsum((p - q) ** 2 for p, q in zip(x, y, strict=True))


def mean_row(rows: Sequence[Row]) -> list[float]:
    return [math.fsum(column) / len(rows) for column in zip(*rows, strict=True)]


def feature_mean_sqdist(a: Sequence[Row], b: Sequence[Row]) -> float:
    return sqdist(mean_row(a), mean_row(b))


def knn(a: Sequence[Row], b: Sequence[Row]) -> list[tuple[float, int]]:
    """(least squared distance, lowest index that has it) of each row of a."""
    return [min((sqdist(x, y), j) for j, y in enumerate(b)) for x in a]


def diversity(rows: Sequence[Row]) -> float:
    pairs = [sqdist(x, y) for i, x in enumerate(rows) for y in rows[i + 1 :]]
    return math.fsum(pairs) / len(pairs) if pairs else 0.0


def covariance(rows: Matrix) -> Matrix:
    centred = rows - rows.mean(axis=0)
    return np.asarray(sum(np.outer(x, x) for x in centred) / (len(rows) - 1))


def frechet_by_sqrtm(a: Matrix, b: Matrix) -> float:
    """||mu_a - mu_b||^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) as Heusel et al. 2017 print it."""
    c_a, c_b = covariance(a), covariance(b)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # singular where n <= d
        root = linalg.sqrtm(c_a @ c_b)
    gap = a.mean(axis=0) - b.mean(axis=0)
    return float(gap @ gap + np.trace(c_a) + np.trace(c_b) - 2 * np.trace(root).real)


def frechet_by_svd(a: Matrix, b: Matrix) -> float:
    """The same without a matrix root, exact for singular covariances too.

    tr (C_a C_b)^(1/2) is the sum of the singular values of A B^T / sqrt((n - 1)(m - 1)), A and B centred.
    """
    centred_a, centred_b = a - a.mean(axis=0), b - b.mean(axis=0)
    values = np.linalg.svd(centred_a @ centred_b.T, compute_uv=False)
    root = values.sum() / math.sqrt((len(a) - 1) * (len(b) - 1))
    gap = a.mean(axis=0) - b.mean(axis=0)
    return float(gap @ gap + np.trace(covariance(a)) + np.trace(covariance(b)) - 2 * root)
