"""One step of a GAN's training as its structure sees it: networks, real images, latents, and random draws."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from tasks.data.stored_images import Foreseen, Images
from tasks.gan.latents import draw
from tasks.gan.networks import LatentGenerator
from tasks.models.augment import differentiable

if TYPE_CHECKING:
    from tasks.gan.gan import TrainedGAN
    from tasks.models.architectures import Network


class Play:
    """What a structure's losses may use in one step: the networks, real images, latents, and random draws.

    All draws come from one generator, so a step is a function of the stage and the step's number.
    """

    def __init__(
        self,
        stage: TrainedGAN,
        generator: LatentGenerator,
        critic: nn.Module,
        data: tuple[Images, torch.Tensor],
        target: Network | None,
        draws: torch.Generator,
        ahead: Foreseen | None = None,
    ) -> None:
        """data: images (n, c, s, s) in [-1, 1] and labels (n,), on the device; target: of a TargetGAN.

        ahead: reads the images, and the next batch of them when told to `foresee` it.
        """
        self.stage, self.generator, self.critic = stage, generator, critic
        self.images, self.labels = data
        self._ahead = ahead
        self.target, self.draws = target, draws
        self.step = 0

    def real(self) -> tuple[torch.Tensor, torch.Tensor]:
        """A batch of real images (batch, c, s, s), augmented, and their labels (batch,) among public people."""
        stage = self.stage
        rows = self._rows(self.draws)
        real = self.images[rows] if self._ahead is None else self._ahead.take(rows)
        if stage.augment:
            flip = torch.rand(stage.batch, generator=self.draws) < 0.5
            real = torch.where(flip.to(real.device)[:, None, None, None], real.flip(3), real)
            real = differentiable(real, self.draws)
        return real.contiguous(memory_format=torch.channels_last), self.labels[rows]

    def foresee(self) -> None:
        """Begin to read the batch that `real` gives if it is the next to draw: every structure's critic begins so."""
        if self._ahead is not None:
            self._ahead.foresee(self._rows(self.draws.clone_state()))

    def _rows(self, draws: torch.Generator) -> torch.Tensor:
        return torch.randint(len(self.images), (self.stage.batch,), generator=draws)

    def latents(self, n: int | None = None) -> torch.Tensor:
        """Fresh latents (n or batch, d)."""
        return draw(self.stage.latent_space, n or self.stage.batch, self.draws).to(self.images.device)

    def fake(self, latents: torch.Tensor) -> torch.Tensor:
        """G(latents), augmented as real images are (but for the flip), differentiable."""
        return self.augmented(self.generator(latents))

    @torch.no_grad()
    def constant_fake(self, latents: torch.Tensor) -> torch.Tensor:
        """The same without a graph: for the critic."""
        return self.fake(latents)

    def augmented(self, images: torch.Tensor) -> torch.Tensor:
        """DiffAugment, if the stage augments."""
        return differentiable(images, self.draws) if self.stage.augment else images

    def uniform(self, *shape: int) -> torch.Tensor:
        """U(0, 1) of a shape, on the device."""
        return torch.rand(*shape, generator=self.draws).to(self.images.device)
