"""A search space's file: where it is, what it defines, and what its comments say."""

from __future__ import annotations

import importlib.util
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import search_spaces
from grid.problems import Problem, SpecError, choices

SPACES = Path(search_spaces.__file__).parent


def space_names() -> list[str]:
    """The shipped spaces."""
    return sorted(path.stem for path in SPACES.glob("[a-z]*.py"))


def space_path(name: str) -> Path:
    """The file of a shipped space, by its name, or of the user's own, by its path. SpecError if there is none."""
    path, shipped = Path(name), SPACES / f"{name.removesuffix('.py')}.py"
    if path.is_file() and (path.suffix or not shipped.is_file()):
        return path
    if "/" not in name and shipped.is_file():
        return shipped
    if "/" in name or path.suffix:
        text = f"no such file; give the path of a Python file, or a shipped space: {', '.join(space_names())}"
        raise SpecError([Problem(f"--space {name}", text)])
    valid = choices(name, space_names(), what="space")
    raise SpecError([Problem("--space", f"{valid}; or give the path of a file of your own")])


def about_space(path: Path) -> str:
    """The comment in a space's first line."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.lstrip("# ") if first.startswith("#") else ""


def reasons_of(path: Path) -> dict[str, str]:
    """The comment on the line of each key of SPACE."""
    found: dict[str, str] = {}
    key = ""
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type == tokenize.STRING and token.line.lstrip().startswith(token.string):
            key = token.string.strip("\"'")
        elif token.type == tokenize.COMMENT and key and not token.line.lstrip().startswith("#"):
            found.setdefault(key, token.string.lstrip("# "))
        elif token.type == tokenize.NL:
            continue
    return found


def execute(path: Path) -> dict[str, Any]:
    """The names that a space's file defines. Running it imports ray.tune, so this waits until somebody asks.

    SpecError, with the line, if the file fails.
    """
    spec = importlib.util.spec_from_file_location(f"decoygrid_space_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise SpecError([Problem(f"--space {path}", "is no Python file; its name must end in .py")])
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a user's file may fail in any way
        line = next((frame for frame in reversed(list(_lines(error))) if frame[0] == str(path)), (str(path), 0))[1]
        where = f"{path}:{line}" if line else str(path)
        raise SpecError([Problem(where, f"{type(error).__name__}: {error}")]) from error
    return dict(vars(module))


def _lines(error: BaseException) -> Iterator[tuple[str, int]]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame.f_code.co_filename, trace.tb_lineno
        trace = trace.tb_next
    if isinstance(error, SyntaxError):
        yield str(error.filename), error.lineno or 0
