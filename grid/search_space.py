"""A search space: a plain dict of constants and Tune domains, read from a file and checked against a defense."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from grid.problems import Problem, SpecError, choices
from grid.search_space_file import execute, reasons_of, space_path
from tasks.defenses import DEFENSES
from tasks.defenses.defense import Defense
from tasks.gan.gan import GANChoice

DIGITS = 3  # significant digits of a coefficient
PROTECTS = ("single", "joint")
_TRIED = 9  # values over a range that are tried on the defense beside its ends
Value = float | int | str | bool | None
Kind = Literal["loguniform", "uniform", "choice", "randint", "constant"]


@dataclass(frozen=True)
class Domain:
    """What a coefficient may be: a range [low, high] (a whole number below `high` for randint), or some values."""

    kind: Kind
    low: float | None = None
    high: float | None = None
    values: tuple[Value, ...] = ()
    log: bool = False

    @property
    def searched(self) -> bool:
        """Whether there is anything to choose."""
        return self.kind != "constant"

    def ends(self) -> tuple[Value, ...]:
        """The extreme values; of a choice all of them."""
        if self.values:
            return self.values
        if self.kind == "randint":
            return (int(self.low or 0), int(self.high or 0) - 1)
        return (self.low, self.high)

    def kept(self, value: Value) -> Value:
        """`value`, or the end of the range beyond which rounding took it."""
        if not isinstance(value, float) or self.low is None or self.high is None:
            return value
        return min(max(value, float(self.low)), float(self.high))

    def points(self, count: int) -> list[Value]:
        """`count` values evenly over the range, logarithmic where the range is; of a choice all of them."""
        if self.values:
            return list(self.values)
        first, last = (float(end) for end in self.ends() if isinstance(end, int | float))
        shares = [i / (count - 1) for i in range(count)] if count > 1 else [0.5]
        if self.log:
            found = [math.exp(math.log(first) + share * (math.log(last) - math.log(first))) for share in shares]
        else:
            found = [first + share * (last - first) for share in shares]
        return [*sorted({round(x) for x in found})] if self.kind == "randint" else [*found]

    def plain(self) -> dict[str, Any]:
        """For the search's record."""
        return {"kind": self.kind, "low": self.low, "high": self.high, "values": list(self.values), "log": self.log}


@dataclass(frozen=True)
class Space:
    """A checked space. `tune` holds Ray's own domains of what is searched, by coefficient."""

    path: Path
    defense: str
    protect: str | None
    domains: Mapping[str, Domain]
    reasons: Mapping[str, str]
    tune: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The file's, without its ending."""
        return self.path.stem

    @property
    def searched(self) -> list[str]:
        """Coefficients that vary, in the file's order."""
        return [name for name, domain in self.domains.items() if domain.searched]

    def complete(self, chosen: Mapping[str, Value]) -> dict[str, Value]:
        """The coefficients of a trial, rounded, constants included."""
        constants = {name: domain.values[0] for name, domain in self.domains.items() if not domain.searched}
        return {name: domain.kept(rounded({**constants, **chosen}[name])) for name, domain in self.domains.items()}


def rounded(value: Value) -> Value:
    """A float at 3 significant digits; so that a person who types a coefficient meets the same key."""
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def load_space(name: str) -> Space:
    """A shipped space by name, or a file by path. SpecError names everything that is wrong with it."""
    path = space_path(name)
    content = execute(path)
    space, defense = content.get("SPACE"), content.get("DEFENSE", "gan_id")
    problems: list[Problem] = []
    if not isinstance(space, dict) or not space:
        problems.append(Problem(f"{path} SPACE", f"must be a dict of coefficients, but got {space!r}"))
    if not isinstance(defense, str) or defense not in DEFENSES:
        problems.append(Problem(f"{path} DEFENSE", choices(defense, DEFENSES, what="defense")))
    protect = content.get("PROTECT")
    if protect is not None and protect not in PROTECTS:
        problems.append(Problem(f"{path} PROTECT", choices(protect, PROTECTS, what="protect")))
    if problems or not isinstance(space, dict):
        raise SpecError(problems)
    valid_keys, domains = fields_of(DEFENSES[defense]), {}
    for key, value in space.items():
        if key not in valid_keys:
            problems.append(Problem(f"{path} SPACE[{key!r}]", choices(key, valid_keys, what=f"setting of {defense}")))
        elif isinstance(domain := _domain(value), str):
            problems.append(Problem(f"{path} SPACE[{key!r}]", domain))
        else:
            domains[key] = domain
    tune = {key: value for key, value in space.items() if key in domains and domains[key].searched}
    found = Space(path, defense, protect, domains, reasons_of(path), tune)
    problems += range_problems(found)
    if not problems and not tune:
        problems.append(Problem(f"{path} SPACE", "holds constants only; give at least one a range"))
    if problems:
        raise SpecError(problems)
    return found


