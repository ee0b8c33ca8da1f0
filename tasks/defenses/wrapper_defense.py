"""What the defenses that change a model's answers, and not the model, have in common."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.defenses.defense import Defender, Defense, Protected
from tasks.models.wrapped import STRAIGHT_THROUGH, Gradient, Wrapped

Attackers = Literal["both", "through", "stripped"]


class WrapperDefense(Defense):
    """The victim behind an output wrapper; a subclass says which.

    A wrapper touches no weight, so an attacker who has the model attacks the victim as it is. Published comparisons
    run every attack through the wrapper, white-box ones too. Both are rows here, to be read side by side. Accuracy
    is that of the wrapped model in both. (A black-box attack in the `stripped` row has found an API without the
    wrapper.)
    """

    attackers: Attackers = Field(
        "both", description="attack through the wrapper, or the victim stripped of it; both: a row each"
    )
    gradient: Gradient = Field(
        STRAIGHT_THROUGH,
        description="what white-box attacks through the wrapper differentiate; no value in the papers",
    )

    @property
    def variants(self) -> tuple[tuple[str, Defense], ...]:
        met: tuple[Attackers, ...] = ("through", "stripped") if self.attackers == "both" else (self.attackers,)
        return tuple((self._suffix(how), self.model_copy(update={"attackers": how})) for how in met)

    def _suffix(self, how: Attackers) -> str:
        unusual = how == "through" and self.gradient != STRAIGHT_THROUGH
        return f" {how} {self.gradient}" if unusual else f" {how}"

    def wrapped(self, defender: Defender) -> Wrapped:
        """The victim and the wrapper around it."""
        raise NotImplementedError

    def protect(self, defender: Defender, labels: tuple[int, ...]) -> Protected:
        """One wrapper protects all labels. ValueError where `attackers` is both: see `variants`."""
        target = self.wrapped(defender)
        if self.attackers == "both":
            raise ValueError(f"{self.attackers=} stands for two rows; protect each of `variants`")
        if self.attackers == "stripped":
            return Protected(target, met=defender.victim, output="stripped")
        return Protected(target, output=f"through, {self.gradient.replace('_', '-')} gradients")
