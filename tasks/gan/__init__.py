"""GAN structures by name. A new structure is its file and one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.registry import Registry

if TYPE_CHECKING:
    from tasks.gan.gan import GAN

GANS: Registry[GAN] = Registry(
    {
        "wgan": "tasks.gan.wgan:WGAN",
        "dcgan": "tasks.gan.dcgan:DCGAN",
        "cgan": "tasks.gan.cgan:CGAN",
        "infogan": "tasks.gan.infogan:InfoGAN",
        "inversion": "tasks.gan.inversion_gan:InversionGAN",
        "stylegan": "tasks.gan.stylegan:StyleGAN",
        "given": "tasks.gan.given:GivenGAN",
    }
)
