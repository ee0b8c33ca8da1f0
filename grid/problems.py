"""A user's mistakes: all of them at once, each with its place, the value and the valid choices."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError


class Problem(NamedTuple):
    """What is wrong and where: a path into the spec such as `attacks[1].steps`, or an option."""

    place: str
    message: str


class SpecError(Exception):
    """Bad input. `problems` lists everything that is wrong; the CLI prints it and exits with 2."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(f"{p.place}: {p.message}" for p in problems))
        self.problems = tuple(problems)


def choices(given: object, valid: Iterable[str], *, what: str) -> str:
    """`unknown attack 'gmj'; did you mean 'gmi'? Choose one of: gmi, privacy`."""
    names = sorted(valid)
    if not names:
        return f"unknown {what} {given!r}; there is none to set here"
    close = difflib.get_close_matches(str(given), names, n=1, cutoff=0.6)
    hint = f" did you mean {close[0]!r}?" if close else ""
    return f"unknown {what} {given!r};{hint} choose one of: {', '.join(names)}"


def join_place(place: str, *parts: str | int) -> str:
    """`attacks[1]` + ('fakes', 'steps') -> `attacks[1].fakes.steps`."""
    for part in parts:
        place = f"{place}[{part}]" if isinstance(part, int) else f"{place}.{part}" if place else str(part)
    return place


def from_validation(error: ValidationError, place: str, model: type[BaseModel]) -> list[Problem]:
    """Pydantic's errors as problems below `place`; unknown keys get the valid ones."""
    problems = []
    for item in error.errors():
        where = join_place(place, *item["loc"])
        if item["type"] == "extra_forbidden":
            key = str(item["loc"][-1])
            valid = _fields_at(model, item["loc"][:-1])
            problems.append(Problem(where, choices(key, valid, what="key")))
        else:
            got = f" (got {_shown(item['input'])})" if item["loc"] else ""  # of several fields: the message says which
            problems.append(Problem(where, f"{_sentence(item)}{got}"))
    return problems


def _fields_at(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    """The keys that a model, or the model in its field `loc`, takes."""
    for part in loc:
        field = model.model_fields.get(str(part))
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return []
        model = field.annotation
    return sorted(model.model_fields)


def _sentence(item: Any) -> str:
    text = str(item["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    return text[0].lower() + text[1:] if text else "is not valid"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
