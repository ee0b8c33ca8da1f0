"""A classifier trained to let through as little of the image as the label needs (MID)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from tasks.context import Context
from tasks.lazy import lazy
from tasks.models.classifier import Classifier
from tasks.stage import Config, Metrics, Role

if TYPE_CHECKING:
    from tasks.models import bottleneck_training
    from tasks.models.architectures import Network
else:
    bottleneck_training = lazy("tasks.models.bottleneck_training")


class BottleneckSettings(Config):
    """How much passes the bottleneck, as fields that the stage and the defense share."""

    beta: float = Field(
        0.01, ge=0, le=1e3, description="weight of the KL term (MIBench: 0.01, mi-defense on CelebA: 0.003)"
    )
    code_size: int | None = Field(
        None, ge=1, le=65536, description="dimensions k of z; None: half as many as the network has features"
    )
    at_test: Literal["mean", "sampled"] = Field(
        "mean", description="z of the shipped model: mu, or one fixed draw an image from (seed, pixels)"
    )


class BottleneckClassifier(BottleneckSettings, Classifier):
    """Cross-entropy on z = mu(x) + std(x) eps plus beta KL(z | x || N(0, I)): Wang, Zhang, Jia 2021.

    Network, KL and std = softplus(s - 5) are the reference code's (mi-defense, and BiDO and MIBench after it). They
    have z follow the flattened convolutions of VGG-16; here it follows the last hidden layer of any architecture, so
    that all but the bottleneck is the victim's. Optimiser, schedule and augmentation are the victim's as well.

    In every reference repository eps stays random after training, so that one image gets another answer at each
    call and in each batch. `mean` ships mu alone. `sampled` keeps the noise but makes the draw a function of the
    stage's seed and the image: a gradient search still meets another eps at each step, since its image moved, while
    the model is a function that can be evaluated twice.
    """

    kind: ClassVar = "bottleneck_classifier"
    version: ClassVar = 1

    role: Role = "defender"

    def blank(self) -> Network:
        return bottleneck_training.blank_bottleneck(self)

    def run(self, ctx: Context) -> Metrics:
        return bottleneck_training.train_bottleneck(self, ctx)
