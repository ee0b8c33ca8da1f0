"""Distributional recovery: gradient descent on the mean and the log variance of a Gaussian over latents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tasks.attacks.attack import Inverted
from tasks.attacks.scoring import best_restarts
from tasks.context import Context
from tasks.gan.latents import project
from tasks.inversion.latent import latent_objective, paint
from tasks.inversion.sample_noise import SampleNoise
from tasks.inversion.search import Search, Where

if TYPE_CHECKING:
    from tasks.attacks.dmi import DMI
    from tasks.models.architectures import Network


def reparameterise(parameters: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """z = mu + exp(log_var / 2) eps; parameters (n, 2 d) = [mu | log_var], noise eps (n, d) -> (n, d).

    Kingma and Welling 2014, sec. 2.4; sec. 3.2 of Chen et al. 2021.
    """
    mu, log_var = parameters.chunk(2, dim=1)
    return mu + (0.5 * log_var).exp() * noise


def recover(stage: DMI, ctx: Context, target: Network) -> Inverted:
    """Search the distributions, draw the images, let the target choose among `restarts` draws of each."""
    space, count = stage.gan.latent_space, min(stage.distributions, stage.images)
    objective = latent_objective(target, stage.gan, label=stage.label, settings=stage, ctx=ctx)
    noise = SampleNoise(ctx.seed("latents"))

    def fresh() -> torch.Tensor:
        return torch.cat([torch.zeros(count, space.size), torch.full((count, space.size), stage.log_var)], dim=1)

    def loss(parameters: torch.Tensor, where: Where) -> torch.Tensor:
        eps = [noise.normal(where, space.size, stream=i).to(parameters) for i in range(stage.draws)]
        z = torch.cat([project(space, reparameterise(parameters, e), stage.clip) for e in eps])
        return objective(z).view(stage.draws, -1).mean(dim=0)

    start = stage.starts(ctx, fresh).to(ctx.device)
    found = Search(start, loss, stage, keep="last").run(ctx)
    rows = torch.arange(stage.images * stage.restarts) // stage.restarts % count
    eps = torch.randn(len(rows), space.size, generator=ctx.generator("draws")).to(found.points)
    z = project(space, reparameterise(found.points[rows], eps), stage.clip)
    images = paint(stage.gan.trained(ctx)[0], z, stage.chunk)
    best = best_restarts(target, images, stage.label, stage.restarts)
    return Inverted(
        images[best],
        found.losses[rows[best]],
        passes=int(found.passes.sum()) * stage.draws,
        queries=len(rows) if stage.restarts > 1 else 0,
        points=found.points,
    )
