"""StyleGAN2 (Karras et al. 2020) in a size that a CPU can train; the generator that Mirror searches."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from tasks.gan.gan import Terms, TrainedGAN
from tasks.lazy import lazy

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tasks.gan import losses, stylegan_networks
    from tasks.gan.networks import LatentGenerator
    from tasks.gan.play import Play
else:
    torch = lazy("torch")
    losses = lazy("tasks.gan.losses")
    stylegan_networks = lazy("tasks.gan.stylegan_networks")


class StyleGAN(TrainedGAN):
    """StyleGAN2 with the non-saturating logistic loss, lazy R1 and style mixing (Karras et al. 2020, sec. 2-3).

    Left out: path length regularisation (a second gradient through the generator, for smoother latents than
    Mirror needs) and the minibatch standard deviation (see stylegan_networks.py). R1 is added to the critic's loss
    in every `r1_every`-th step and not a step of its own, so Adam's settings are not corrected for it.
    Defaults are the paper's (appendix B) where it has one, but for sizes.
    """

    kind: ClassVar = "stylegan"
    version: ClassVar = 1
    score: ClassVar = "log_sigmoid"

    lr: float = Field(2e-3, gt=0, description="Adam's rate for the generator")
    critic_lr: float = Field(2e-3, gt=0, description="Adam's rate for the critic")
    beta1: float = Field(0.0, ge=0, lt=1, description="of Adam")
    beta2: float = Field(0.99, ge=0, lt=1, description="of Adam")
    max_width: int = Field(128, ge=4, le=1024, description="most channels of a layer; they double from `width` up")
    style_dim: int = Field(128, ge=2, le=1024, description="dimension of w")
    mapping_layers: int = Field(8, ge=1, le=16, description="layers of the mapping network from z to w")
    mapping_rate: float = Field(0.01, gt=0, le=1, description="the mapping network's share of the learning rate")
    mixing: float = Field(0.9, ge=0, le=1, description="share of the images that two latents make in training")
    r1_weight: float = Field(10.0, ge=0, description="weight of R1 (gamma in Mescheder et al.)")
    r1_every: int = Field(16, ge=1, description="critic has R1 in every so many steps, as many times as strong")

    def networks(self) -> tuple[LatentGenerator, nn.Module]:
        channels, size = self.data.channels, self.data.size
        generator = stylegan_networks.StyleGenerator(
            self.latent_dim,
            channels,
            size,
            style_dim=self.style_dim,
            mapping_layers=self.mapping_layers,
            mapping_rate=self.mapping_rate,
            width=self.width,
            max_width=self.max_width,
        )
        return generator, stylegan_networks.StyleCritic(channels, size, self.width, self.max_width)

    def critic_terms(self, play: Play) -> Terms:
        real, _ = play.real()
        with torch.no_grad():
            fake = self.mixed(play)
        terms = {"logistic": losses.logistic_critic(play.critic(real), play.critic(fake))}
        if self.r1_weight and play.step % self.r1_every == 0:
            terms["r1"] = self.r1_weight * self.r1_every * losses.r1_penalty(play.critic, real)
        return terms

    def generator_terms(self, play: Play) -> Terms:
        return {"generator": losses.logistic_generator(play.critic(self.mixed(play)))}

    def mixed(self, play: Play) -> torch.Tensor:
        """A batch of augmented images, a share `mixing` of them with a second latent's style from some layer on."""
        styles = play.generator.style(play.latents())
        if self.mixing:
            layers = stylegan_networks.style_layers(self.data.size)
            chance, place = play.uniform(2, len(styles))
            start = torch.where(chance < self.mixing, 1 + (place * (layers - 1)).long(), layers)
            styles = stylegan_networks.cross_styles(styles, play.generator.style(play.latents()), start, layers)
        return play.augmented(play.generator.paint(styles))
