"""Latent inversion, eq. 5-6: find z so that G(z) looks real to D and is `label` to F."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from tasks.context import Context
from tasks.gan.gan import GAN, LatentSpace
from tasks.gan.latents import draw, project
from tasks.inversion.losses import discrimination_loss, identification_loss, inversion_loss
from tasks.inversion.search import Found, Search, Where
from tasks.inversion.settings import LatentSettings
from tasks.models.chunks import in_chunks
from tasks.models.inference import inference_copy


def draw_latents(n: int, space: LatentSpace, generator: torch.Generator, clip: float | None) -> torch.Tensor:
    """n independent starts (n, space.size), z clamped as the search clamps it."""
    return project(space, draw(space, n, generator), clip)


def latent_objective(
    model: nn.Module, gan: GAN, *, label: int, settings: LatentSettings, ctx: Context
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Eq. 6 of a label as a function of latents: (n, d) -> (n,), through inference copies of all networks."""
    generator, critic = gan.trained(ctx)
    f, g = inference_copy(model), inference_copy(generator)
    kind = gan.score if settings.discrimination == "auto" else settings.discrimination
    d = inference_copy(critic) if critic is not None and kind != "none" else None

    def objective(z: torch.Tensor) -> torch.Tensor:
        images = g(z).contiguous(memory_format=torch.channels_last)
        labels = torch.full((len(z),), label, device=z.device)
        identification = identification_loss(f(images), labels, settings.identification)
        if d is None or kind == "none":
            return settings.lam * identification
        return inversion_loss(discrimination_loss(d(images), kind), identification, settings.lam)

    return objective


def invert(
    model: nn.Module,
    gan: GAN,
    *,
    label: int,
    start: torch.Tensor,
    settings: LatentSettings,
    ctx: Context,
) -> Found:
    """Minimise eq. 6 from each row of `start` (n, d) for one label; all networks are left untouched."""
    objective = latent_objective(model, gan, label=label, settings=settings, ctx=ctx)

    def keep_valid(z: torch.Tensor, _: Where) -> torch.Tensor:
        return project(gan.latent_space, z, settings.clip)

    return Search(start.to(ctx.device), lambda z, _: objective(z), settings, keep_valid).run(ctx)


@torch.no_grad()
def paint(generator: nn.Module, latents: torch.Tensor, chunk: int) -> torch.Tensor:
    """G(z) for (n, d) in batches of a fixed, padded shape -> (n, c, s, s) in [-1, 1] on the CPU."""
    return in_chunks(generator.eval(), latents, chunk, latents.device)
