"""What every attack shares: checks, scoring by the target, and what is stored. A subclass writes `invert`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self, final

from pydantic import Field, model_validator

from tasks.context import Context
from tasks.gan.wgan import GAN
from tasks.lazy import lazy
from tasks.models.classifier import Model
from tasks.stage import ComputeStage, Metrics, Role

if TYPE_CHECKING:
    import torch

    from tasks.attacks import scoring
    from tasks.models.architectures import Network
else:
    scoring = lazy("tasks.attacks.scoring")


class Inverted(NamedTuple):
    """What an attack returns: images (n, c, s, s) in [-1, 1], its own loss (n,), and what it cost."""

    images: torch.Tensor
    losses: torch.Tensor
    passes: int  # forward and backward passes of one sample through the target
    queries: int  # forward passes alone


class Attack(ComputeStage):
    """A model inversion attack on one label of a target: `images.safetensors` and `samples.parquet`.

    An attack never sees an evaluator or a private image; where it selects, it selects by the target alone.
    """

    group: ClassVar = "attack"

    target: Model
    label: int = Field(ge=0, description="the label l_t to invert")
    images: int = Field(24, ge=1, description="inverted images, each from an independent start")
    role: Role = "attacker"

    @model_validator(mode="after")
    def _label_exists(self) -> Self:
        if self.label >= self.target.classes:
            raise ValueError(f"{self.label=} but the target has labels 0..{self.target.classes - 1}")
        return self

    def invert(self, ctx: Context, target: Network) -> Inverted:
        """The attack itself: `self.images` images of `self.label` out of the white-box `target`."""
        raise NotImplementedError

    @final
    def run(self, ctx: Context) -> Metrics:
        return scoring.attack_and_score(self, ctx)


class GeneratorAttack(Attack):
    """An attack that searches the latents of a GAN trained on the attacker's public images."""

    gan: GAN
