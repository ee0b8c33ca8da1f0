"""DP-SGD from its definitions: Renyi divergences by quadrature, delta by simulation, gradients one image at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy import optimize, special
from torch import nn


def renyi(q: float, sigma: float, alpha: float, points: int = 40_001) -> float:
    """D_alpha(P || Q) of one Poisson-sampled Gaussian step, by the trapezoid rule in log space.

    P = (1 - q) N(0, sigma^2) + q N(1, sigma^2) with the image, Q = N(0, sigma^2) without (Mironov, Talwar & Zhang 2019,
    Theorem 4: this direction is the larger). D_alpha = log E_Q[(P / Q)^alpha] / (alpha - 1).
    """
    z = np.linspace(-30 * sigma - 1, alpha + 30 * sigma + 1, points)
    log_q = -z * z / (2 * sigma**2) - math.log(sigma * math.sqrt(2 * math.pi))
    log_terms = log_q + alpha * log_ratio(z, q, sigma)
    weights = np.full(points, z[1] - z[0])
    weights[[0, -1]] /= 2
    return float(special.logsumexp(log_terms, b=weights)) / (alpha - 1)


def log_ratio(z: np.ndarray, q: float, sigma: float) -> np.ndarray:
    """log P(z) / Q(z)."""
    if q == 1:
        return (2 * z - 1) / (2 * sigma**2)
    return np.asarray(np.logaddexp(math.log1p(-q), math.log(q) + (2 * z - 1) / (2 * sigma**2)))


def renyi_epsilon(q: float, sigma: float, steps: int, delta: float, orders: Sequence[float]) -> float:
    """Epsilon of `steps` steps: divergences add up, then the best order of Balle et al. 2020, Theorem 21.

    epsilon = D_alpha + log((alpha - 1) / alpha) - (log delta + log alpha) / (alpha - 1).
    """
    return min(
        steps * renyi(q, sigma, a) + math.log((a - 1) / a) - (math.log(delta) + math.log(a)) / (a - 1) for a in orders
    )


def gaussian_epsilon(sigma: float, steps: int, delta: float) -> float:
    """Exact epsilon without sampling: delta = Phi(m/2 - e/m) - exp(e) Phi(-m/2 - e/m), m = sqrt(steps) / sigma.

    Balle & Wang 2018, Theorem 8.
    """
    m = math.sqrt(steps) / sigma

    def surplus(e: float) -> float:
        return float(special.ndtr(m / 2 - e / m) - math.exp(e + special.log_ndtr(-m / 2 - e / m)) - delta)

    return float(optimize.brentq(surplus, 0.0, 200.0))


def simulated_delta(q: float, sigma: float, steps: int, epsilon: float, runs: int, seed: int) -> float:
    """delta(epsilon) = E_P[(1 - exp(epsilon - L))_+], L = sum of the steps' log P / Q, by simulated trainings."""
    draws = np.random.default_rng(seed)
    total = np.zeros(runs)
    for _ in range(steps):
        there = draws.random(runs) < q
        total += log_ratio(there + sigma * draws.standard_normal(runs), q, sigma)
    return float(np.maximum(0.0, -np.expm1(epsilon - total)).mean())


def clipped_sum(
    network: nn.Module,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    images: torch.Tensor,
    labels: torch.Tensor,
    bound: float,
) -> tuple[list[torch.Tensor], list[float]]:
    """Sum of gradients that are each scaled down to norm `bound`, and their norms before: one backward an image."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    total = [torch.zeros_like(p) for p in parameters]
    norms = []
    for image, label in zip(images, labels, strict=True):
        gradients = torch.autograd.grad(loss(network(image[None]), label[None]), parameters)
        norm = math.sqrt(sum(float(g.square().sum()) for g in gradients))
        norms.append(norm)
        for one, gradient in zip(total, gradients, strict=True):
            one += gradient * min(1.0, bound / norm)
    return total, norms
