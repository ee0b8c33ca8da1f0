"""Random changes of training images, drawn from an explicit generator and differentiable in the pixels."""

from __future__ import annotations

import torch
from torch.nn import functional


def _uniform(n: int, low: float, high: float, generator: torch.Generator, like: torch.Tensor) -> torch.Tensor:
    return torch.empty(n).uniform_(low, high, generator=generator).to(like.device)


def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Horizontal flip, small affine map (10 degrees, 8%), brightness and contrast (20%), per image.

    Images (n, c, s, s) in [-1, 1]; the same shape comes back, not clamped.
    """
    n = len(images)
    angle = _uniform(n, -0.175, 0.175, generator, images)
    scale = _uniform(n, 0.92, 1.08, generator, images)
    flip = (_uniform(n, 0, 1, generator, images) < 0.5) * -2.0 + 1.0
    theta = images.new_zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = flip * scale * angle.cos(), -scale * angle.sin()
    theta[:, 1, 0], theta[:, 1, 1] = flip * scale * angle.sin(), scale * angle.cos()
    theta[:, 0, 2] = _uniform(n, -0.08, 0.08, generator, images)
    theta[:, 1, 2] = _uniform(n, -0.08, 0.08, generator, images)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    moved = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return colour(moved, generator)


def colour(images: torch.Tensor, generator: torch.Generator, strength: float = 0.2) -> torch.Tensor:
    """Brightness by up to `strength` and contrast by a factor within 1 +- `strength`, per image."""
    n = len(images)
    contrast = _uniform(n, 1 - strength, 1 + strength, generator, images)[:, None, None, None]
    brightness = _uniform(n, -strength, strength, generator, images)[:, None, None, None]
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (images - mean) * contrast + mean + brightness


def differentiable(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Brightness, contrast and translation by up to an eighth (DiffAugment, Zhao et al. 2020), per image."""
    n, _, height, width = images.shape
    coloured = colour(images, generator)
    pad = max(1, height // 8)
    padded = functional.pad(coloured, (pad, pad, pad, pad), mode="replicate")
    shift = torch.randint(0, 2 * pad + 1, (2, n), generator=generator).tolist()
    return torch.stack(
        [padded[i, :, shift[0][i] : shift[0][i] + height, shift[1][i] : shift[1][i] + width] for i in range(n)]
    )
