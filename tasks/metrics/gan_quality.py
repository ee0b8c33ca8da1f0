"""The stage that measures a GAN."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from tasks.context import Context
from tasks.data.split import Split
from tasks.gan.gan import GAN
from tasks.lazy import lazy
from tasks.models.classifier import Classifier
from tasks.stage import ComputeStage, Metrics

if TYPE_CHECKING:
    from tasks.metrics import measure_gan
else:
    measure_gan = lazy("tasks.metrics.measure_gan")


class GANQuality(ComputeStage):
    """Samples of a GAN against real public images, in the features of a judge that has no other part to play.

    frechet (pytorch-fid's formula), density and coverage (Naeem et al. 2020) of `count` samples against
    `reference`; curves of the same over the sample grids that the training stored. The judge is a classifier of
    the public people (role `judge`): not F_E, so that tuning a GAN on its quality tunes nothing on the
    reporting evaluator, and not F_C, which takes part in making fakes.
    """

    kind: ClassVar = "gan_quality"
    version: ClassVar = 1
    group: ClassVar = "metrics"

    gan: GAN
    judge: Classifier
    reference: Split
    count: int = Field(500, ge=2, description="samples")

    def run(self, ctx: Context) -> Metrics:
        return measure_gan.measure_gan(self, ctx)
