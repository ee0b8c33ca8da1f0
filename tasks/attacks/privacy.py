"""The paper's "Privacy" attack: MI-Face of Fredrikson et al. (CCS 2015), gradient descent on pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from tasks.attacks.attack import Inverted, WhiteBoxAttack
from tasks.context import Context
from tasks.inversion.settings import SearchSettings
from tasks.lazy import lazy

if TYPE_CHECKING:
    from tasks.attacks import pixels
    from tasks.models.architectures import Network
else:
    pixels = lazy("tasks.attacks.pixels")


class Privacy(SearchSettings, WhiteBoxAttack):
    """x* = argmin cost(F(x), l_t) from a grey image, kept in range; no generator, no public data.

    The paper (reference [13]) cites the 2014 study; the attack on images is Fredrikson et al. 2015, Algorithm
    1: x <- PROCESS(x - lambda grad c(x)) with c = 1 - f(x)[l_t] (`optimizer` sgd, `momentum` 0, `cost`
    probability), until c <= gamma (`stop_below`) or it has not improved for beta steps (`patience`; Algorithm 1
    stops when c is not below the largest of the last beta costs, which needs no new minimum), at most alpha
    `steps`. The least-cost image is kept, as there. One grey start gives one image, so all images but the first
    start from grey plus noise of `noise`.

    PROCESS is by default the clamp to the pixel range alone; `denoise` adds their two filters, non-local means
    and sharpening, without the autoencoder of their third model. They give no strengths. Sharpening that is not
    outweighed amplifies the noise that the denoising left, again at every turn: with twice the amount and half
    the strength of the defaults, images of the tests went to black and white noise.

    A published port of the attack (zhangzp9970/MIA) multiplies its momentum by a buffer that it never updates,
    so it is plain descent whatever it says; here `momentum` works. It also stretches each image to the whole
    range by its own minimum and maximum after every step, by which a pixel's value loses its meaning; here
    pixels are clamped. And its patience starts anew when a cost is below the one before, not below the least.
    """

    kind: ClassVar = "privacy"
    version: ClassVar = 1

    lr: float = Field(0.02, gt=0, description="step size in units of the pixel range [-1, 1]")
    cost: Literal["ce", "probability"] = Field("ce", description="-log f(x)[l_t], or Algorithm 1's 1 - f(x)[l_t]")
    noise: float = Field(0.1, ge=0, le=1, description="standard deviation of the starts around grey")
    stop_below: float | None = Field(None, ge=0, description="cost at which an image has converged; None: it never has")
    process: Literal["none", "denoise"] = Field("none", description="PROCESS: denoise by non-local means, then sharpen")
    process_every: int = Field(10, ge=1, description="steps of an image between two filterings")
    denoise_strength: float = Field(0.2, gt=0, le=2, description="h of non-local means, in units of the pixel range")
    sharpen: float = Field(0.25, ge=0, le=4, description="amount of the unsharp mask that follows")

    def invert(self, ctx: Context, target: Network) -> Inverted:
        return pixels.descend(self, ctx, target)
