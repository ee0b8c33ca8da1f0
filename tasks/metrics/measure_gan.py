"""Compute what the GAN quality stage records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tasks.context import Context
from tasks.data.pixels import to_float, to_uint8
from tasks.gan.latents import draw
from tasks.inversion.latent import paint
from tasks.metrics.generator_quality import NEIGHBOURS, density_coverage
from tasks.metrics.image_distances import frechet_distance
from tasks.models.training import features
from tasks.stage import Metrics

if TYPE_CHECKING:
    from tasks.metrics.gan_quality import GANQuality

CHUNK = 50
CURVE_NAMES = ("frechet", "density", "coverage")


def measure_gan(stage: GANQuality, ctx: Context) -> Metrics:
    """frechet, density, coverage of fresh samples; log them over the training's grids (36 images: only a trend)."""
    judge = stage.judge.network(ctx)
    images, _ = stage.reference.images(ctx)
    real = features(judge, images)
    generator, _ = stage.gan.trained(ctx)
    z = draw(stage.gan.latent_space, stage.count, ctx.generator("quality")).to(ctx.device)
    samples = to_float(to_uint8(paint(generator, z, CHUNK)))
    metrics = _quality(real, features(judge, samples))
    grids = ctx.load(stage.gan).tensors("samples.safetensors")
    for step, grid in zip(grids["steps"].tolist(), grids["over_time"], strict=True):
        ctx.log(step, **_quality(real, features(judge, to_float(grid))))
    if min(len(real), stage.count) <= real.shape[1]:
        sizes = f"{len(real)} real images and {stage.count} samples for {real.shape[1]} dimensions"
        ctx.note("frechet", f"rank-deficient: {sizes}; compare only rows with equal numbers")
    return {**metrics, "samples": float(stage.count), "reference_images": float(len(real))}


def _quality(real: torch.Tensor, fake: torch.Tensor) -> Metrics:
    density, coverage = density_coverage(real, fake, min(NEIGHBOURS, len(real) - 1))
    return dict(zip(CURVE_NAMES, (frechet_distance(fake, real), density, coverage), strict=True))
