"""A defense as a spec chooses it: a row for each of its variants, and no row twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tasks.defenses.defense import Defense
from tasks.defenses.wrapper_defense import WrapperDefense


class DefenseChoice(NamedTuple):
    shown: str
    defense: Defense
    place: str


def without_repeated(rows: Sequence[DefenseChoice], before: Sequence[DefenseChoice]) -> list[DefenseChoice]:
    """The rows of one entry without those that an entry before it has measured already, under the same name.

    Two entries of a wrapper that differ in `gradient` alone are one thing to whoever takes the wrapper off: the same
    victim is met and the same answers are counted for accuracy. An entry of a single row was asked for by itself.
    """
    if len(rows) == 1:
        return list(rows)
    known = [_measurement(choice) for choice in before]
    return [row for row in rows if not _stripped(row.defense) or _measurement(row) not in known]


def name_clashes(rows: Sequence[DefenseChoice]) -> list[str]:
    """A message for each name that several rows have, with the settings in which these differ."""
    messages = []
    for name in sorted({row.shown for row in rows}):
        same = [row for row in rows if row.shown == name]
        if len(same) > 1:
            differ = _differences(same)
            settings = f" with other settings ({', '.join(differ)})" if differ else ""
            messages.append(f"two entries are called {name!r}{settings}; tell them apart with `as:`")
    return messages


def _stripped(defense: Defense) -> bool:
    return isinstance(defense, WrapperDefense) and defense.attackers == "stripped"


def _measurement(row: DefenseChoice) -> tuple[str, str, dict[str, Any]]:
    """(shown, kind, the settings that the row's numbers depend on)."""
    settings = row.defense.model_dump()
    if _stripped(row.defense):
        del settings["gradient"]
    return row.shown, row.defense.name, settings


def _differences(rows: Sequence[DefenseChoice]) -> list[str]:
    """Names of the settings in which rows of one kind differ, as far as their numbers depend on these."""
    if len({row.defense.name for row in rows}) > 1:
        return []
    first, *others = (_measurement(row)[-1] for row in rows)
    return sorted(name for name in first if any(other.get(name) != first[name] for other in others))
