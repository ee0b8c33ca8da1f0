"""The inversion-specific GAN of DMI (Chen et al., ICCV 2021, "Knowledge-Enriched Distributional MI")."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self, cast

from pydantic import Field, model_validator

from tasks.context import Context
from tasks.gan.gan import TargetGAN, Terms
from tasks.lazy import lazy
from tasks.stage import Metrics

if TYPE_CHECKING:
    import torch

    from tasks.gan import inversion_losses, inversion_networks, networks
    from tasks.gan.play import Play
else:
    torch = lazy("torch")
    inversion_losses = lazy("tasks.gan.inversion_losses")
    inversion_networks = lazy("tasks.gan.inversion_networks")
    networks = lazy("tasks.gan.networks")

ADVERSARIAL = 0.5  # weight of the discriminator's terms without labels, a constant of the code


class InversionGAN(TargetGAN):
    """A GAN whose discriminator also learns, from the target's predictions on public images, to tell its labels.

    min_D CE(softmax(T(x)), D(x)) + (-E log D(x) - E log(1 - D(G(z)))) / 2 and
    min_G |E f(G(z)) - E f(x)| + w H(D(G(z))) (Chen et al. 2021, sec. 3.1, as in their code).
    The entropy H is summed over the batch, as there, so w goes with `batch` (64 in the paper). Differences: the
    target is in eval mode (their code leaves it in train mode: labels by batch statistics, and BatchNorm
    statistics that drift), real images are augmented, and the trunk, the initial weights of the minibatch
    discrimination and its use in eval mode are as inversion_networks.py says.
    `adversarial_weight` is ours (their code has such a line, switched off): means of features are too little to
    learn faces by from a hundred photographs.
    `target_queries` counts the images that were sent to this target; those of `init` went to another.
    """

    kind: ClassVar = "inversion_gan"
    version: ClassVar = 1
    score: ClassVar = "log_sigmoid"

    n_critic: int = Field(5, ge=1, description="critic steps per generator step")
    entropy_weight: float = Field(1e-4, ge=0, description="w, weight of the entropy summed over the batch; 0: none")
    adversarial_weight: float = Field(
        0.0, ge=0, description="weight of -E[log D(G(z))] in the generator's loss; 0: feature matching alone, as in DMI"
    )
    similarities: int = Field(64, ge=1, le=1024, description="features of the minibatch discrimination")
    similarity_dims: int = Field(50, ge=1, le=1024, description="kernel dimensions of each of them")
    start: Literal["fresh", "undefended"] = Field(
        "fresh", description="undefended: against a defended target, start from the GAN of the undefended one"
    )
    init_steps: int | None = Field(None, ge=0, description="steps when it starts from another GAN; default: steps")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        wanted, given = (self.data.channels, self.data.size), self.target.network_of().shape
        if given != wanted:
            raise ValueError(f"the target takes (channels, size) = {given}, but {wanted} are in the data")
        if self.init is None:
            return self
        if not isinstance(self.init, InversionGAN):
            raise ValueError(f"init must be a GAN of the same structure, inversion_gan, not {self.init.kind}")
        mine, other = self._shape(), self.init._shape()
        if unlike := [f"{name}: {other[name]} (here {mine[name]})" for name in mine if mine[name] != other[name]]:
            raise ValueError(f"the networks of init do not fit: {', '.join(unlike)}")
        return self

    def _shape(self) -> dict[str, int]:
        """All that the shapes of the weights depend on; `batch` is that of the stored reference."""
        own = ("width", "latent_dim", "similarities", "similarity_dims", "batch")
        of_data = {"channels": self.data.channels, "size": self.data.size}
        return {**{name: getattr(self, name) for name in own}, **of_data, "classes": self.target.classes}

    @property
    def rounds(self) -> int:
        """Generator steps: `init_steps` after another GAN; none at all for the untrained control (steps = 0)."""
        return self.init_steps if self.steps and self.init is not None and self.init_steps is not None else self.steps

    def networks(self) -> tuple[networks.LatentGenerator, inversion_networks.InversionCritic]:
        shape = (self.data.channels, self.data.size, self.width)
        critic = inversion_networks.InversionCritic(
            *shape,
            classes=self.target.classes,
            similarities=self.similarities,
            dims=self.similarity_dims,
            batch=self.batch,
        )
        return networks.Generator(self.latent_dim, *shape), critic

    def critic_terms(self, play: Play) -> Terms:
        critic = _critic(play)
        labelled, unlabelled = play.real()[0], play.real()[0]
        fake = play.constant_fake(play.latents())
        return {
            "supervised": inversion_losses.supervised_loss(critic.logits(labelled), self.predicted(play, labelled)),
            "real": ADVERSARIAL * inversion_losses.real_loss(critic.logits(unlabelled)),
            "fake": ADVERSARIAL * inversion_losses.fake_loss(critic.logits(fake)),
        }

    def generator_terms(self, play: Play) -> Terms:
        critic = _critic(play)
        features, logits = critic.judge(play.fake(play.latents()))
        with torch.no_grad():
            real = critic.trunk(play.real()[0])
        terms = {"matching": inversion_losses.feature_matching(features, real)}
        if self.entropy_weight:
            terms["entropy"] = self.entropy_weight * inversion_losses.entropy(logits)
        if self.adversarial_weight:
            terms["generator"] = self.adversarial_weight * inversion_losses.real_loss(logits)
        return terms

    def predicted(self, play: Play, images: torch.Tensor) -> torch.Tensor:
        """Logits (n, classes) of the target for images (n, c, s, s): n queries."""
        if play.target is None or play.target.training:
            raise ValueError("the target must be there, in eval mode: its labels may not depend on the batch")
        with torch.no_grad():
            logits: torch.Tensor = play.target(images)
        return logits

    def run(self, ctx: Context) -> Metrics:
        return {**super().run(ctx), "target_queries": float(self.rounds * self.n_critic * self.batch)}


def _critic(play: Play) -> inversion_networks.InversionCritic:
    return cast("inversion_networks.InversionCritic", play.critic)
