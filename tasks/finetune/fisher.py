"""The diagonal Fisher information of a victim (eq. 1), a stage of its own that all fine-tunes of it share."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from tasks.context import Context
from tasks.data.split import Split
from tasks.lazy import lazy
from tasks.models.classifier import Model
from tasks.stage import ComputeStage, Metrics

if TYPE_CHECKING:
    import torch

    from tasks.finetune import loop
else:
    loop = lazy("tasks.finetune.loop")


class Fisher(ComputeStage):
    """Mean of squared per-sample gradients of log p(y | x), in eval mode, normalised to mean 1.

    Eq. 1 has no expectation and is a full outer product; eq. 2 and 9 use the diagonal, as here. Normalised so
    that lambda3 means the same for every victim.
    """

    kind: ClassVar = "fisher"
    version: ClassVar = 1
    group: ClassVar = "finetune"

    model: Model
    data: Split
    labels: Literal["empirical", "sampled"] = Field(
        "empirical", description="y given (eq. 1) or drawn from the model, which is the true Fisher"
    )
    augmented: int = Field(
        0,
        ge=0,
        le=100,
        description="augmented copies that stand for each image; 0 = the image itself, as eq. 1",
    )
    chunk: int = Field(20, ge=1, description="per-sample gradients held at a time")

    def run(self, ctx: Context) -> Metrics:
        return loop.compute_fisher(self, ctx)

    def diagonal(self, ctx: Context) -> dict[str, torch.Tensor]:
        """For a dependant: name of a parameter -> its diagonal, on the stage's device."""
        return {name: t.to(ctx.device) for name, t in ctx.load(self).tensors("fisher.safetensors").items()}
