"""Gradient descent on the pixels of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tasks.attacks.attack import Inverted
from tasks.attacks.denoise import non_local_means, sharpen
from tasks.context import Context
from tasks.inversion.losses import identification_loss
from tasks.inversion.search import Search, Where
from tasks.models.inference import inference_copy

if TYPE_CHECKING:
    from tasks.attacks.privacy import Privacy
    from tasks.models.architectures import Network


class PixelSearch(Search):
    """A search in which a sample has also converged when its cost is at most `stop_below` (Algorithm 1's gamma)."""

    stop_below: float | None = None

    def _keep_best(self, losses: torch.Tensor) -> None:
        super()._keep_best(losses)
        if self.stop_below is not None:
            self._stale[losses <= self.stop_below] = self._settings.patience


def descend(stage: Privacy, ctx: Context, target: Network) -> Inverted:
    """Minimise the stage's cost over images clamped to [-1, 1]; the least-cost image of each start is kept."""
    frozen = inference_copy(target)
    channels, size = stage.target.network_of().shape

    def around_grey() -> torch.Tensor:
        start = torch.randn(stage.images, channels, size, size, generator=ctx.generator("latents")) * stage.noise
        start[0] = 0.0
        return start

    start = stage.starts(ctx, around_grey)

    def cost(x: torch.Tensor, _: Where) -> torch.Tensor:
        logits = frozen(x.contiguous(memory_format=torch.channels_last))
        if stage.cost == "probability":
            missing: torch.Tensor = 1 - logits.softmax(dim=1)[:, stage.label]
            return missing
        return identification_loss(logits, torch.full((len(x),), stage.label, device=x.device), "ce")

    search = PixelSearch(start.to(ctx.device), cost, stage, lambda x, where: process(stage, x, where))
    search.stop_below = stage.stop_below
    found = search.run(ctx)
    return Inverted(found.points.cpu(), found.losses, passes=int(found.passes.sum()), queries=0, points=found.points)


def process(stage: Privacy, x: torch.Tensor, where: Where) -> torch.Tensor:
    """Algorithm 1's PROCESS of images (n, c, s, s) after a step: filters when one is due, then the pixel range.

    A sample is filtered after every `process_every` of its own steps, so batch mates do not matter.
    """
    due = where.ages % stage.process_every == 0
    if stage.process == "denoise" and bool(due.any()):
        filtered = sharpen(non_local_means(x, stage.denoise_strength), stage.sharpen)
        x = torch.where(due.to(x.device)[:, None, None, None], filtered, x)
    return x.clamp(-1, 1)