def fields_of(defense: type[BaseModel]) -> list[str]:
    """Settings of a defense that a space may fill; those of nested settings as `fakes.count`."""
    found = []
    for name, field in defense.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += [] if kind is GANChoice else [f"{name}.{inner}" for inner in kind.model_fields]
        else:
            found.append(name)
    return found


def filled(defense: Defense, coefficients: Mapping[str, Value]) -> Defense:
    """`defense` with these settings. Pydantic's ValidationError where one is out of range."""
    update: dict[str, Any] = {}
    nested: dict[str, dict[str, Value]] = {}
    for key, value in coefficients.items():
        outer, dot, inner = key.partition(".")
        if dot:
            nested.setdefault(outer, {})[inner] = value
        else:
            update[key] = value
    update |= {outer: getattr(defense, outer).model_copy(update=inner) for outer, inner in nested.items()}
    return defense.model_copy(update=update)


def range_problems(space: Space) -> list[Problem]:
    """Values of the space, and ends of its ranges, that a setting cannot have; fractions where it takes whole numbers.

    What several settings do together is not judged here: such a trial fails by itself.
    """
    problems = []
    for key, domain in space.domains.items():
        place = f"{space.path} SPACE[{key!r}]"
        ends = {value: reason for value in domain.ends() if (reason := _refusal(space.defense, key, value))}
        problems += [Problem(place, f"holds {value!r}: {reason}") for value, reason in ends.items()]
        if not ends and domain.searched:
            within = ((value, _refusal(space.defense, key, value)) for value in domain.points(_TRIED))
            if found := next(((value, reason) for value, reason in within if reason), None):
                text = f"holds {rounded(found[0])!r}: {found[1]}; use tune.randint or tune.choice"
                problems.append(Problem(place, text))
    return problems


def _refusal(defense: str, key: str, value: Value) -> str | None:
    """Why the setting cannot have the value, in words; None if it can."""
    try:
        filled(DEFENSES[defense](), {key: rounded(value)})
    except ValidationError as error:
        mine = [item["msg"] for item in error.errors() if item["loc"]]
        return mine[0].removeprefix("Value error, ").removeprefix("Input ") if mine else None
    return None


def _domain(value: object) -> Domain | str:
    """A Tune domain or a constant as plain data; a text says what is wrong with it."""
    from ray.tune.search.sample import Categorical, Float, Integer, LogUniform, Quantized, Uniform
    from ray.tune.search.sample import Domain as TuneDomain

    if value is None or isinstance(value, bool | int | float | str):
        return Domain("constant", values=(value,))
    if isinstance(value, Categorical):
        values = tuple(value.categories)
        if not values or not all(item is None or isinstance(item, bool | int | float | str) for item in values):
            return f"a choice needs values that are numbers or texts, but got {list(values)!r}"
        return Domain("choice", values=values)
    if isinstance(value, Float | Integer):
        sampler = value.get_sampler()
        sampler = sampler.get_sampler() if isinstance(sampler, Quantized) else sampler
        low, high, whole = value.lower, value.upper, isinstance(value, Integer)
        if not isinstance(sampler, Uniform | LogUniform):
            return f"{type(sampler).__name__} has no ends; use uniform, loguniform, randint or choice"
        if not math.isfinite(low) or not math.isfinite(high) or (high <= low + whole - 1) or low >= high:
            return f"the range is empty: low < high must hold, but got low={low:g}, high={high:g}"
        return Domain("randint" if whole else _kind(sampler), low, high, log=isinstance(sampler, LogUniform))
    if isinstance(value, TuneDomain):
        return f"{type(value).__name__} cannot be shown or searched; use uniform, loguniform, randint or choice"
    return f"must be a number, a text or a Tune domain (tune.loguniform, tune.choice), but got {type(value).__name__}"


def _kind(sampler: object) -> Kind:
    from ray.tune.search.sample import LogUniform

    return "loguniform" if isinstance(sampler, LogUniform) else "uniform"
