"""Latents of a generator: how they are drawn, and how a search keeps them where the generator was trained."""

from __future__ import annotations

import torch
from torch.nn.functional import one_hot

from tasks.gan.gan import LatentSpace


def draw(space: LatentSpace, n: int, generator: torch.Generator) -> torch.Tensor:
    """n independent latents (n, space.size): z ~ N(0, I), one-hot blocks at random, codes ~ U(-1, 1)."""
    parts = [torch.randn(n, space.normal, generator=generator)]
    for classes in space.categorical:
        parts.append(one_hot(torch.randint(classes, (n,), generator=generator), classes).float())
    if space.uniform:
        parts.append(torch.rand(n, space.uniform, generator=generator) * 2 - 1)
    return torch.cat(parts, dim=1)


def blocks(space: LatentSpace, latents: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor], torch.Tensor]:
    """(z, one-hot blocks, uniform codes) of latents (n, space.size)."""
    z, *hot, codes = latents.split([space.normal, *space.categorical, space.uniform], dim=1)
    return z, hot, codes


def project(space: LatentSpace, latents: torch.Tensor, clip: float | None = None) -> torch.Tensor:
    """The nearest valid latent: z clamped to [-clip, clip], blocks on the simplex, codes in [-1, 1].

    (n, space.size) -> same. A condition is searched over the simplex, not over its corners: the generator
    is linear in it at its input, so a point between two people is a valid start for a face between them.
    """
    z, hot, codes = blocks(space, latents)
    z = z if clip is None else z.clamp(-clip, clip)
    return torch.cat([z, *(to_simplex(block) for block in hot), codes.clamp(-1, 1)], dim=1)


def to_simplex(x: torch.Tensor) -> torch.Tensor:
    """Euclidean projection of each row (n, k) onto {p >= 0, sum p = 1} (Duchi et al. 2008, fig. 1).

    A row's largest entry is first moved to 0, which changes no projection: 1e8 - 1 is 1e8 in float32. A row
    with a NaN stays one, and leaves the others alone.
    """
    x = x - x.amax(dim=1, keepdim=True)
    ordered = x.sort(dim=1, descending=True).values
    excess = ordered.cumsum(dim=1) - 1
    count = torch.arange(1, x.shape[1] + 1, device=x.device, dtype=x.dtype)
    support = (ordered * count > excess).sum(dim=1, keepdim=True).clamp_min(1)
    shift = excess.gather(1, support - 1) / support
    return (x - shift).clamp_min(0)
