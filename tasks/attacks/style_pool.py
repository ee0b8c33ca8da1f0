"""The pool: styles that an attacker samples from its own generator, which the target then ranks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import torch

from tasks.attacks.style_space import clip_to_box, sampled_box, truncated
from tasks.context import Context
from tasks.gan.latents import draw, project
from tasks.models.chunks import in_chunks
from tasks.models.inference import inference_copy

if TYPE_CHECKING:
    from tasks.attacks.style_settings import StyleSettings
    from tasks.gan.gan import GAN
    from tasks.gan.networks import LatentGenerator

BLOCK = 1024  # images that are held in memory, and asked about in one call
CHUNK = 64  # styles painted at a time: a fixed shape, so that rounding does not depend on how many there are

Function = Callable[[torch.Tensor], torch.Tensor]


class StylePool:
    """Sampled styles (pool, d), the box that they span, and pictures of styles. It knows nothing of the target."""

    def __init__(self, gan: GAN, ctx: Context, settings: StyleSettings) -> None:
        """Draws `settings.pool` latents of the GAN under the name "latents"."""
        self._generator = cast("LatentGenerator", inference_copy(gan.trained(ctx)[0]))
        self._device, self._psi = ctx.device, settings.truncation
        self.slope = self._generator.style_slope
        latents = draw(gan.latent_space, settings.pool, ctx.generator("latents"))
        self.styles = self._in_chunks(self._generator.style, latents)
        self._mean = self.styles.mean(dim=0)
        box = sampled_box(self.styles, self.slope, settings.box)
        # Without a mapping network a style is a latent, and its one-hot blocks and codes have bounds of their own.
        self._space = gan.latent_space if torch.equal(self.styles, latents) else None
        self.box = box if self._space is None else box.bounding(self._space.normal)

    def keep_valid(self, styles: torch.Tensor) -> torch.Tensor:
        """Clip styles (n, d) to the box; those that are latents stay such as the generator was trained on."""
        clipped = clip_to_box(styles, self.box.to(styles.device), self.slope)
        return clipped if self._space is None else project(self._space, clipped)

    def paint(self, styles: torch.Tensor) -> torch.Tensor:
        """Images (n, c, s, s) in [-1, 1] of styles (n, d), differentiable, truncated if that is asked for."""
        return self._generator.paint(truncated(styles, self._mean.to(styles.device), self._psi))

    def pictures(self, styles: torch.Tensor) -> torch.Tensor:
        """The same without a graph, in batches of a fixed, padded shape, on the CPU."""
        return self._in_chunks(self.paint, styles)

    def scores(self, styles: torch.Tensor, judge: Function) -> torch.Tensor:
        """`judge` (images -> (n,)) of styles (n, d): a call for every BLOCK of them."""
        return torch.cat([judge(self.pictures(block)) for block in styles.split(BLOCK)])

    def _in_chunks(self, function: Function, rows: torch.Tensor) -> torch.Tensor:
        return in_chunks(function, rows, CHUNK, self._device)


def best_first(scores: torch.Tensor, images: int, each: int) -> torch.Tensor:
    """Rows (images * each,) of the best scores (n,), dealt in turn: image i gets ranks i, i + images, ...

    The rows of an image follow each other, best first. ValueError if there are too few scores.
    """
    if images * each > len(scores):
        raise ValueError(f"a pool of {len(scores)} has no {images * each} starts ({images=}, {each=})")
    ranked = scores.argsort(descending=True, stable=True)[: images * each]
    return ranked.view(each, images).t().reshape(-1)
