"""GAN-D (Gong et al., sec. IV): the defender knows the structure of the attacker's GAN and trains its own."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from tasks.defenses.defense import Defender
from tasks.defenses.finetuning import GANDefense
from tasks.gan.gan import GANChoice


class GAND(GANDefense):
    """Fine-tune by eq. 10 on fakes from a GAN of the attacker's structure: another model for each structure.

    The defender knows the structure with its settings (inversion-specific for DMI, StyleGAN for Mirror), not the
    weights, the seed or the images. An inversion-specific GAN is trained against the victim. For attacks without a
    GAN (Privacy, AMI, DeepInversion) the paper does not say which it takes: `otherwise`, a WGAN, as in GAN-ID.
    """

    name: ClassVar = "gan_d"
    knows_the_attack: ClassVar = True

    otherwise: GANChoice = Field(
        default_factory=GANChoice, description="GAN against an attack that has none; no value in the paper"
    )

    @property
    def generators(self) -> tuple[GANChoice, ...]:
        return (self.otherwise, *self.more_gans)

    def structure(self, defender: Defender) -> GANChoice:
        return defender.attackers_gan or self.otherwise
