"""A classifier that sees its own features through a noisy channel (Wang, Zhang, Jia 2021: MID)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from tasks.models.architectures import Network
from tasks.models.image_noise import image_noise

LEAST_STD = 1e-6  # log std stays finite
SHIFT = 5.0  # of the code: softplus(s - 5) starts near 0.007, so that training starts almost without noise


class BottleneckNetwork(Network):
    """body -> features (n, d) -> linear to (mu, s), k each -> z = mu + std eps -> linear classifier.

    std = softplus(s - 5), eps ~ N(0, I). `features(x)` is z (n, k), the input of the last layer. In training mode
    eps is drawn anew from torch's global generator, as dropout is (so within `ctx.seeded`). In eval mode z = mu, or
    with `noise_seed` eps is a function of that seed and the image alone.
    """

    def __init__(self, network: Network, code_size: int | None = None, noise_seed: int | None = None) -> None:
        """network: whose body is taken; code_size: k, half of its features if None."""
        features, classes = network.classifier.in_features, network.classifier.out_features
        self.code_size = code_size if code_size is not None else max(1, features // 2)
        self.noise_seed = noise_seed
        with torch.random.fork_rng(devices=[]):  # layers draw weights when made; `initialise` replaces them
            super().__init__(network.body, nn.Linear(self.code_size, classes))
            self.statistics = nn.Linear(features, 2 * self.code_size)

    def posterior(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """mu and std of z given x: (n, c, s, s) -> (n, k), (n, k) > 0."""
        mean, raw = self.statistics(self.body(x)).chunk(2, dim=1)
        return mean, functional.softplus(raw - SHIFT).clamp_min(LEAST_STD)

    def code(self, x: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
        """z (n, k) of images whose `posterior` is (mean, std)."""
        if self.training:
            return mean + std * torch.randn_like(std)
        if self.noise_seed is None:
            return mean
        return mean + std * image_noise(x, self.code_size, self.noise_seed).to(std)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """z, (n, c, s, s) -> (n, k)."""
        return self.code(x, *self.posterior(x))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.classifier(self.features(x))
        return out
