"""Random changes of training images, drawn from an explicit generator and differentiable in the pixels."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional


class Changes(NamedTuple):
    """What `augment` does to each of n images: tensors (n,), drawn on the CPU."""

    angle: torch.Tensor  # radians
    scale: torch.Tensor
    mirrored: torch.Tensor  # where below 0.5
    right: torch.Tensor  # in half widths
    down: torch.Tensor
    contrast: torch.Tensor
    brightness: torch.Tensor

    def of(self, rows: torch.Tensor) -> Changes:
        """Those of rows (k,)."""
        return Changes(*(values[rows] for values in self))


def draw_changes(n: int, generator: torch.Generator) -> Changes:
    """The random part of `augment` for n images."""
    angle, scale = _uniform(n, -0.175, 0.175, generator), _uniform(n, 0.92, 1.08, generator)
    mirrored = _uniform(n, 0, 1, generator)
    right, down = _uniform(n, -0.08, 0.08, generator), _uniform(n, -0.08, 0.08, generator)
    return Changes(angle, scale, mirrored, right, down, *_draw_colour(n, generator))


def changed(images: torch.Tensor, changes: Changes) -> torch.Tensor:
    """The rest of `augment`; an image's result does not depend on the others."""
    n = len(images)
    angle, scale, mirrored, right, down, contrast, brightness = (values.to(images.device) for values in changes)
    flip = (mirrored < 0.5) * -2.0 + 1.0
    theta = images.new_zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = flip * scale * angle.cos(), -scale * angle.sin()
    theta[:, 1, 0], theta[:, 1, 1] = flip * scale * angle.sin(), scale * angle.cos()
    theta[:, 0, 2], theta[:, 1, 2] = right, down
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    moved = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return _coloured(moved, contrast, brightness)


def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Horizontal flip, small affine map (10 degrees, 8%), brightness and contrast (20%), per image.

    Images (n, c, s, s) in [-1, 1]; the same shape comes back, not clamped.
    """
    return changed(images, draw_changes(len(images), generator))


def _uniform(n: int, low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    return torch.empty(n).uniform_(low, high, generator=generator)


def _draw_colour(n: int, generator: torch.Generator, strength: float = 0.2) -> tuple[torch.Tensor, torch.Tensor]:
    """Contrast by a factor within 1 +- `strength` and brightness by up to `strength`, per image (n,)."""
    contrast = _uniform(n, 1 - strength, 1 + strength, generator)
    return contrast, _uniform(n, -strength, strength, generator)


def _coloured(images: torch.Tensor, contrast: torch.Tensor, brightness: torch.Tensor) -> torch.Tensor:
    contrast, brightness = (values.to(images.device)[:, None, None, None] for values in (contrast, brightness))
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (images - mean) * contrast + mean + brightness


def differentiable(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Brightness, contrast and translation by up to an eighth (DiffAugment, Zhao et al. 2020), per image."""
    n, _, height, width = images.shape
    coloured = _coloured(images, *_draw_colour(n, generator))
    pad = max(1, height // 8)
    padded = functional.pad(coloured, (pad, pad, pad, pad), mode="replicate")
    shift = torch.randint(0, 2 * pad + 1, (2, n), generator=generator).tolist()
    return torch.stack(
        [padded[i, :, shift[0][i] : shift[0][i] + height, shift[1][i] : shift[1][i] + width] for i in range(n)]
    )
