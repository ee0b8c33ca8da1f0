"""The lock of stage versions: a stage whose code changed must say whether its results did.

stage_versions.json holds, for every stage kind, its version and a digest of its source closure: all modules of
`tasks` that its module reaches through imports, without comments, docstrings and field descriptions. When the
closure changes, either bump the stage's `version` (its key changes, everything is computed again) and run

    python -m tests.stage_versions --write

or, if the results are the same to the last digit, say so:

    python -m tests.stage_versions --same-results
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.source_tree import closure, modules, tree

LOCK = Path(__file__).with_suffix(".json")
HOW = (
    "if the results change, bump `version` in the stage and run `python -m tests.stage_versions --write`; "
    "if they are the same to the last digit, run `python -m tests.stage_versions --same-results`"
)
Lock = dict[str, Any]  # {"modules": {module: digest}, "stages": {kind: {"module", "version", "digest"}}}


class Change(NamedTuple):
    """A stage that is not what the lock says, and what to do about it."""

    kind: str
    bumped: bool  # or new, or gone
    text: str


def stage_classes() -> dict[str, type[Any]]:
    """Every stage of `tasks` that has a kind of its own, by kind."""
    from tasks.stage import Stage

    for module in modules():
        if module.split(".")[0] == "tasks":
            importlib.import_module(module)
    found: dict[str, type[Any]] = {}
    for stage in _subclasses(Stage):
        if "kind" in vars(stage) and stage.__module__.split(".")[0] == "tasks":
            if found.get(stage.kind, stage) is not stage:  # a stage with two bases is met twice
                raise ValueError(f"two stages are of kind {stage.kind!r}: {found[stage.kind]} and {stage}")
            found[stage.kind] = stage
    return dict(sorted(found.items()))


def current() -> Lock:
    """The lock as the code is now."""
    stages, used = {}, set()
    for kind, stage in stage_classes().items():
        reached = closure(stage.__module__, "tasks")
        used |= set(reached)
        text = "\n".join(f"{module} {digest(tree(module))}" for module in reached)
        stages[kind] = {"module": stage.__module__, "version": stage.version, "digest": _sha(text)}
    return {"modules": {module: digest(tree(module)) for module in sorted(used)}, "stages": stages}


def saved() -> Lock:
    content: Lock = json.loads(LOCK.read_text(encoding="utf-8"))
    return content


def changes(lock: Lock, now: Lock) -> list[Change]:
    """What differs, a line per stage, with the modules that differ."""
    found = []
    for kind in sorted(lock["stages"].keys() | now["stages"].keys()):
        old, new = lock["stages"].get(kind), now["stages"].get(kind)
        if old is None or new is None:
            word = "is new" if old is None else "is gone"
            found.append(Change(kind, True, f"{kind} {word}; run `python -m tests.stage_versions --write`"))
        elif old["version"] != new["version"]:
            text = f"{kind} has version {new['version']}, the lock has {old['version']}"
            found.append(Change(kind, True, f"{text}; run `python -m tests.stage_versions --write`"))
        elif old["digest"] != new["digest"]:
            differing = _differing(new["module"], lock, now)
            text = f"the code of {kind} (version {new['version']}) changed in {', '.join(differing)}"
            found.append(Change(kind, False, f"{text}: {HOW}"))
    return found


def _differing(module: str, lock: Lock, now: Lock) -> list[str]:
    reached = closure(module, "tasks")
    return [m for m in reached if lock["modules"].get(m) != now["modules"][m]] or ["what it imports"]


def digest(node: ast.AST) -> str:
    """Digest of a syntax tree: equal for equal code, whatever its layout, comments and documentation."""
    return _sha(repr(_plain(node)))[:32]


def _plain(node: object) -> object:
    """A tree as nested tuples; fields that are empty or that only some Python versions have are left out."""
    if isinstance(node, ast.AST):
        fields = {
            name: getattr(node, name, None) for name in node._fields if name not in ("ctx", "kind", "type_comment")
        }
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            fields["body"] = _without_docstring(node.body)
        if isinstance(node, ast.Call):
            fields["keywords"] = [k for k in node.keywords if k.arg != "description"]
        kept = ((name, _plain(value)) for name, value in sorted(fields.items()) if value not in (None, []))
        return (type(node).__name__, *kept)
    if isinstance(node, list):
        return tuple(_plain(item) for item in node)
    return (type(node).__name__, repr(node))


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0] if body else None
    is_text = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    return body[1:] if is_text else body


def _subclasses(cls: type[Any]) -> Iterator[type[Any]]:
    for child in cls.__subclasses__():
        yield child
        yield from _subclasses(child)


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def updated(lock: Lock, now: Lock, *, bumped: bool) -> Lock:
    """The lock with the stages taken over that were bumped (or are new or gone), or else those that were not."""
    stages = dict(lock["stages"])
    for change in changes(lock, now):
        if change.bumped == bumped:
            stages.pop(change.kind, None)
            if change.kind in now["stages"]:
                stages[change.kind] = now["stages"][change.kind]
    left = changes({**lock, "stages": stages}, now)
    return {"modules": lock["modules"] if left else now["modules"], "stages": dict(sorted(stages.items()))}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--write", action="store_true", help="take over stages whose version was bumped")
    choice.add_argument("--same-results", action="store_true", help="take over changed code; no result changes")
    options = parser.parse_args()
    lock = saved() if LOCK.exists() else {"modules": {}, "stages": {}}
    now = current()
    if options.write or options.same_results:
        lock = updated(lock, now, bumped=options.write)
        LOCK.write_text(json.dumps(lock, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    left = changes(lock, now)
    for change in left:
        print(change.text)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
