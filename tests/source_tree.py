"""The project's source as syntax trees: which module imports which, lazily or not."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("analysis", "grid", "search_spaces", "tasks")


class Import(NamedTuple):
    """One import: who, what, on which line, and whether it waits until a function runs (or a type checker)."""

    module: str
    target: str
    line: int
    lazy: bool


@cache
def modules() -> dict[str, Path]:
    """Every module of the packages, by dotted name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            parts = path.relative_to(REPOSITORY).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


@cache
def imports(module: str) -> tuple[Import, ...]:
    """All imports of a module, `lazy("tasks.x")` and those for type checkers among them."""
    return tuple(_walk(module, tree(module), lazy=False))


def _walk(module: str, node: ast.AST, *, lazy: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        for target in _targets(module, child):
            yield Import(module, target, getattr(child, "lineno", 0), lazy or isinstance(child, ast.Call))
        waits = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            for part in child.body:
                yield from _walk(module, ast.Module([part], []), lazy=True)
            for part in child.orelse:
                yield from _walk(module, ast.Module([part], []), lazy=lazy)
        else:
            yield from _walk(module, child, lazy=lazy or waits)


def _targets(module: str, node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"{module}:{node.lineno} has a relative import"
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            yield inner if inner in modules() else str(node.module)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "lazy":
        yield from (str(value.value) for value in node.args if isinstance(value, ast.Constant))


def closure(module: str, package: str) -> list[str]:
    """Modules of `package` that a module reaches through imports of any sort, itself included, sorted."""
    found, todo = set(), [module]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += [i.target for i in imports(name) if i.target.split(".")[0] == package and i.target in modules()]
    return sorted(found)
