"""GMI, the generative model-inversion attack (Zhang et al., CVPR 2020)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from tasks.attacks.attack import NO_SELECTION, GeneratorAttack, Inverted, WhiteBoxAttack
from tasks.context import Context
from tasks.inversion.settings import LatentSettings
from tasks.lazy import lazy

if TYPE_CHECKING:
    from tasks.attacks import scoring
    from tasks.inversion import latent
    from tasks.models.architectures import Network
else:
    scoring = lazy("tasks.attacks.scoring")
    latent = lazy("tasks.inversion.latent")


class GMI(LatentSettings, GeneratorAttack, WhiteBoxAttack):
    """z* = argmin -D(G(z)) + lambda CE(F(G(z)), l_t) from z ~ N(0, I); the z of least loss (eq. 6) is kept.

    With `restarts` > 1 each image is the one, of so many latents, that the target gives l_t with the highest
    probability. The reference code uses momentum SGD on a batch mean and 1,500 steps (budget `paper`); here
    every sample has its own loss, so results do not depend on who shares the batch.
    """

    kind: ClassVar = "gmi"
    version: ClassVar = 1

    restarts: int = Field(1, ge=1, description="latents per image; the target chooses among them")

    @property
    def selection(self) -> str:
        return NO_SELECTION if self.restarts == 1 else f"best of {self.restarts} restarts by the target's p(l_t)"

    def invert(self, ctx: Context, target: Network) -> Inverted:
        n, space = self.images * self.restarts, self.gan.latent_space
        start = self.starts(ctx, lambda: latent.draw_latents(n, space, ctx.generator("latents"), self.clip))
        found = latent.invert(target, self.gan, label=self.label, start=start, settings=self, ctx=ctx)
        generator, _ = self.gan.trained(ctx)
        images = latent.paint(generator, found.points, self.chunk)
        best = scoring.best_restarts(target, images, self.label, self.restarts)
        return Inverted(
            images[best],
            found.losses[best],
            passes=int(found.passes.sum()),
            queries=n if self.restarts > 1 else 0,
            points=found.points[best],
        )
