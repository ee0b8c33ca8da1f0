"""Evaluation stages: the only ones that may take an evaluator or the test split."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from tasks.attacks.attack import Attack
from tasks.attacks.rerun import Rerun
from tasks.context import Context
from tasks.data.split import Split
from tasks.lazy import lazy
from tasks.models.classifier import Classifier, Model
from tasks.stage import ComputeStage, Metrics

if TYPE_CHECKING:
    from tasks.metrics import measure
else:
    measure = lazy("tasks.metrics.measure")


class Evaluate(ComputeStage):
    """One attack's images seen by F_E and the second evaluator: outcomes.parquet, a row per image.

    aa_top1, aa_top5 (eq. 12); feat_mean_sqdist (eq. 13, the paper's "FID", against the private training images
    of l_t); knn_sqdist (least squared distance to one of them); all on F_E's penultimate features.

    Where the attack was run again because it had not converged, the outcome that is worse for the defense
    counts (the higher aa_top1, then aa_top5): outcomes.parquet and all metrics are that run's, `rerun_counts`
    says which it is and `aa_top1_first`, `aa_top1_rerun` hold both.
    """

    kind: ClassVar = "evaluate"
    version: ClassVar = 1
    group: ClassVar = "metrics"

    attack: Attack
    rerun: Rerun | None = None
    evaluator: Classifier
    second: Classifier
    reference: Split

    @model_validator(mode="after")
    def _of_this_attack(self) -> Self:
        if self.rerun is not None and self.rerun.first.key != self.attack.key:
            raise ValueError(f"{self.rerun.key} is a rerun of {self.rerun.first.key}, not of {self.attack.key}")
        return self

    def run(self, ctx: Context) -> Metrics:
        return measure.evaluate(self, ctx)


class Accuracy(ComputeStage):
    """A model's accuracy on a test split (eq. 11): mc_all, and predictions.parquet for mc_target."""

    kind: ClassVar = "accuracy"
    version: ClassVar = 1
    group: ClassVar = "metrics"

    model: Model
    test: Split

    def run(self, ctx: Context) -> Metrics:
        return measure.measure_accuracy(self, ctx)


class Distance(ComputeStage):
    """Distances between distributions, over all images of a table row: frechet_evaluator, fid_inception.

    Per label there are too few images for a covariance, so the cells of a row are pooled. Cells of several
    seeds have evaluators of their own, whose features do not compare: one distance each, then their mean.
    """

    kind: ClassVar = "distance"
    version: ClassVar = 1
    group: ClassVar = "metrics"

    evaluations: tuple[Evaluate, ...] = Field(min_length=1)
    reference: Split
    inception: str | None = Field(None, description="sha256 of pytorch-fid's Inception weights, if the user has them")

    def run(self, ctx: Context) -> Metrics:
        return measure.measure_distance(self, ctx)
