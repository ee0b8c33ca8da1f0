"""DCGAN (Radford et al. 2016), and what all GANs with the logistic loss share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from tasks.gan.gan import Terms, TrainedGAN
from tasks.lazy import lazy

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tasks.gan import losses, networks
    from tasks.gan.play import Play
else:
    losses = lazy("tasks.gan.losses")
    networks = lazy("tasks.gan.networks")


class LogisticGAN(TrainedGAN):
    """min_G max_D E[log D(x)] + E[log(1 - D(G(z)))] (Goodfellow et al. 2014; eq. 3 of the paper).

    The critic gives log-odds, D = sigmoid(score). R1 (Mescheder et al. 2018) is not in the papers of these
    structures; without it a critic knows a hundred photographs by heart.
    """

    score: ClassVar = "log_sigmoid"

    saturating: bool = Field(False, description="generator minimises E[log(1 - D(G(z)))], eq. 3; else -E[log D(G(z))]")
    r1_weight: float = Field(0.0, ge=0, description="weight of R1 (gamma in Mescheder et al.); 0: no R1")
    r1_every: int = Field(8, ge=1, description="critic has R1 in every so many steps, as many times as strong")

    def told_apart(
        self, play: Play, score: Callable[[torch.Tensor], torch.Tensor], real: torch.Tensor, fakes: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """The critic's terms: `score` gives log-odds (n,) of `real` (n, c, s, s); `fakes` (n,) are scores already."""
        terms = {"logistic": losses.logistic_critic(score(real), fakes)}
        if self.r1_weight and play.step % self.r1_every == 0:
            terms["r1"] = self.r1_weight * self.r1_every * losses.r1_penalty(score, real)
        return terms

    def fooled(self, scores: torch.Tensor) -> torch.Tensor:
        """The generator's term from the scores (n,) of its images; log(1 - sigmoid(s)) = log sigmoid(-s)."""
        return -losses.logistic_generator(-scores) if self.saturating else losses.logistic_generator(scores)


class DCGAN(LogisticGAN):
    """DCGAN with a moving average (EMA) of the generator and DiffAugment (both ours, for few images).

    The generator is Radford et al.'s (sec. 3). Their discriminator has BatchNorm; here it is InstanceNorm:
    R1 and a search over latents ask what one image is worth, which BatchNorm answers by its batch in
    training and, after it, by statistics that mix real images with those of all generators there were.
    """

    kind: ClassVar = "dcgan"
    version: ClassVar = 1

    def networks(self) -> tuple[networks.LatentGenerator, nn.Module]:
        generator = networks.Generator(self.latent_dim, self.data.channels, self.data.size, self.width)
        return generator, networks.Critic(self.data.channels, self.data.size, self.width)

    def critic_terms(self, play: Play) -> Terms:
        real, _ = play.real()
        fake = play.constant_fake(play.latents())
        return self.told_apart(play, play.critic, real, play.critic(fake))

    def generator_terms(self, play: Play) -> Terms:
        return {"generator": self.fooled(play.critic(play.fake(play.latents())))}
