"""WGAN-GP (Gulrajani et al. 2017) as a stage, and what every GAN stage offers to its dependants."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from tasks.context import Context
from tasks.data.split import Split
from tasks.lazy import lazy
from tasks.stage import ComputeStage, Metrics, Role

if TYPE_CHECKING:
    from torch import nn

    from tasks.gan import training
else:
    training = lazy("tasks.gan.training")


class GAN(ComputeStage):
    """A generator and a critic trained on public images: `generator.safetensors`, `critic.safetensors`."""

    group: ClassVar = "gan"
    trains: ClassVar = True
    sizes: ClassVar[tuple[int, ...]] = (32, 64, 128, 256)  # pixels per side that it can paint

    data: Split
    role: Role = "defender"
    latent_dim: int = Field(100, ge=2, le=1024, description="dimension of z")

    def networks(self) -> tuple[nn.Module, nn.Module]:
        """Generator and critic without trained weights."""
        raise NotImplementedError

    def trained(self, ctx: Context) -> tuple[nn.Module, nn.Module]:
        """For a dependant: generator (its moving average) and critic in eval mode, weights loaded strictly."""
        return training.load_pair(self, ctx)


class WGAN(GAN):
    """WGAN-GP with a moving average (EMA) of the generator; the paper's substitute GAN for GAN-ID (sec. IV-A).

    The paper cites Banach WGAN and gives no settings; defaults are Gulrajani et al.'s where they have one.
    `steps=0` leaves the generator as initialised: the control of a generator attack.
    """

    kind: ClassVar = "wgan"
    version: ClassVar = 1

    width: int = Field(32, ge=4, le=512, description="channels of the layers next to the image")
    steps: int = Field(1500, ge=0, description="generator steps")
    n_critic: int = Field(5, ge=1, description="critic steps per generator step")
    batch: int = Field(32, ge=2, description="images a step")
    lr: float = Field(2e-4, gt=0, description="Adam's rate for the generator")
    critic_lr: float = Field(2e-4, gt=0, description="Adam's rate for the critic")
    beta1: float = Field(0.5, ge=0, lt=1, description="of Adam")
    beta2: float = Field(0.999, ge=0, lt=1, description="of Adam")
    gp_weight: float = Field(10.0, ge=0, description="weight of the gradient penalty (lambda in Gulrajani et al.)")
    ema: float = Field(0.99, ge=0, lt=1, description="decay of the generator's moving average, per step")
    augment: bool = Field(True, description="flips and DiffAugment, needed with hundreds of images")

    def networks(self) -> tuple[nn.Module, nn.Module]:
        return training.build_pair(self)

    def run(self, ctx: Context) -> Metrics:
        return training.train_wgan(self, ctx)
