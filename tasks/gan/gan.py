"""What every GAN offers to its dependants, and the fields of those that are trained here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from pydantic import Field

from tasks.context import Context
from tasks.data.split import Split
from tasks.lazy import lazy
from tasks.models.classifier import Model
from tasks.stage import ComputeStage, Config, Metrics, Role

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tasks.gan import training
    from tasks.gan.networks import LatentGenerator
    from tasks.gan.play import Play
else:
    training = lazy("tasks.gan.training")

Terms = Mapping[str, "torch.Tensor"]


class GANChoice(Config):
    """A GAN structure of the registry and its settings, as a spec gives them."""

    name: str = "wgan"
    settings: Mapping[str, Any] = Field(default_factory=dict)


class LatentSpace(NamedTuple):
    """What a generator takes: latents (n, size) = [z ~ N(0, I) | one-hot blocks | codes ~ U(-1, 1)]."""

    normal: int
    categorical: tuple[int, ...] = ()  # classes of each one-hot block: a label (CGAN) or a code (InfoGAN)
    uniform: int = 0

    @property
    def size(self) -> int:
        """Columns of a latent."""
        return self.normal + sum(self.categorical) + self.uniform


class GAN(ComputeStage):
    """A generator and a critic of public images: `generator.safetensors`, `critic.safetensors`."""

    group: ClassVar = "gan"
    sizes: ClassVar[tuple[int, ...]] = (32, 64, 112, 128, 224, 256)  # pixels per side that it can paint
    # What the critic's output means: a score without scale, or the log-odds that an image is real.
    score: ClassVar[Literal["critic", "log_sigmoid"]] = "critic"

    data: Split
    role: Role = "defender"
    latent_dim: int = Field(100, ge=2, le=1024, description="dimension of z")

    @property
    def latent_space(self) -> LatentSpace:
        """What the generator takes; a search over latents keeps to it (tasks/gan/latents.py)."""
        return LatentSpace(self.latent_dim)

    def networks(self) -> tuple[LatentGenerator, nn.Module]:
        """Generator and critic without trained weights."""
        raise NotImplementedError

    def trained(self, ctx: Context) -> tuple[LatentGenerator, nn.Module | None]:
        """For a dependant: generator (its moving average) and critic in eval mode, weights loaded strictly.

        The critic is None for a generator that came without one.
        """
        return training.load_pair(self, ctx)


class TrainedGAN(GAN):
    """A GAN trained by the loop in tasks/gan/training.py: a structure says what networks play and for what.

    `steps=0` leaves the generator as initialised: the control of a generator attack.
    """

    trains: ClassVar = True

    width: int = Field(32, ge=4, le=512, description="channels of the layers next to the image")
    steps: int = Field(1500, ge=0, description="generator steps")
    n_critic: int = Field(1, ge=1, description="critic steps per generator step")
    batch: int = Field(32, ge=2, description="images a step")
    lr: float = Field(2e-4, gt=0, description="Adam's rate for the generator")
    critic_lr: float = Field(2e-4, gt=0, description="Adam's rate for the critic")
    beta1: float = Field(0.5, ge=0, lt=1, description="of Adam")
    beta2: float = Field(0.999, ge=0, lt=1, description="of Adam")
    ema: float = Field(0.99, ge=0, lt=1, description="decay of the generator's moving average, per step")
    augment: bool = Field(True, description="flips and DiffAugment, needed with hundreds of images")

    @property
    def rounds(self) -> int:
        """Generator steps of this training."""
        return self.steps

    def critic_terms(self, play: Play) -> Terms:
        """What the critic minimises in one step: weighted terms by name, whose sum is its loss."""
        raise NotImplementedError

    def generator_terms(self, play: Play) -> Terms:
        """What the generator minimises in one step; the critic's weights are frozen meanwhile."""
        raise NotImplementedError

    def run(self, ctx: Context) -> Metrics:
        return training.train(self, ctx)


class TargetGAN(TrainedGAN):
    """A GAN that is trained against a classifier (by its predictions): another target, another GAN."""

    target: Model
    init: GAN | None = Field(None, description="GAN of the same structure to start from, e.g. the undefended target's")
