"""Gradient descent on the pixels of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tasks.attacks.attack import Inverted
from tasks.context import Context
from tasks.inversion.losses import identification_loss
from tasks.inversion.search import Search, Where
from tasks.models.inference import inference_copy

if TYPE_CHECKING:
    from tasks.attacks.privacy import Privacy
    from tasks.models.architectures import Network


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

    found = Search(start.to(ctx.device), cost, stage, lambda x, _: x.clamp(-1, 1)).run(ctx)
    return Inverted(found.points.cpu(), found.losses, passes=int(found.passes.sum()), queries=0, points=found.points)
