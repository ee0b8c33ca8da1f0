"""GAN-ID (Gong et al., sec. IV): the defender does not know the attacker's GAN and substitutes one."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from tasks.defenses.defense import Defender
from tasks.defenses.finetuning import GANDefense
from tasks.gan.gan import GANChoice


class GANID(GANDefense):
    """Fine-tune by eq. 10 on fakes from a substitute GAN; one defended model meets every attack."""

    name: ClassVar = "gan_id"

    gan: GANChoice = Field(default_factory=GANChoice, description="substitute GAN; the paper: wgan")

    @property
    def generators(self) -> tuple[GANChoice, ...]:
        return (self.gan, *self.more_gans)

    def structure(self, defender: Defender) -> GANChoice:
        return self.gan
