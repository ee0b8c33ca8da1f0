"""CGAN (Mirza and Osindero 2014): a generator that is told whom to paint."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar, cast

from tasks.gan.dcgan import LogisticGAN
from tasks.gan.gan import LatentSpace, Terms
from tasks.lazy import lazy

if TYPE_CHECKING:
    import torch
    from torch.nn import functional

    from tasks.gan import conditional_networks, latents, networks
    from tasks.gan.play import Play
else:
    torch = lazy("torch")
    functional = lazy("torch.nn.functional")
    conditional_networks = lazy("tasks.gan.conditional_networks")
    latents = lazy("tasks.gan.latents")
    networks = lazy("tasks.gan.networks")


class CGAN(LogisticGAN):
    """A GAN conditioned on the person label of the public images: min_G max_D E[log D(x|y)] + E[log(1 - D(G(z|y)))].

    A latent is [z | y]. Its first layer takes y linearly, so a point of the simplex is a mixture of people's
    embeddings, and a search may cross from one to another. Mirza and Osindero join y to the discriminator's
    input; here it is a projection of the features (Miyato and Koyama 2018), so that there is a score without a
    label too, for a search that looks for nobody public: see ProjectionCritic.
    """

    kind: ClassVar = "cgan"
    version: ClassVar = 1

    @property
    def latent_space(self) -> LatentSpace:
        return LatentSpace(self.latent_dim, categorical=(len(self.data.people),))

    def networks(self) -> tuple[networks.LatentGenerator, conditional_networks.ProjectionCritic]:
        shape = (self.data.channels, self.data.size, self.width)
        critic = conditional_networks.ProjectionCritic(*shape, people=len(self.data.people))
        return networks.Generator(self.latent_space.size, *shape), critic

    def critic_terms(self, play: Play) -> Terms:
        """Fakes have the labels of the real batch: else the share of a person's photographs would tell them apart."""
        real, labels = play.real()
        fake = play.constant_fake(self.of_people(play.latents(), labels))
        judge = partial(_critic(play).judge, labels=labels)
        return self.told_apart(play, judge, real, judge(fake))

    def generator_terms(self, play: Play) -> Terms:
        z = play.latents()
        _, (people,), _ = latents.blocks(self.latent_space, z)
        return {"generator": self.fooled(_critic(play).judge(play.fake(z), people.argmax(dim=1)))}

    def of_people(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Latents (n, d) with their conditions replaced by labels (n,) int64."""
        wanted = functional.one_hot(labels, len(self.data.people)).to(z.dtype)
        return torch.cat([z[:, : self.latent_dim], wanted], dim=1)


def _critic(play: Play) -> conditional_networks.ProjectionCritic:
    return cast("conditional_networks.ProjectionCritic", play.critic)
