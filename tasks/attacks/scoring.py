"""Run an attack, store its images as 8-bit pictures, and score them by the original target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import save_file

from tasks.context import Context
from tasks.data.pixels import to_float, to_uint8
from tasks.models.training import predict
from tasks.stage import Metrics

if TYPE_CHECKING:
    from tasks.attacks.attack import Attack
    from tasks.models.architectures import Network

CONVERGED = 0.9  # the target's probability of l_t from which an image counts as accepted by it


def best_restarts(target: Network, images: torch.Tensor, label: int, restarts: int) -> torch.Tensor:
    """Rows (n,) of the restart that the target gives `label` with the highest probability, for each image.

    images (n * restarts, c, s, s): the restarts of an image follow each other. Only the target is asked.
    """
    first = torch.arange(0, len(images), restarts)
    if restarts == 1:
        return first
    scores = predict(target, images).softmax(dim=1)[:, label]
    return first + scores.view(-1, restarts).argmax(dim=1)


def attack_and_score(stage: Attack, ctx: Context) -> Metrics:
    """Write images.safetensors (uint8) and samples.parquet (image, loss, target_p); metrics of the attack.

    `target_confidence` is the share of the stored images to which the target gives l_t with p >= 0.9.
    """
    target = stage.target.network(ctx)
    inverted = stage.invert(ctx, target)
    channels, size = stage.target.network_of().shape
    expected = (stage.images, channels, size, size)
    if tuple(inverted.images.shape) != expected:
        raise ValueError(f"{stage.kind} returned images of shape {tuple(inverted.images.shape)}, not {expected}")
    images = to_uint8(inverted.images.cpu()).contiguous()
    probabilities = predict(target, to_float(images)).softmax(dim=1)
    target_p = probabilities[:, stage.label]
    save_file({"images": images}, ctx.out / "images.safetensors")
    rows = {
        "image": list(range(stage.images)),
        "loss": inverted.losses.cpu().tolist(),
        "target_p": target_p.tolist(),
    }
    pq.write_table(pa.table(rows), ctx.out / "samples.parquet")
    return {
        "target_confidence": (target_p >= CONVERGED).double().mean().item(),
        "target_accuracy": (probabilities.argmax(dim=1) == stage.label).double().mean().item(),
        "mean_loss": inverted.losses.mean().item(),
        "passes": float(inverted.passes),
        "queries": float(inverted.queries),
    }
