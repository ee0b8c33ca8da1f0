"""The second try (DESIGN 6.6): a low attack accuracy counts only if the attack itself converged."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from tasks.attacks.attack import Attack
from tasks.context import Context
from tasks.lazy import lazy
from tasks.stage import ComputeStage, Metrics

if TYPE_CHECKING:
    from tasks.attacks import scoring
else:
    scoring = lazy("tasks.attacks.scoring")


class Rerun(ComputeStage):
    """Where `first` left its target unconvinced, the same attack again: more steps, from a known solution.

    If `target_confidence` of `first` is below `threshold`, the attack runs with `factor` times the steps from
    the points where it ended on the undefended model: a defense that only hides the gradients from a random
    start does not survive that. Otherwise nothing is done, and the record says so (`needed` 0). Which outcome
    counts is decided where it is evaluated.
    """

    kind: ClassVar = "rerun"
    version: ClassVar = 1
    group: ClassVar = "attack"

    first: Attack
    undefended: Attack
    threshold: float = Field(0.8, gt=0, le=1, description="target_confidence below which the attack is run again")
    factor: int = Field(4, ge=2, description="times the steps")

    @model_validator(mode="after")
    def _same_attack(self) -> Self:
        if type(self.first) is not type(self.undefended) or self.first.label != self.undefended.label:
            raise ValueError("a rerun needs the same attack on the same label of the undefended model")
        self.again()
        return self

    def again(self) -> Attack:
        """The intensified attack. ValueError if the attack has no steps to multiply."""
        intense = self.first.intensified(self.factor)
        if intense is None:
            raise ValueError(f"{self.first.kind} does not search, so there is nothing to run longer")
        return intense.model_copy(update={"warm": self.undefended})

    @property
    def scope(self) -> tuple[int, str, int]:
        """Draws are those of the attack."""
        return self.first.scope

    def run(self, ctx: Context) -> Metrics:
        confidence = ctx.load(self.first).metrics["target_confidence"]
        if confidence >= self.threshold:
            return {"needed": 0.0, "passes": 0.0, "queries": 0.0}
        return {"needed": 1.0, "first_target_confidence": confidence, **scoring.attack_and_score(self.again(), ctx)}
