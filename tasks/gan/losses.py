"""GAN losses as pure functions of critic scores (n,)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

Score = Callable[[torch.Tensor], torch.Tensor]


def wasserstein_critic(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """E[D(G(z))] - E[D(x)], which the critic minimises (Arjovsky et al. 2017)."""
    return fake.mean() - real.mean()


def wasserstein_generator(fake: torch.Tensor) -> torch.Tensor:
    """-E[D(G(z))], which the generator minimises (Arjovsky et al. 2017)."""
    return -fake.mean()


def gradient_penalty(critic: Score, real: torch.Tensor, fake: torch.Tensor, mix: torch.Tensor) -> torch.Tensor:
    """E[(||grad_x D(x)||_2 - 1)^2] at x = mix * real + (1 - mix) * fake (Gulrajani et al. 2017, eq. 3).

    real, fake (n, c, h, w); mix (n, 1, 1, 1) in [0, 1]. Differentiable in the critic's weights.
    """
    between = (mix * real + (1 - mix) * fake).detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    norm: torch.Tensor = gradient.flatten(1).norm(dim=1)
    return (norm - 1).square().mean()


def logistic_critic(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """-E[log sigma(D(x))] - E[log(1 - sigma(D(G(z))))], which the critic minimises (Goodfellow et al. 2014, eq. 1).

    real, fake (n,) are log-odds; written with softplus, so that no score is too large for it.
    """
    return functional.softplus(-real).mean() + functional.softplus(fake).mean()


def logistic_generator(fake: torch.Tensor) -> torch.Tensor:
    """-E[log sigma(D(G(z)))], the non-saturating loss of the generator (Goodfellow et al. 2014, sec. 3)."""
    return functional.softplus(-fake).mean()


def r1_penalty(critic: Score, real: torch.Tensor) -> torch.Tensor:
    """1/2 E[||grad_x D(x)||_2^2] at real images (n, c, h, w) (Mescheder et al. 2018, eq. 9, there times gamma).

    Differentiable in the critic's weights. The critic must score each image alone: the gradient is that of
    the sum of scores.
    """
    at = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(at).sum(), at, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1).mean() / 2
