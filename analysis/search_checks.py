"""Reading a mapping value by value: what does not fit is noted with its place, and reading goes on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from grid.problems import Problem, SpecError, choices, join_place


class Checks:
    """Gathers problems. Each method returns a value of the right type even where the record has none."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def add(self, place: str, message: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(place, message))

    def finish(self, what: str) -> None:
        """Raise SpecError with all problems, if there are any; `what` stands before each place."""
        if self.problems:
            raise SpecError([Problem(f"{what}: {problem.place}", problem.message) for problem in self.problems])

    def text(self, about: Mapping[str, Any], key: str, place: str) -> str:
        """A string that is not empty."""
        value = about.get(key)
        if not isinstance(value, str) or not value:
            self.add(join_place(place, key), f"must be a name, but got {value!r}")
        return str(value)

    def choice(self, about: Mapping[str, Any], key: str, place: str, valid: Sequence[str]) -> str:
        """One of the valid words."""
        value = about.get(key)
        if value not in valid:
            self.add(join_place(place, key), choices(value, valid, what=key))
        return str(value)

    def number(self, about: Mapping[str, Any], key: str, place: str) -> float:
        """A finite number."""
        value = about.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self.add(join_place(place, key), f"must be a number, but got {value!r}")
            return 1.0
        return float(value)

    def whole(self, about: Mapping[str, Any], key: str, place: str) -> int:
        """A whole number, at least 0."""
        value = about.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            self.add(join_place(place, key), f"must be a whole number from 0 on, but got {value!r}")
            return 0
        return value

    def wholes(self, about: Mapping[str, Any], key: str, place: str) -> tuple[int, ...]:
        """Some whole numbers, each at least 0."""
        value = about.get(key)
        if not isinstance(value, list | tuple):
            self.add(join_place(place, key), f"must be a list of whole numbers, but got {value!r}")
            return ()
        return tuple(self.whole({key: item}, key, place) for item in value)

    def mapping(self, about: Mapping[str, Any], key: str, place: str) -> Mapping[str, Any]:
        """A mapping."""
        value = about.get(key)
        if not isinstance(value, Mapping):
            self.add(join_place(place, key), f"must be a mapping, but got {value!r}")
            return {}
        return value

    def items(self, about: Mapping[str, Any], key: str, place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The entries of a mapping of mappings."""
        found = self.mapping(about, key, place)
        for name in found:
            yield name, self.mapping(found, name, join_place(place, key))

    def list_of(self, about: Mapping[str, Any], key: str, place: str) -> list[Mapping[str, Any]]:
        """The mappings of a list; a list that is not there is empty."""
        value = about.get(key) or []
        if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
            self.add(join_place(place, key), f"must be a list of mappings, but got {value!r:.80}")
            return []
        return value

    def metrics(self, about: Mapping[str, Any], place: str) -> dict[str, float]:
        """Measured fractions; what is None or not finite was not measured and is left out.

        `step` and words are no metrics. A rate (aa_*, mc_*, target_confidence) outside [0, 1] is a problem.
        """
        found = {}
        for name, value in about.items():
            if name == "step" or isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if not math.isfinite(value):
                continue
            if name.startswith(("aa_", "mc_", "target_confidence")) and not 0 <= value <= 1:
                self.add(join_place(place, name), f"must be a fraction in [0, 1], but got {value!r}")
            found[name] = float(value)
        return found
