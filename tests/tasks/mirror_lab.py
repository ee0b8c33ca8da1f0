"""Small Mirror attacks on the lab's victim, and GANs whose styles are not plain latents."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn

from tasks.attacks.attack import Attack, Inverted
from tasks.attacks.mirror import Mirror
from tasks.attacks.mirror_bb import MirrorBB
from tasks.attacks.oracle import oracle
from tasks.gan.gan import LatentSpace
from tasks.gan.networks import Generator
from tasks.gan.wgan import WGAN
from tasks.inversion.search import Where
from tasks.models.training import predict
from tests.lab import Lab


class MappedGenerator(Generator):
    """A generator behind a small mapping network that ends in LeakyReLU(0.2)."""

    style_slope = 0.2

    def __init__(self, latent_dim: int, channels: int, size: int, width: int) -> None:
        super().__init__(24, channels, size, width)
        self.mapping = nn.Sequential(nn.Linear(latent_dim, 24), nn.LeakyReLU(0.2))

    def style(self, latents: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.mapping(latents)
        return out


class MappedGAN(WGAN):
    """Its styles are not its latents, as in StyleGAN."""

    kind: ClassVar = "mapped_gan"

    def networks(self) -> tuple[Any, nn.Module]:
        generator = MappedGenerator(self.latent_dim, self.data.channels, self.data.size, self.width)
        return generator, super().networks()[1]


class ConditionalGAN(WGAN):
    """Takes a one-hot label and a code, and has no mapping network."""

    kind: ClassVar = "conditional_gan"

    @property
    def latent_space(self) -> LatentSpace:
        return LatentSpace(self.latent_dim, (5,), 2)

    def networks(self) -> tuple[Any, nn.Module]:
        generator = Generator(self.latent_space.size, self.data.channels, self.data.size, self.width)
        return generator, super().networks()[1]


def gan_of(lab: Lab, structure: type[WGAN]) -> WGAN:
    wgan = lab.gan("attacker", steps=20)
    return structure(**{name: getattr(wgan, name) for name in type(wgan).model_fields})


def mirror(lab: Lab, **settings: Any) -> Mirror:
    base = {"gan": lab.attacker_gan, "label": 1, "images": 3, "steps": 8, "pool": 100, "chunk": 4}
    return Mirror(target=lab.victim, **{**base, **settings})


def mirror_bb(lab: Lab, **settings: Any) -> MirrorBB:
    base = {"gan": lab.attacker_gan, "label": 1, "images": 3, "steps": 6, "pool": 100, "population": 5}
    return MirrorBB(target=lab.victim, **{**base, **settings})


def inverted(lab: Lab, stage: Attack) -> Inverted:
    """`invert` with the access that the attack's type says."""
    ctx = lab.context(stage)
    if stage.access == "white_box":
        return stage.invert(ctx, stage.target.network(ctx))
    with oracle(stage.target, ctx) as asked:
        return stage.invert(ctx, asked)


def p_of(lab: Lab, stage: Attack, images: torch.Tensor) -> torch.Tensor:
    return predict(stage.target.network(lab.context(stage)), images).softmax(dim=1)[:, stage.label]


def where(rows: list[int], age: int = 0) -> Where:
    return Where(torch.tensor(rows), torch.full((len(rows),), age))
