"""Critics that know more of an image than whether it is real: whose it is (CGAN), what codes made it (InfoGAN).

Each scores an image alone, `critic(images) -> (n,)`, whatever else it can be asked.
"""

from __future__ import annotations

import torch
from torch import nn

from tasks.gan.networks import Critic

Q_WIDTH = 128  # of the hidden layer between the trunk and the codes (Chen et al. 2016, appendix C)


class Trunk(nn.Module):
    """Images (n, channels, size, size) -> features (n, self.features): `Critic` without its last layer."""

    def __init__(self, channels: int, size: int, width: int) -> None:
        super().__init__()
        *layers, last, _ = Critic(channels, size, width).score
        if not isinstance(last, nn.Conv2d):
            raise TypeError(f"a critic ends in a convolution to one score, but got {last=}")
        self.layers = nn.Sequential(*layers)
        self.features = last.weight[0].numel()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layers(images)
        return out.flatten(1)


class ProjectionCritic(nn.Module):
    """D(x, y) = psi(phi(x)) + (v_y - mean_k v_k) . phi(x) (Miyato and Koyama 2018, sec. 3, but for the mean).

    Without a label the score is psi(phi(x)), which is the mean of D(x, y) over all people. The mean of v is
    subtracted for that: otherwise psi could hand any part of the score to all v_y at once, and what it says
    alone would mean nothing.
    """

    def __init__(self, channels: int, size: int, width: int, people: int) -> None:
        super().__init__()
        self.trunk = Trunk(channels, size, width)
        self.score = nn.Linear(self.trunk.features, 1)
        self.people = nn.Linear(self.trunk.features, people, bias=False)  # its rows are the v_y

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(n, c, s, s) -> log-odds (n,) that an image is real, whoever is in it."""
        out: torch.Tensor = self.score(self.trunk(images))
        return out.flatten()

    def judge(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """(n, c, s, s) and labels (n,) int64 -> log-odds (n,) that an image is a real one of its person."""
        features = self.trunk(images)
        everybody = self.people(features)
        of_label = everybody.gather(1, labels[:, None]) - everybody.mean(dim=1, keepdim=True)
        out: torch.Tensor = self.score(features) + of_label
        return out.flatten()


class ReadingCritic(nn.Module):
    """A critic whose trunk also feeds Q(c | x), which reads an image's codes (Chen et al. 2016, sec. 6).

    Q has no BatchNorm, unlike theirs: it shares its trunk with a critic that scores images alone.
    """

    def __init__(self, channels: int, size: int, width: int, categories: int, continuous: int) -> None:
        super().__init__()
        self.trunk = Trunk(channels, size, width)
        self.score = nn.Linear(self.trunk.features, 1)
        self.codes = nn.Sequential(
            nn.Linear(self.trunk.features, Q_WIDTH), nn.LeakyReLU(0.2), nn.Linear(Q_WIDTH, categories + continuous)
        )
        self.parts = (categories, continuous)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(n, c, s, s) -> log-odds (n,) that an image is real."""
        return self.read(images)[0]

    def read(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(n, c, s, s) -> score (n,), logits of the category (n, categories), means of the codes (n, continuous)."""
        features = self.trunk(images)
        logits, means = self.codes(features).split(self.parts, dim=1)
        return self.score(features).flatten(), logits, means
