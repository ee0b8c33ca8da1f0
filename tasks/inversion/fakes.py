"""Private fakes and public fakes (the paper's inversed samples, sec. IV-B) as one kind of stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from tasks.context import Context
from tasks.gan.gan import GAN
from tasks.inversion.settings import FakesSettings
from tasks.lazy import lazy
from tasks.models.classifier import Model
from tasks.stage import ComputeStage, Group, Metrics, Role

if TYPE_CHECKING:
    import torch

    from tasks.inversion import making
else:
    making = lazy("tasks.inversion.making")


class Samples(ComputeStage):
    """Images that a fine-tune takes its losses on."""

    def images(self, ctx: Context) -> torch.Tensor:
        """For a dependant: (count, c, s, s) float in [-1, 1] on the CPU."""
        raise NotImplementedError


class Fakes(FakesSettings, Samples):
    """Images of `label` that a GAN and a latent search (eq. 5-6) get out of a classifier.

    With `model` the victim (or a defended model) and `label` l_t these are private fakes, with F_C and l_p
    public fakes. Both are one stage because they are one algorithm; labels that share a decoy share its fakes.
    """

    kind: ClassVar = "fakes"
    version: ClassVar = 1
    group: ClassVar[Group] = "inversion"

    model: Model
    gan: GAN
    label: int = Field(ge=0, description="l_t of the victim, or l_p of the public classifier")
    role: Role = "defender"

    def run(self, ctx: Context) -> Metrics:
        return making.make_fakes(self, ctx)

    def images(self, ctx: Context) -> torch.Tensor:
        return making.read_images(ctx.load(self))


class MixedFakes(Samples):
    """Fakes of one label by several GANs, taken together in the order of `parts`: an extension of sec. IV-B."""

    kind: ClassVar = "mixed_fakes"
    version: ClassVar = 1
    group: ClassVar[Group] = "inversion"

    parts: tuple[Fakes, ...] = Field(min_length=2, description="fakes of one label of one model, each by another GAN")
    role: Role = "defender"

    @model_validator(mode="after")
    def _of_one_label(self) -> Self:
        if len({(part.model.key, part.label) for part in self.parts}) > 1:
            raise ValueError("parts must be fakes of one label of one model")
        return self

    def run(self, ctx: Context) -> Metrics:
        return making.mix_fakes(self, ctx)

    def images(self, ctx: Context) -> torch.Tensor:
        return making.read_images(ctx.load(self))
