"""Entries of a spec: a plain name or a mapping with `name:`, checked against what the named thing takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError, create_model

from grid.problems import Problem, choices, from_validation, join_place
from tasks.stage import Config, Stage

# Fields of a stage that the plan fills in, never a person.
PLUMBING = {
    "seed",
    "numerics",
    "threads",
    "role",
    "label",
    "people",
    "inception",
    "channels",
    "size",
}


class Entry(NamedTuple):
    """One item of `attacks:` or `defenses:` before its settings are checked."""

    name: str
    shown: str | None  # `as:`
    settings: dict[str, Any]
    place: str


def parse_entry(
    value: object, place: str, known: Mapping[str, object], what: str, problems: list[Problem]
) -> Entry | None:
    """`gmi` or `{name: gmi, as: ..., steps: 5}`; None (and a problem) if it is neither or unknown."""
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, dict):
        problems.append(Problem(place, f"expected a name or a mapping with `name:`, got {value!r}"))
        return None
    if "name" not in value:
        problems.append(Problem(place, f"has no `name:`; choose one of: {', '.join(sorted(known))}"))
        return None
    name, shown = value["name"], value.get("as")
    if not isinstance(name, str) or name not in known:
        problems.append(Problem(join_place(place, "name"), choices(name, known, what=what)))
        return None
    shown = shown_name(shown, join_place(place, "as"), problems)
    settings = {str(key): item for key, item in value.items() if key not in ("name", "as")}
    return Entry(name, shown, settings, place)


def shown_name(value: object, place: str, problems: list[Problem]) -> str | None:
    """What stands after `as:`, without blanks around it or doubled in it; None if nothing (or no name) does."""
    name = " ".join(value.split()) if isinstance(value, str) else ""
    if value is not None and not (name and name.isprintable()):
        problems.append(Problem(place, f"is a name to be shown, a text, but got {value!r}"))
        return None
    return name or None


@cache
def settings_model(stage: type[Stage]) -> type[Config]:
    """The fields of a stage that a person may set: all but its upstream stages and the plan's own."""
    fields: dict[str, Any] = {
        name: (field.annotation, field)
        for name, field in stage.model_fields.items()
        if name not in PLUMBING and not _holds_stage(field.annotation)
    }
    return create_model(f"{stage.__name__}Settings", __base__=Config, **fields)


def check_settings(
    model: type[Config], settings: Mapping[str, Any], place: str, problems: list[Problem]
) -> Config | None:
    """Validate settings; problems name the valid keys. Returns the validated model or None."""
    if unnamed := [key for key in settings if not isinstance(key, str)]:
        problems.append(Problem(place, f"keys are texts, but got {', '.join(map(repr, unnamed))}"))
        return None
    found = truth_values(model, settings, place)
    told = {problem.place for problem in found}
    try:
        checked = model(**settings)
    except ValidationError as error:
        found += [problem for problem in from_validation(error, place, model) if problem.place not in told]
    problems.extend(found)
    return None if found else checked


def truth_values(model: type[BaseModel], settings: Mapping[str, Any], place: str) -> list[Problem]:
    """Settings that are numbers and got true or false, which pydantic and Python take for 1 and 0."""
    found = []
    for name, value in settings.items():
        where = join_place(place, str(name))
        annotation = model.model_fields[name].annotation if name in model.model_fields else None
        if isinstance(value, Mapping) and isinstance(annotation, type) and issubclass(annotation, BaseModel):
            found += truth_values(annotation, value, where)
        elif any(isinstance(item, bool) for item in (value if isinstance(value, list) else [value])):
            kinds = set(_parts(annotation))
            if kinds & {int, float} and not kinds & {bool, Any}:
                text = f"must be a number, got {value!r} (YAML takes yes, no, on and off for true and false)"
                found.append(Problem(where, text))
    return found


def given(config: Config) -> dict[str, Any]:
    """The settings that a person or a budget gave, validated, without defaults."""
    return {name: getattr(config, name) for name in config.model_fields_set}


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`; mappings inside are merged likewise."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


def _parts(annotation: object) -> Iterator[object]:
    """The plain types in an annotation: float and None of `float | None`."""
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)


def _holds_stage(annotation: object) -> bool:
    if isinstance(annotation, type):
        return issubclass(annotation, Stage)
    return any(_holds_stage(part) for part in get_args(annotation))
