"""Mirror, the white-box form (An et al., NDSS 2022): gradient descent on a style, kept where styles are likely."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from tasks.attacks.attack import GeneratorAttack, Inverted, WhiteBoxAttack
from tasks.attacks.style_settings import StyleSettings
from tasks.context import Context
from tasks.inversion.settings import SearchSettings
from tasks.lazy import lazy

if TYPE_CHECKING:
    from tasks.attacks import style_search
    from tasks.models.architectures import Network
else:
    style_search = lazy("tasks.attacks.style_search")


class Mirror(SearchSettings, StyleSettings, GeneratorAttack, WhiteBoxAttack):
    """w* = argmin lambda CE(T(flip(G(w))), l_t) by Adam, from styles of a pool that T likes best.

    After each step w is clipped to mean +- std of sampled styles in P space. T drops features and images are
    flipped at random while it is attacked, so that no image is made for one way of looking at it. The
    reference code has one loss and one flip for its batch of 8 latents and pairs the least loss with the w
    after that step; here loss, flip, masks and the best w are each sample's own. As there, starts are not
    clipped: a sample that the target likes is kept where no step inside the box does better.
    """

    kind: ClassVar = "mirror"
    version: ClassVar = 1
    default_gan: ClassVar = "stylegan"

    lr: float = Field(0.25, gt=0, description="step size in W")
    schedule: Literal["constant", "ramp"] = Field(
        "ramp", description="of the rate; ramp: up over the first 5% of the steps, a cosine down over the last 25%"
    )
    lam: float = Field(10.0, ge=0, description="weight of the cross-entropy")
    realism: float = Field(0.0, ge=0, description="weight of the critic's loss (the reference code has it, at 0)")
    flip: bool = Field(True, description="flip each image with probability 1/2, anew in every step")
    dropout: float = Field(0.0, ge=0, lt=1, description="of T's hidden fully connected activations")
    dropout2d: float = Field(0.0, ge=0, lt=1, description="of T's channels where it makes the map smaller")
    restarts: int = Field(1, ge=1, description="styles per image; the target chooses among them")
    selection_rule: Literal["agreement", "confidence"] = Field(
        "agreement", description="among restarts: those that agree on T's other top labels first, or p(l_t) alone"
    )

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.images * self.restarts > self.pool:
            raise ValueError(f"{self.pool=} must be at least images * restarts = {self.images * self.restarts}")
        return self

    @property
    def selection(self) -> str:
        starts = f"starts: best of a pool of {self.pool} by the target's p(l_t)"
        if self.restarts == 1:
            return starts
        if self.selection_rule == "confidence":
            return f"{starts}; image: best of {self.restarts} restarts by the target's p(l_t)"
        return (
            f"{starts}; image: of {self.restarts} restarts, the largest group that shares labels in the target's "
            "top 5, and in it the highest logit of l_t"
        )

    def invert(self, ctx: Context, target: Network) -> Inverted:
        return style_search.invert(self, ctx, target)
