"""Mirror, the black-box form (An et al., NDSS 2022): a genetic search over styles by an API's confidences."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from tasks.attacks.attack import BlackBoxAttack, GeneratorAttack, Inverted
from tasks.attacks.style_settings import StyleSettings
from tasks.context import Context
from tasks.lazy import lazy

if TYPE_CHECKING:
    from tasks.attacks import evolution
    from tasks.attacks.oracle import Oracle
else:
    evolution = lazy("tasks.attacks.evolution")


class MirrorBB(StyleSettings, GeneratorAttack, BlackBoxAttack):
    """w* = argmax log p(l_t) by selection, crossover and mutation in W, from styles of a pool that T likes best.

    Each image is an island: a population of its own, its own random numbers, and a stop of its own, so the
    reference's one image a label becomes as many as wanted. Two bugs of the reference code are not taken over.
    Its crossover weighs parents by their negative log p, which favours the worse one; here by p, as its
    selection does. Its mutation adds the same noise to all children of a generation; here each has its own.
    """

    kind: ClassVar = "mirror_bb"
    version: ClassVar = 1
    default_gan: ClassVar = "stylegan"

    steps: int = Field(40, ge=1, description="generations, at most")
    population: int = Field(20, ge=2, description="styles per image: its best one stays, the others are replaced")
    mutation_rate: float = Field(0.1, ge=0, le=1, description="probability that a dimension of a child mutates")
    mutation_size: float = Field(0.1, ge=0, description="a mutation adds size * U(-std, std) of the dimension in P")
    stop: float = Field(0.95, gt=0, le=1, description="p(l_t) at which an image is done and costs no more queries")

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.images * self.population > self.pool:
            raise ValueError(f"{self.pool=} must be at least images * population = {self.images * self.population}")
        return self

    @property
    def selection(self) -> str:
        return (
            f"starts: best of a pool of {self.pool} by the target's p(l_t); "
            f"image: best of a population of {self.population} by the target's p(l_t)"
        )

    def invert(self, ctx: Context, target: Oracle) -> Inverted:
        return evolution.invert(self, ctx, target)
