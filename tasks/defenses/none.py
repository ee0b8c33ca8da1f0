"""No defense: the victim itself is the target."""

from __future__ import annotations

from typing import ClassVar

from tasks.defenses.defense import Defender, Defense, Protected


class NoDefense(Defense):
    """The undefended row, beside which every other is read."""

    name: ClassVar = "none"

    def protect(self, defender: Defender, labels: tuple[int, ...]) -> Protected:
        return Protected(defender.victim)
