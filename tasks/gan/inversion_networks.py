"""The discriminator of the inversion-specific GAN (Chen et al., ICCV 2021), with minibatch discrimination."""

from __future__ import annotations

import math

import torch
from torch import nn

from tasks.data.stored_images import Images
from tasks.gan.conditional_networks import Trunk
from tasks.gan.inversion_losses import realness
from tasks.models.initialise import initialise

INIT_STD = 0.02  # DCGAN


def similarity(m: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """o_b = sum_j exp(-||m_b - others_jb||_1) (Salimans et al. 2016, sec. 3.2).

    m (n, features, dims), others (r, features, dims) -> (n, features). If `others` is m itself, each row counts
    itself with exp(0) = 1, which the caller takes off.
    """
    distance = (m[:, None] - others[None]).abs().sum(dim=3)
    return (-distance).exp().sum(dim=1)


class MinibatchDiscrimination(nn.Module):
    """Features (n, d) -> (n, d + features): how close an image is to the others of its batch.

    In training the others are the batch, as in Salimans et al. In eval mode they are a fixed reference, stored
    by `settle` (virtual, as in their virtual batch normalisation): a search would otherwise judge an image by
    its batch mates. The reference has batch - 1 images, so that the sums, which are no means, keep their scale.
    """

    reference: torch.Tensor

    def __init__(self, inputs: int, features: int, dims: int, batch: int) -> None:
        super().__init__()
        self.shape = (features, dims)
        self.project = nn.Linear(inputs, features * dims, bias=False)
        self.register_buffer("reference", torch.zeros(batch - 1, features, dims))

    def draw(self, generator: torch.Generator) -> None:
        """N(0, s^2) with s = 1 / (dims sqrt(d)), so that distances start about 1.

        The code draws from N(0, 1): a distance is then in the thousands, exp(-distance) is 0 and so are all of
        its gradients, for good.
        """
        nn.init.normal_(self.project.weight, 0.0, self.scale, generator=generator)

    @property
    def scale(self) -> float:
        """Standard deviation of the initial weights."""
        return 1 / (self.shape[1] * math.sqrt(self.project.in_features))

    @torch.no_grad()
    def settle(self, features: torch.Tensor) -> None:
        """Store the reference from features (batch - 1, d) of real images."""
        self.reference.copy_(self._matrices(features))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        m = self._matrices(features)
        near = similarity(m, m) - 1 if self.training else similarity(m, self.reference)
        return torch.cat([features, near], dim=1)

    def _matrices(self, features: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.project(features)
        return out.view(-1, *self.shape)


class InversionCritic(nn.Module):
    """Images (n, channels, size, size) -> K logits; the class "fake" is implicit. Its score is their logsumexp.

    The trunk is that of the other critics (4x4 kernels, no norm next to the image) and not the code's 5x5 ones.
    """

    def __init__(
        self, channels: int, size: int, width: int, *, classes: int, similarities: int, dims: int, batch: int
    ) -> None:
        super().__init__()
        self.trunk = Trunk(channels, size, width)
        self.similar = MinibatchDiscrimination(self.trunk.features, similarities, dims, batch)
        self.label = nn.Linear(self.trunk.features + similarities, classes)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all weights."""
        initialise(self, generator, std=INIT_STD)
        self.similar.draw(generator)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(n, c, s, s) -> log-odds (n,) that an image is real."""
        return realness(self.logits(images))

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """(n, c, s, s) -> (n, classes)."""
        return self.judge(images)[1]

    def judge(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, c, s, s) -> features (n, d), of the trunk alone and so without batch mates, and logits (n, classes)."""
        features = self.trunk(images)
        logits: torch.Tensor = self.label(self.similar(features))
        return features, logits

    @torch.no_grad()
    def settle(self, images: Images, generator: torch.Generator) -> None:
        """Choose the reference among real images (n, c, s, s), at random; with too few, some stand in it twice."""
        wanted = len(self.similar.reference)
        order = torch.randperm(len(images), generator=generator)
        rows = order.repeat(math.ceil(wanted / len(images)))[:wanted]
        self.similar.settle(self.trunk(images[rows].contiguous(memory_format=torch.channels_last)))
