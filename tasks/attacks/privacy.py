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
    1, whose cost is 1 - f(x)[l_t]; the code that others publish uses cross-entropy. One grey start gives one
    image, so all images but the first start from grey plus noise of `noise`.
    """

    kind: ClassVar = "privacy"
    version: ClassVar = 1

    lr: float = Field(0.02, gt=0, description="step size in units of the pixel range [-1, 1]")
    cost: Literal["ce", "probability"] = Field("ce", description="-log f(x)[l_t], or Algorithm 1's 1 - f(x)[l_t]")
    noise: float = Field(0.1, ge=0, le=1, description="standard deviation of the starts around grey")

    def invert(self, ctx: Context, target: Network) -> Inverted:
        return pixels.descend(self, ctx, target)
