"""Distances between sets of features (n, d), in float64. Rows are images, columns `feature(F_E(x))`."""

from __future__ import annotations

import io
import warnings
from contextlib import redirect_stdout

import numpy as np
import torch


def feature_mean_sqdist(a: torch.Tensor, b: torch.Tensor) -> float:
    """Eq. 13: || mean_i a_i - mean_j b_j ||^2; a (n, d), b (m, d).

    Gong et al. 2023 call it FID; it has no covariance term, so here it bears the name of what it is. See
    `frechet_distance` for the one that has. Raises ValueError if a or b is empty or the widths differ.
    """
    x, y = _pair(a, b, least=1)
    return float((x.mean(dim=0) - y.mean(dim=0)).square().sum())


def knn_sqdist(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """For each a_i the nearest b_j: min_j ||a_i - b_j||^2 (n,) float64, and that j (n,) int64.

    The lowest j on ties. a (n, d), b (m, d); errors as in `feature_mean_sqdist`. The KNN distance of Zhang et
    al. 2020 (GMI).
    """
    x, y = _pair(a, b, least=1)
    # not by the expansion |x|^2 - 2xy + |y|^2, which cancels where the two are close
    distances = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square()
    nearest = distances.argmin(dim=1)
    return distances.gather(1, nearest[:, None])[:, 0], nearest


def frechet_distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """Frechet distance of the Gaussians fitted to a (n, d) and b (m, d) (Heusel et al. 2017), by pytorch-fid.

    ||mu_a - mu_b||^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)), covariances with n - 1. Singular for n <= d: the
    value is then still defined, but biased, so compare only rows with equal n and m. pytorch-fid's own
    thresholds are absolute, so the features are first scaled to unit variance and the value is scaled back;
    a negative rounding error is 0. Raises ValueError for fewer than 2 samples or features, or unequal widths.
    """
    x, y = (features.numpy() for features in _pair(a, b, least=2))
    if x.shape[1] < 2:
        raise ValueError(f"a Frechet distance needs at least 2 features, but got {x.shape=}")
    scale = float(np.sqrt(max(x.var(axis=0).mean(), y.var(axis=0).mean())))
    if scale == 0:  # no variance on either side: two points
        return feature_mean_sqdist(a, b)
    x, y = x / scale, y / scale
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):  # it prints where the product is singular
        # singular matrices are the normal case here; scipy's `disp` is deprecated but pytorch-fid's
        warnings.simplefilter("ignore")
        from pytorch_fid.fid_score import calculate_frechet_distance

        value = calculate_frechet_distance(
            x.mean(axis=0), np.cov(x, rowvar=False), y.mean(axis=0), np.cov(y, rowvar=False)
        )
    return max(0.0, float(value)) * scale**2


def diversity(features: torch.Tensor) -> float:
    """Mean of ||f_i - f_j||^2 over all pairs i < j; (n, d). 0 if all images are alike, and for one image.

    Ours: a defended target whose attack images are one picture n times has an AA of 0 or 1 that rests on a
    single sample. Equal to twice the trace of the covariance (n - 1), which is how it is computed.
    """
    x = _features(features, least=1)
    if len(x) == 1:
        return 0.0
    return 2 * float((x - x.mean(dim=0)).square().sum()) / (len(x) - 1)


def _pair(a: torch.Tensor, b: torch.Tensor, least: int) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = _features(a, least), _features(b, least)
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"both sets need equally many features, but got {x.shape=}, {y.shape=}")
    return x, y


def _features(features: torch.Tensor, least: int) -> torch.Tensor:
    if features.ndim != 2 or len(features) < least or not bool(features.isfinite().all()):
        shape = tuple(features.shape)
        raise ValueError(f"finite features (n, d) of at least {least} images are needed, but got {shape=}")
    return features.detach().double().cpu()
