"""Entries of a spec: a plain name or a mapping with `name:`, checked against what the named thing takes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple, get_args

from pydantic import ValidationError, create_model

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
    if shown is not None and (not isinstance(shown, str) or not shown.strip()):
        problems.append(Problem(join_place(place, "as"), f"is the row's name, a text, but got {shown!r}"))
        shown = None
    settings = {str(key): item for key, item in value.items() if key not in ("name", "as")}
    return Entry(name, shown, settings, place)


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
    try:
        return model(**settings)
    except ValidationError as error:
        problems.extend(from_validation(error, place, model))
        return None


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


def _holds_stage(annotation: object) -> bool:
    if isinstance(annotation, type):
        return issubclass(annotation, Stage)
    return any(_holds_stage(part) for part in get_args(annotation))
