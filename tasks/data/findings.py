"""What was found in a dataset's files and what became of it: one report with counts, so that nothing is silent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class Findings:
    """Findings in words -> the names of the files or people that they are about, in the order they were met."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = {}

    def add(self, finding: str, names: Iterable[str]) -> None:
        """Note a finding; without names nothing is noted."""
        if more := list(names):
            self._found.setdefault(finding, []).extend(more)

    @property
    def found(self) -> Mapping[str, tuple[str, ...]]:
        """Every finding with all its names, by name."""
        return {finding: tuple(sorted(set(names))) for finding, names in sorted(self._found.items())}


def lines(found: Mapping[str, tuple[str, ...]], most: int = 5) -> list[str]:
    """A line per finding: `12 pictures ... : a.jpg, b.jpg, ...`, with at most so many names."""
    return [f"{len(names)} {finding}: {some(names, most)}" for finding, names in found.items()]


def some(names: tuple[str, ...] | list[str], most: int = 5) -> str:
    """`a, b, ... (7 in all)`."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown}, ... ({len(names)} in all)"
