"""Datasets as a spec names them: what is there, who is private, who is public, and the splits of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field

from tasks.data.split import Audience, Part, Split
from tasks.stage import Config

MIN_PRIVATE, MIN_PUBLIC = 2, 3
People = tuple[int, int] | tuple[str, ...]


class Problem(NamedTuple):
    """Something wrong with a user's input: the field it is about and what to do."""

    field: str
    message: str


class DataProblemsError(Exception):
    """All that is wrong with a dataset, at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(f"{p.field}: {p.message}" for p in problems))
        self.problems = tuple(problems)


class Catalogue(NamedTuple):
    """What a dataset holds, read from disk once while planning."""

    private: tuple[str, ...]
    public: tuple[str, ...]
    pictures: Mapping[str, int]  # per person
    manifests: Mapping[str, str]  # per person: digest of the root that the person's pictures lie in
    sources: Mapping[str, Path]  # digest -> root
    channels: Literal[1, 3]
    findings: Mapping[str, tuple[str, ...]] = MappingProxyType({})  # in the files -> names (findings.py)
    left_out: Mapping[str, tuple[str, ...]] = MappingProxyType({})  # per person: pictures under another label, too


class Dataset(Config):
    """A dataset of a spec. Public people are dealt in turn to the defender (who also trains F_C) and the attacker."""

    name: ClassVar[str]

    size: int = Field(64, ge=32, le=1024, description="pixels per side; a multiple of 32, or 112")
    private_people: People | None = Field(
        None, description="[first, last] positions, counted from 0 in name order, or a list of names"
    )
    public_people: People | None = Field(None, description="likewise; default: everybody who is not private")
    test_per_label: int = Field(2, ge=1, description="test pictures per private person (the paper: 2)")
    val_per_label: int = Field(1, ge=0, description="validation pictures per person")
    split_seed: int = Field(0, ge=0, description="seed of the split; the same for all seeds of a grid")

    def catalogue(self, base: Path) -> Catalogue:
        """Look at the data; `base` is where relative paths start if not here. Raises DataProblemsError."""
        raise NotImplementedError

    def split(self, catalogue: Catalogue, people: tuple[str, ...], part: Part, audience: Audience) -> Split:
        """The stage that holds one part of some people's pictures."""
        raise NotImplementedError

    def common(self, catalogue: Catalogue, part: Part, audience: Audience) -> dict[str, object]:
        """The fields that all splits share; only private people have test pictures."""
        return {
            "part": part,
            "audience": audience,
            "size": self.size,
            "channels": catalogue.channels,
            "test_per_label": self.test_per_label if audience == "private" else 0,
            "val_per_label": self.val_per_label if part != "all" else 0,
            "seed": self.split_seed,
        }

    def choose_people(self, everybody: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """(private, public) by the fields; raises DataProblemsError for what does not exist or overlaps."""
        problems: list[Problem] = []
        half = (0, max(0, len(everybody) // 2 - 1))
        private = _resolve("private_people", self.private_people or half, everybody, problems)
        rest = tuple(person for person in everybody if person not in private)
        public = (
            rest if self.public_people is None else _resolve("public_people", self.public_people, everybody, problems)
        )
        if overlap := sorted(set(private) & set(public)):
            problems.append(
                Problem(
                    "public_people",
                    f"private and public people overlap: {_some(overlap)}; choose disjoint ones",
                )
            )
        for field, people in (("private_people", private), ("public_people", public)):
            if twice := sorted({person for person in people if people.count(person) > 1}):
                problems.append(Problem(field, f"names people twice: {_some(twice)}"))
        problems += count_problems(private, public)
        if problems:
            raise DataProblemsError(problems)
        return private, public


def count_problems(private: Sequence[str], public: Sequence[str]) -> list[Problem]:
    """Too few people for a victim, a public classifier and two GANs."""
    problems = []
    if len(private) < MIN_PRIVATE:
        problems.append(Problem("private_people", f"{len(private)} private people; at least {MIN_PRIVATE} are needed"))
    if len(public) < MIN_PUBLIC:
        text = f"{len(public)} public people; at least {MIN_PUBLIC} are needed (defender 2, attacker 1)"
        problems.append(Problem("public_people", text))
    return problems


def picture_problems(
    dataset: Dataset, counts: Mapping[str, int], private: Sequence[str], fields: Mapping[str, str] | None = None
) -> list[Problem]:
    """People with too few pictures for their parts; `fields` says which field names a person's folder."""
    problems = []
    for person, count in counts.items():
        held_out = (dataset.test_per_label if person in private else 0) + dataset.val_per_label
        if count == 0:
            problems.append(
                Problem((fields or {}).get(person, "root"), f"the class {person!r} is empty: it has no picture")
            )
        elif count <= held_out:
            text = f"the class {person!r} has {count} picture(s), but {held_out} are held out for test and val"
            problems.append(Problem("test_per_label", f"{text}: give more pictures or hold out fewer"))
    return problems


def _resolve(field: str, wanted: People, everybody: Sequence[str], problems: list[Problem]) -> tuple[str, ...]:
    if len(wanted) == 2 and isinstance(wanted[0], int) and isinstance(wanted[1], int):
        first, last = wanted
        if 0 <= first <= last < len(everybody):
            return tuple(everybody[first : last + 1])
        problems.append(
            Problem(field, f"[{first}, {last}] is no range of people; positions are 0..{len(everybody) - 1}")
        )
        return ()
    names = tuple(str(name) for name in wanted)
    if unknown := [name for name in names if name not in everybody]:
        problems.append(Problem(field, f"unknown people {_some(unknown)}; there are {_some(everybody)}"))
    return tuple(name for name in names if name in everybody)


def _some(names: Sequence[str], most: int = 8) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown}, ... ({len(names)} in all)"
