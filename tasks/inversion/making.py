"""Make fakes: search latents, paint and score them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file

from tasks.artifact import Artifact
from tasks.context import Context
from tasks.data.pixels import to_float, to_uint8
from tasks.inversion.latent import draw_latents, invert, paint
from tasks.models.training import predict
from tasks.stage import Metrics

if TYPE_CHECKING:
    from tasks.inversion.fakes import Fakes, MixedFakes


def make_fakes(stage: Fakes, ctx: Context) -> Metrics:
    """Write images.safetensors: images uint8 (n, c, s, s), latents (n, d), scores p(label) (n,)."""
    model, (generator, _) = stage.model.network(ctx), stage.gan.trained(ctx)
    start = draw_latents(stage.count, stage.gan.latent_space, ctx.generator("latents"), stage.clip)
    found = invert(model, stage.gan, label=stage.label, start=start, settings=stage, ctx=ctx)
    images = to_uint8(paint(generator, found.points, stage.chunk))
    probabilities = predict(model, to_float(images)).softmax(dim=1)
    scores = probabilities[:, stage.label]
    product = {"images": images, "latents": found.points.cpu(), "scores": scores}
    save_file({name: t.contiguous() for name, t in product.items()}, ctx.out / "images.safetensors")
    return {
        "label_rate": (probabilities.argmax(dim=1) == stage.label).double().mean().item(),
        "mean_score": scores.mean().item(),
        "mean_loss": found.losses.mean().item(),
        "passes": float(found.passes.sum()),
    }


def mix_fakes(stage: MixedFakes, ctx: Context) -> Metrics:
    """Write images.safetensors: images uint8 (n, c, s, s) and scores (n,) of all parts, one part after the other."""
    found = [ctx.load(part).tensors("images.safetensors") for part in stage.parts]
    product = {name: torch.cat([part[name] for part in found]).contiguous() for name in ("images", "scores")}
    save_file(product, ctx.out / "images.safetensors")
    rates = [ctx.load(part).metrics["label_rate"] for part in stage.parts]
    counts = [len(part["scores"]) for part in found]
    hits = sum(rate * count for rate, count in zip(rates, counts, strict=True))
    return {"label_rate": hits / sum(counts), "mean_score": product["scores"].mean().item()}


def read_images(artifact: Artifact) -> torch.Tensor:
    """Images (n, c, s, s) float in [-1, 1]."""
    return to_float(artifact.tensors("images.safetensors")["images"])
