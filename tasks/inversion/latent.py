"""Latent inversion, eq. 5-6: find z so that G(z) looks real to D and is `label` to F."""

from __future__ import annotations

import torch
from torch import nn

from tasks.context import Context
from tasks.inversion.losses import discrimination_loss, identification_loss, inversion_loss
from tasks.inversion.search import Found, Search
from tasks.inversion.settings import LatentSettings
from tasks.models.inference import inference_copy


def draw_latents(n: int, latent_dim: int, generator: torch.Generator, clip: float | None) -> torch.Tensor:
    """n independent starts z ~ N(0, I) (n, latent_dim), clamped as the search clamps them."""
    z = torch.randn(n, latent_dim, generator=generator)
    return z.clamp(-clip, clip) if clip is not None else z


def invert(
    model: nn.Module,
    generator: nn.Module,
    critic: nn.Module,
    *,
    label: int,
    start: torch.Tensor,
    settings: LatentSettings,
    ctx: Context,
) -> Found:
    """Minimise eq. 6 from each row of `start` (n, latent_dim) for one label; all networks are left untouched."""
    f, g, d = inference_copy(model), inference_copy(generator), inference_copy(critic)

    def loss(z: torch.Tensor) -> torch.Tensor:
        images = g(z).contiguous(memory_format=torch.channels_last)
        labels = torch.full((len(z),), label, device=z.device)
        identification = identification_loss(f(images), labels, settings.identification)
        return inversion_loss(discrimination_loss(d(images), settings.discrimination), identification, settings.lam)

    def clamp(z: torch.Tensor) -> torch.Tensor:
        return z if settings.clip is None else z.clamp(-settings.clip, settings.clip)

    return Search(start.to(ctx.device), loss, settings, clamp).run(ctx)


@torch.no_grad()
def paint(generator: nn.Module, latents: torch.Tensor, chunk: int) -> torch.Tensor:
    """G(z) for (n, latent_dim) in batches of a fixed, padded shape -> (n, c, s, s) in [-1, 1] on the CPU."""
    generator.eval()
    parts = []
    for z in latents.split(chunk):
        padded = torch.cat([z, z[-1:].expand(chunk - len(z), -1)])
        parts.append(generator(padded)[: len(z)].cpu())
    return torch.cat(parts)
