"""The second try (DESIGN 6.6): a low attack accuracy counts only if the attack itself converged."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from tasks.attacks.attack import Attack
from tasks.context import Context
from tasks.gan.gan import TargetGAN
from tasks.lazy import lazy
from tasks.stage import ComputeStage, Metrics, Stage

if TYPE_CHECKING:
    from tasks.attacks import scoring
else:
    scoring = lazy("tasks.attacks.scoring")


class Rerun(ComputeStage):
    """Where `first` left its target unconvinced, the same attack again: more steps, from a known solution.

    If `target_confidence` of `first` is below `threshold`, the attack runs with `factor` times the steps from
    the points where it ended on the undefended model: a defense that only hides the gradients from a random
    start does not survive that. A generator that was trained against the target is replaced by the undefended
    model's, in whose latents those points lie; the attacker has both. `undefended` is None for a target that was
    not made from the undefended model (DP-SGD, MID): nobody outside ever sees that model, and its solutions would
    be a leak that the defense has not made, so the attack goes on from where `first` ended. Where the first run
    converged nothing is done, and the record says so (`needed` 0). Which outcome counts is decided where it is
    evaluated.
    """

    kind: ClassVar = "rerun"
    version: ClassVar = 1
    group: ClassVar = "attack"

    first: Attack
    undefended: Attack | None = None
    threshold: float = Field(0.8, gt=0, le=1, description="target_confidence below which the attack is run again")
    factor: int = Field(4, ge=2, description="times the steps")

    @model_validator(mode="after")
    def _same_attack(self) -> Self:
        if self.undefended is not None:
            ours, theirs = self.first.config, self.undefended.config
            own = {name for name, stage in self.first if isinstance(stage, Stage)}
            unlike = [name for name in ours.keys() - own if ours[name] != theirs.get(name)]
            same_kind = type(self.first) is type(self.undefended)
            if not same_kind or unlike or self.first.target == self.undefended.target:
                raise ValueError(
                    f"a rerun needs the same attack on the undefended model; it differs in {sorted(unlike)}"
                )
        self.again()
        return self

    def again(self) -> Attack:
        """The intensified attack. ValueError if the attack has no steps to multiply."""
        intense = self.first.intensified(self.factor)
        if intense is None:
            raise ValueError(f"{self.first.kind} does not search, so there is nothing to run longer")
        if self.undefended is None:
            return intense.model_copy(update={"warm": self.first})
        gan = getattr(self.undefended, "gan", None)
        own = {"gan": gan} if isinstance(gan, TargetGAN) else {}
        return intense.model_copy(update={"warm": self.undefended, **own})

    @property
    def scope(self) -> tuple[int, str, int]:
        """Draws are those of the attack."""
        return self.first.scope

    def run(self, ctx: Context) -> Metrics:
        confidence = ctx.load(self.first).metrics["target_confidence"]
        if confidence >= self.threshold:
            return {"needed": 0.0, "passes": 0.0, "queries": 0.0}
        return {"needed": 1.0, "first_target_confidence": confidence, **scoring.attack_and_score(self.again(), ctx)}
