"""WGAN-GP (Gulrajani et al. 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from tasks.gan.gan import Terms, TrainedGAN
from tasks.lazy import lazy

if TYPE_CHECKING:
    from torch import nn

    from tasks.gan import losses, networks
    from tasks.gan.play import Play
else:
    losses = lazy("tasks.gan.losses")
    networks = lazy("tasks.gan.networks")


class WGAN(TrainedGAN):
    """WGAN-GP with a moving average (EMA) of the generator; the paper's substitute GAN for GAN-ID (sec. IV-A).

    The paper cites Banach WGAN and gives no settings; defaults are Gulrajani et al.'s where they have one.
    """

    kind: ClassVar = "wgan"
    version: ClassVar = 1

    n_critic: int = Field(5, ge=1, description="critic steps per generator step")
    gp_weight: float = Field(10.0, ge=0, description="weight of the gradient penalty (lambda in Gulrajani et al.)")

    def networks(self) -> tuple[networks.LatentGenerator, nn.Module]:
        generator = networks.Generator(self.latent_dim, self.data.channels, self.data.size, self.width)
        return generator, networks.Critic(self.data.channels, self.data.size, self.width)

    def critic_terms(self, play: Play) -> Terms:
        real, _ = play.real()
        fake = play.constant_fake(play.latents())
        terms = {"wasserstein": losses.wasserstein_critic(play.critic(real), play.critic(fake))}
        if self.gp_weight:
            mix = play.uniform(len(real), 1, 1, 1)
            terms["penalty"] = self.gp_weight * losses.gradient_penalty(play.critic, real, fake, mix)
        return terms

    def generator_terms(self, play: Play) -> Terms:
        return {"generator": losses.wasserstein_generator(play.critic(play.fake(play.latents())))}
