"""Filters of images, per image: non-local means and unsharp masking. Pure functions."""

from __future__ import annotations

import itertools

import torch
from torch.nn.functional import avg_pool2d, conv2d, pad

PATCH, WINDOW = 1, 2  # radius of a patch (3x3) and of the window that is searched (5x5)


def non_local_means(images: torch.Tensor, strength: float) -> torch.Tensor:
    """Each pixel is the mean of the 5x5 around it, weighted by how alike their 3x3 patches are (n, c, h, w).

    w = exp(-d / strength^2), d the mean squared difference of two patches over pixels and channels; `strength`
    in units of the pixel range. Borders are reflected. Buades et al. 2005, with a flat patch and a small window.
    """
    height, width = images.shape[2:]
    border = PATCH + WINDOW
    padded = pad(images, (border, border, border, border), mode="reflect")

    def shifted(down: int, across: int, radius: int) -> torch.Tensor:
        """The images moved by an offset, with `radius` pixels around them."""
        top, left = border + down - radius, border + across - radius
        return padded[:, :, top : top + height + 2 * radius, left : left + width + 2 * radius]

    own = shifted(0, 0, PATCH)
    total, weights = torch.zeros_like(images), torch.zeros_like(images[:, :1])
    for down, across in itertools.product(range(-WINDOW, WINDOW + 1), repeat=2):
        apart = (own - shifted(down, across, PATCH)).square().mean(dim=1, keepdim=True)
        weight = (-avg_pool2d(apart, 2 * PATCH + 1, stride=1) / strength**2).exp()
        total = total + weight * shifted(down, across, 0)
        weights = weights + weight
    return total / weights


def sharpen(images: torch.Tensor, amount: float) -> torch.Tensor:
    """Unsharp mask x + amount (x - blur(x)), blur by [1 2 1] / 4 along both sides; (n, c, h, w), not clamped."""
    channels = images.shape[1]
    line = images.new_tensor([0.25, 0.5, 0.25])
    kernel = torch.outer(line, line).expand(channels, 1, 3, 3)
    blurred = conv2d(pad(images, (1, 1, 1, 1), mode="reflect"), kernel, groups=channels)
    return images + amount * (images - blurred)
