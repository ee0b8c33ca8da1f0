"""A classifier trained with differential privacy: DP-SGD with a real accountant."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from tasks.context import Context
from tasks.data.split import Split
from tasks.lazy import lazy
from tasks.models.classifier import Arch, Classifier
from tasks.stage import Config, Metrics

if TYPE_CHECKING:
    from tasks.models import private_training
else:
    private_training = lazy("tasks.models.private_training")

PRIVATE_ARCHITECTURES: tuple[Arch, ...] = ("vgg16_gn",)  # no image's output depends on another's


class DPSettings(Config):
    """What DP-SGD is told. The paper names epsilon = 8 and Opacus; whatever else is here it leaves open."""

    epsilon: float | None = Field(
        8.0, gt=0, le=100, description="privacy budget; the paper: 8; null = infinite: no noise at all"
    )
    delta: float | None = Field(
        None, gt=0, lt=1, description="the guarantee may fail with this probability; null = 1 / training images"
    )
    max_grad_norm: float | None = Field(
        1.0, gt=0, le=1e6, description="C: each image's gradient is clipped to this l2 norm; null = not clipped"
    )
    accountant: Literal["rdp", "prv"] = Field(
        "rdp", description="chooses the noise; prv (Gopi et al. 2021) is tighter than rdp (Mironov 2017), and slower"
    )
    layers: Literal["all", "head"] = Field("all", description="what is trained; head = the last linear layer only")
    epochs: int = Field(50, ge=1, description="a step is taken round(images / batch) times an epoch")
    batch: int = Field(64, ge=2, description="expected images a step: each is drawn with probability batch / images")
    chunk: int = Field(16, ge=1, description="images whose gradients are held in memory at once")
    optimizer: Literal["adamw", "sgd"] = Field("sgd", description="what takes the noisy mean gradient")
    lr: float = Field(0.1, gt=0, description="peak learning rate of a one-cycle schedule")
    augment: bool = Field(True, description="flips, small affine maps, brightness and contrast, drawn per image")

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.epsilon is not None and self.max_grad_norm is None:
            raise ValueError(
                f"max_grad_norm=None leaves the gradients unbounded, so no noise gives epsilon={self.epsilon}; "
                "give max_grad_norm a number, or set epsilon to null"
            )
        return self


class DPClassifier(DPSettings, Classifier):
    """Train by DP-SGD (Abadi et al. 2016, Algorithm 1) with Opacus; the last weights are kept.

    Each step draws every training image independently with probability batch / images (Poisson: batches differ in
    size and may be empty), clips each image's gradient to `max_grad_norm`, adds N(0, (noise_multiplier
    max_grad_norm)^2) to their sum and divides by `batch`. The noise multiplier is the least for which the accountant
    finds (epsilon, delta) after all steps. `epsilon` None: the same, without noise; the price of privacy is what lies
    between the two.

    What is guaranteed, and what is not:

    - The unit is one image (add or remove one). A person with k images is protected with k epsilon at best.
    - The weights are private. What is logged beside them is not: losses and accuracies on private images are for
      whoever has these anyway. The number of images is taken to be public, and choosing settings by trying them out
      on the private images is not accounted for.
    - The noise comes from torch's seeded generator, so that a run can be repeated. It is not cryptographically
      secure: who knows the seed subtracts the noise, and trainings of one seed share it, which is good for comparing
      them and means that only one may be released. Nor is it hardened against attacks on floating point (Opacus'
      `secure_mode`). A model to be released has to be trained with a secret seed.

    `init`, trained without privacy on people who are not in `train`, gives the weights of all layers but the last,
    which is new. Dropout, label smoothing and weight decay mean what they mean in `Classifier`: none mixes images.
    `val` is only measured.
    """

    kind: ClassVar = "dp_classifier"
    version: ClassVar = 1

    arch: Arch = Field("vgg16_gn", description="a network without BatchNorm")
    init: Classifier | None = Field(None, description="public pretraining: a trained network of the same layers")

    @model_validator(mode="after")
    def _image_by_image(self) -> Self:
        if self.arch not in PRIVATE_ARCHITECTURES:
            raise ValueError(
                f"{self.arch=} cannot be trained by DP-SGD here: BatchNorm mixes the images of a batch, ReLUs in place "
                f"break gradients per image; choose {' or '.join(PRIVATE_ARCHITECTURES)}"
            )
        if self.layers == "head" and self.init is None:
            raise ValueError("layers='head' would train on features of random weights; give init a trained network")
        if self.init is not None:
            self._check_init(self.init)
        return self

    def _check_init(self, init: Classifier) -> None:
        for name in ("arch", "width", "shape"):
            ours, theirs = getattr(self, name), getattr(init, name)
            if ours != theirs:
                raise ValueError(f"init has {name} {theirs!r}, which must be this network's {ours!r}")
        if (self.dropout > 0) != (init.dropout > 0):
            raise ValueError(
                f"init has dropout {init.dropout}, here it is {self.dropout}: the layers do not correspond"
            )
        splits = [stage for stage in init.closure().values() if isinstance(stage, Split)]
        if shared := sorted(set(self.people) & {person for split in splits for person in split.people}):
            raise ValueError(
                f"init was trained without privacy on {len(shared)} of the people to be protected, e.g. {shared[0]!r}; "
                "pretrain on public people"
            )

    def run(self, ctx: Context) -> Metrics:
        return private_training.train_privately(self, ctx)
