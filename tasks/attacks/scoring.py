"""Run an attack, store its images as 8-bit pictures, and score them by the original target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import save_file

from tasks.attacks.oracle import oracle
from tasks.context import Context
from tasks.data.pixels import to_float, to_uint8
from tasks.data.split import splits_of
from tasks.models.training import predict
from tasks.models.wrapped_network import unwrapped
from tasks.stage import Metrics, Stage

if TYPE_CHECKING:
    from tasks.attacks.attack import Attack, Inverted
    from tasks.models.architectures import Network

POINTS = "points.safetensors"
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


def warm_starts(stage: Attack, ctx: Context, fresh: torch.Tensor) -> torch.Tensor:
    """`fresh` (n * restarts, ...) with the first of each restarts taken from the n points of `stage.warm`."""
    if stage.warm is None:
        return fresh
    product = ctx.load(stage.warm)
    try:
        points = product.tensors(POINTS)["points"]
    except KeyError as error:
        raise ValueError(f"{stage.warm.key} left no points to start from: return them from `invert`") from error
    if points.shape[1:] != fresh.shape[1:] or len(fresh) % len(points):
        raise ValueError(f"{stage.warm.key} ended at {tuple(points.shape)}; {tuple(fresh.shape)} cannot start there")
    started = fresh.view(len(points), -1, *fresh.shape[1:]).clone()
    started[:, 0] = points
    return started.view(fresh.shape)


def attack_and_score(stage: Attack, ctx: Context) -> Metrics:
    """Write images.safetensors (uint8) and samples.parquet (image, loss, target_p); metrics of the attack.

    points.safetensors holds where the searches ended, if they have such points. `target_confidence` is the
    share of the stored images to which the target gives l_t with p >= 0.9; behind an output wrapper, which may cap
    p, it is the wrapped model's p (column `inner_p`) that says whether the attack converged. `setup_queries`
    counts the images that were sent to the target while the attack's own GAN or decoder was trained.
    """
    inverted = _invert(stage, ctx)
    target = stage.target.network(ctx)
    channels, size = stage.target.network_of().shape
    expected = (stage.images, channels, size, size)
    if tuple(inverted.images.shape) != expected:
        raise ValueError(f"{stage.kind} returned images of shape {tuple(inverted.images.shape)}, not {expected}")
    images = to_uint8(inverted.images.cpu()).contiguous()
    probabilities = predict(target, to_float(images)).softmax(dim=1)
    target_p = probabilities[:, stage.label]
    inner = unwrapped(target)
    inner_p = target_p if inner is target else predict(inner, to_float(images)).softmax(dim=1)[:, stage.label]
    save_file({"images": images}, ctx.out / "images.safetensors")
    if inverted.points is not None:
        save_file({"points": inverted.points.detach().cpu().contiguous()}, ctx.out / POINTS)
    rows = {
        "image": list(range(stage.images)),
        "loss": inverted.losses.cpu().tolist(),
        "target_p": target_p.tolist(),
    }
    if inner is not target:
        rows["inner_p"] = inner_p.tolist()
    pq.write_table(pa.table(rows), ctx.out / "samples.parquet")
    return {
        "target_confidence": (inner_p >= CONVERGED).double().mean().item(),
        "target_accuracy": (probabilities.argmax(dim=1) == stage.label).double().mean().item(),
        "mean_loss": inverted.losses.mean().item(),
        "passes": float(inverted.passes),
        "queries": float(inverted.queries),
        "setup_queries": sum(ctx.load(own).metrics.get("target_queries", 0.0) for own in _own(stage)),
    }


def _invert(stage: Attack, ctx: Context) -> Inverted:
    """Run the attack with the access that its type says."""
    private = splits_of(stage, "private", "defender")
    if stage.access == "white_box":
        network = stage.target.network(ctx)
        with ctx.closed_to(private):
            return stage.invert(ctx, network)
    with oracle(stage.target, ctx) as api, ctx.closed_to(private):
        inverted = stage.invert(ctx, api)
    if inverted.passes or inverted.queries > api.queries:
        raise ValueError(f"{stage.kind} is black-box and says {inverted.passes=}, {inverted.queries=} of {api.queries}")
    return inverted._replace(queries=api.queries)


def _own(stage: Attack) -> list[Stage]:
    """What the attack trained against the target before it began."""
    return [own for own in stage.upstream if own.key != stage.target.key and stage.target.key in own.closure()]
