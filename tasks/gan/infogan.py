"""InfoGAN (Chen et al. 2016): codes that can be read off the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Self, cast

from pydantic import Field, model_validator

from tasks.gan.dcgan import LogisticGAN
from tasks.gan.gan import LatentSpace, Terms
from tasks.lazy import lazy

if TYPE_CHECKING:
    import torch
    from torch.nn import functional

    from tasks.gan import conditional_networks, latents, networks
    from tasks.gan.play import Play
else:
    functional = lazy("torch.nn.functional")
    conditional_networks = lazy("tasks.gan.conditional_networks")
    latents = lazy("tasks.gan.latents")
    networks = lazy("tasks.gan.networks")


def category_loss(logits: torch.Tensor, category: torch.Tensor) -> torch.Tensor:
    """-E[log Q(c | x)] of a categorical code; logits (n, k), category (n, k) one-hot."""
    return functional.cross_entropy(logits, category)


def continuous_loss(means: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """-E[log Q(c | x)] + const of codes (n, m) with Q = N(means, I): E[||c - mean||^2] / 2.

    Chen et al. let Q learn its variance. With one unit the term cannot run off to minus infinity on codes
    that are read exactly, and it stays on the scale of the other losses (their remark on lambda, sec. 6).
    """
    return (codes - means).square().sum(dim=1).mean() / 2


class InfoGAN(LogisticGAN):
    """min_{G,Q} max_D V(D, G) - lambda L_I(G, Q), L_I = E[log Q(c | G(z, c))] + H(c) (Chen et al. 2016, eq. 5-6).

    A latent is [z | one-hot category | codes ~ U(-1, 1)]. Q shares the critic's trunk, so it learns in the
    critic's steps, from fakes whose codes are known; the generator gets the same terms in its own. H(c) is
    constant and left out: `info_*` are -E[log Q], 0 where every category is read from its image.
    """

    kind: ClassVar = "infogan"
    version: ClassVar = 1

    categories: int = Field(10, ge=0, le=1000, description="values of the categorical code; 0: none")
    continuous: int = Field(2, ge=0, le=256, description="continuous codes")
    info_weight: float = Field(1.0, ge=0, description="lambda, weight of the information terms; 0: codes are noise")

    @model_validator(mode="after")
    def _has_codes(self) -> Self:
        if self.categories == 1 or not self.categories + self.continuous:
            raise ValueError(f"no code to tell: {self.categories=}, {self.continuous=}; give 2 categories or 1 code")
        return self

    @property
    def latent_space(self) -> LatentSpace:
        categorical = (self.categories,) if self.categories else ()
        return LatentSpace(self.latent_dim, categorical=categorical, uniform=self.continuous)

    def networks(self) -> tuple[networks.LatentGenerator, conditional_networks.ReadingCritic]:
        shape = (self.data.channels, self.data.size, self.width)
        critic = conditional_networks.ReadingCritic(*shape, self.categories, self.continuous)
        return networks.Generator(self.latent_space.size, *shape), critic

    def critic_terms(self, play: Play) -> Terms:
        real, _ = play.real()
        z = play.latents()
        score, *guess = _critic(play).read(play.constant_fake(z))
        return {**self.told_apart(play, play.critic, real, score), **self.information("info", guess, z)}

    def generator_terms(self, play: Play) -> Terms:
        z = play.latents()
        score, *guess = _critic(play).read(play.fake(z))
        return {"generator": self.fooled(score), **self.information("generator_info", guess, z)}

    def information(self, name: str, guess: Sequence[torch.Tensor], z: torch.Tensor) -> dict[str, torch.Tensor]:
        """-lambda L_I by kind of code: what Q guesses (logits, means) of images made from latents z (n, d)."""
        if not self.info_weight:
            return {}
        logits, means = guess
        _, hot, codes = latents.blocks(self.latent_space, z)
        terms = {f"{name}_category": self.info_weight * category_loss(logits, category) for category in hot}
        if self.continuous:
            terms[f"{name}_continuous"] = self.info_weight * continuous_loss(means, codes)
        return terms


def _critic(play: Play) -> conditional_networks.ReadingCritic:
    return cast("conditional_networks.ReadingCritic", play.critic)
