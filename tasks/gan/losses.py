"""GAN losses as pure functions of critic scores (n,)."""

from __future__ import annotations

from collections.abc import Callable

import torch

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
