"""Read a spec's YAML: line numbers for error messages, `--set` overrides, shipped specs by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from grid.problems import Problem, SpecError, choices, join_place

SPECS = Path(__file__).parent / "specs"
BUDGETS = Path(__file__).parent / "budgets"


class Source:
    """The plain content of a spec file and the line of every path in it."""

    def __init__(self, path: Path, content: dict[str, Any], lines: dict[str, int]) -> None:
        self.path, self.content, self._lines = path, content, lines

    def place(self, where: str) -> str:
        """`orl.yaml:12 attacks[1].name`, with the line of the nearest enclosing path that has one."""
        probe = where
        while probe and probe not in self._lines:
            probe = probe[: max(probe.rfind("."), probe.rfind("["), 0)]
        line = self._lines.get(probe)
        return f"{self.path}{f':{line}' if line else ''} {where}".rstrip()


def read_source(spec: str, overrides: Sequence[str] = ()) -> Source:
    """Read the file `spec`, or the shipped spec of that name; SpecError if it is not there or not YAML."""
    path = Path(spec)
    if not path.exists() and (SPECS / f"{spec.removesuffix('.yaml')}.yaml").is_file() and "/" not in spec:
        path = SPECS / f"{spec.removesuffix('.yaml')}.yaml"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        shipped = [p.stem for p in SPECS.glob("*.yaml")]
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error.strerror)
        raise SpecError(
            [Problem(spec, f"{reason}; give a path, or a shipped spec: {', '.join(sorted(shipped))}")]
        ) from error
    except UnicodeDecodeError as error:
        raise SpecError([Problem(spec, f"is not UTF-8 text ({error.reason} at byte {error.start})")]) from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # a date such as 2020-99-99 is a ValueError
        raise SpecError([Problem(_mark(spec, error), f"is not valid YAML: {_reason(error)}")]) from error
    if "&" in text and _goes_in_circles(content):
        raise SpecError([Problem(spec, "an alias (*name) stands inside what it names; a spec cannot contain itself")])
    if not isinstance(content, dict):
        raise SpecError(
            [Problem(spec, f"a spec is a mapping of keys to values, but this holds {type(content).__name__}")]
        )
    lines: dict[str, int] = {}
    problems = _index(node, "", lines, spec)
    if problems:
        raise SpecError(problems)
    for override in overrides:
        _override(content, override)
    return Source(path, content, lines)


def read_budget(name: object) -> dict[str, Any]:
    """The step counts of a named budget; SpecError for an unknown name."""
    known = sorted(p.stem for p in BUDGETS.glob("*.yaml"))
    if name not in known:
        raise SpecError([Problem("budget", choices(name, known, what="budget"))])
    content = yaml.safe_load((BUDGETS / f"{name}.yaml").read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}


def _goes_in_circles(value: object, inside: tuple[int, ...] = ()) -> bool:
    """Whether YAML aliases make a list or mapping contain itself."""
    if id(value) in inside:
        return True
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_goes_in_circles(part, (*inside, id(value))) for part in parts)


def _index(node: yaml.Node | None, place: str, lines: dict[str, int], spec: str) -> list[Problem]:
    """Note the line of every path; a key given twice is a problem (YAML would silently take the last)."""
    problems: list[Problem] = []
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            where = join_place(place, str(key.value))
            if where in lines:
                line = key.start_mark.line + 1
                problems.append(Problem(f"{spec}:{line} {where}", f"is given twice; first on line {lines[where]}"))
            lines[where] = key.start_mark.line + 1
            problems += _index(value, where, lines, spec)
    elif isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            where = join_place(place, i)
            lines[where] = item.start_mark.line + 1
            problems += _index(item, where, lines, spec)
    return problems


def _override(content: dict[str, Any], override: str) -> None:
    """Apply `path=value` (`budget=smoke`, `attacks.0.steps=5`); the value is read as YAML."""
    path, equals, text = override.partition("=")
    place = f"--set {override}"
    parts = [part for part in re.split(r"[.\[\]]+", path) if part]
    if not equals or not parts:
        raise SpecError([Problem(place, "expected path=value, for example budget=smoke or attacks.0.steps=50")])
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise SpecError([Problem(place, f"the value is not valid YAML: {_reason(error)}")]) from error
    target: Any = content
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        if isinstance(target, list):
            if not part.isdigit() or int(part) >= len(target):
                raise SpecError([Problem(place, f"{part!r} is no position in a list of {len(target)}")])
            if not last and isinstance(target[int(part)], str):
                target[int(part)] = {"name": target[int(part)]}
            key: Any = int(part)
        elif isinstance(target, dict):
            key = int(part) if part.isdigit() and int(part) in target else part
            if not last and isinstance(target.get(part), str):
                target[part] = {"name": target[part]}
        else:
            raise SpecError([Problem(place, f"{'.'.join(parts[:depth])} is no mapping or list")])
        if last:
            target[key] = value
        else:
            target = target[key] if isinstance(target, list) else target.setdefault(key, {})


def _mark(spec: str, error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f"{spec}:{mark.line + 1}:{mark.column + 1}" if mark is not None else spec


def _reason(error: Exception) -> str:
    return str(getattr(error, "problem", None) or getattr(error, "reason", None) or error)
