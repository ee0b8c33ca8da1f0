"""Convolutional generator and critic for square images of 32 to 256 pixels, 112 and 224 among them."""

from __future__ import annotations

import itertools
import math

import torch
from torch import nn


def first_map(size: int) -> tuple[int, int]:
    """(side of the smallest map, doublings up to `size`): 64 -> (4, 4), 112 -> (7, 4), 224 -> (7, 5)."""
    side = 7 if size % 7 == 0 else 4
    return side, int(math.log2(size // side))


class LatentGenerator(nn.Module):
    """Latents (n, d) -> images (n, channels, size, size) in [-1, 1], by way of a style that Mirror searches.

    A generator without a mapping network has its latent for a style. `style_slope` is the negative slope of
    the LeakyReLU that ends the mapping network, whose inverse leads from W to P space; None without one.
    """

    style_slope: float | None = None

    def style(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents (n, d) -> styles (n, s): w of a StyleGAN."""
        return latents

    def paint(self, styles: torch.Tensor) -> torch.Tensor:
        """Styles (n, s) -> images (n, channels, size, size) in [-1, 1]."""
        raise NotImplementedError

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return self.paint(self.style(latents))


class Generator(LatentGenerator):
    """z (n, latent_dim) -> images (n, channels, size, size) in [-1, 1]: linear to 4x4 (7x7), then doubling."""

    def __init__(self, latent_dim: int, channels: int, size: int, width: int) -> None:
        super().__init__()
        self.side, doublings = first_map(size)
        depths = [width * 2 ** (doublings - 1 - i) for i in range(doublings)]
        self.top = depths[0]
        start = self.top * self.side**2
        self.project = nn.Sequential(nn.Linear(latent_dim, start, bias=False), nn.BatchNorm1d(start))
        layers: list[nn.Module] = [nn.ReLU(inplace=True)]
        for inputs, outputs in itertools.pairwise(depths):
            layers.append(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False))
            layers += [nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        layers += [nn.ConvTranspose2d(depths[-1], channels, 4, 2, 1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def paint(self, styles: torch.Tensor) -> torch.Tensor:
        start = self.project(styles).view(-1, self.top, self.side, self.side)
        out: torch.Tensor = self.layers(start.contiguous(memory_format=torch.channels_last))
        return out


class Critic(nn.Module):
    """Images (n, channels, size, size) -> one score each (n,): halving convolutions with InstanceNorm.

    InstanceNorm, not BatchNorm, because the gradient penalty is per sample (Gulrajani et al. 2017, sec. 4).
    """

    def __init__(self, channels: int, size: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        depth = width
        side, halvings = first_map(size)
        for _ in range(halvings - 1):
            layers += [nn.Conv2d(depth, depth * 2, 4, 2, 1), nn.InstanceNorm2d(depth * 2, affine=True)]
            layers.append(nn.LeakyReLU(0.2))
            depth *= 2
        layers += [nn.Conv2d(depth, 1, side), nn.Flatten(0)]
        self.score = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.score(x)
        return out
