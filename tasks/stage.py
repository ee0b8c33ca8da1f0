"""A stage: one unit of work, frozen plain data. A stage in another's field is an edge of the graph.

The key of a stage is its content address: `<kind>-<16 hex of sha256>` over the canonical JSON of its kind,
version, own fields and the keys of its upstream stages, so it is equal on every machine and in every process.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from tasks.context import Context

Metrics = dict[str, float]
Numerics = Literal["cpu_fp32", "cuda_fp32", "cuda_amp"]
Role = Literal[
    "victim",
    "evaluator",
    "second_evaluator",
    "public_classifier",
    "defender",
    "attacker",
    "search",
    "confirm",
    "judge",
]
Group = Literal["data", "classifier", "gan", "inversion", "finetune", "attack", "metrics"]
GROUPS: tuple[Group, ...] = get_args(Group)
_LEAVES = frozenset({str, int, float, bool, type(None)})  # most of what fields hold, recognised at a glance


class Config(BaseModel):
    """Frozen plain data that may stand in a stage's field (never a module, a device or a callable)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a validated copy. Pydantic's own would skip validation and carry the memoised key over."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**{**fields, **(update or {})})

    def fields_of(self, kind: type[Config]) -> dict[str, Any]:
        """The fields that `kind`, a group of settings that this one has too, declares."""
        return {name: getattr(self, name) for name in kind.model_fields}


class Stage(Config):
    """One unit of work. A subclass sets `kind`, `version` and `group`, declares fields and writes `run`.

    `version` is bumped by hand whenever the same fields would give other results.
    """

    kind: ClassVar[str]
    version: ClassVar[int] = 1
    group: ClassVar[Group]
    trains: ClassVar[bool] = False  # has curves; gets an MLflow run of its own

    def run(self, ctx: Context) -> Metrics:
        """Do the work: read by `ctx.load`, write under `ctx.out`, return the final metrics."""
        raise NotImplementedError(f"{type(self).__name__} must implement run(ctx)")

    @cached_property
    def key(self) -> str:
        """Content address, e.g. `wgan-0123456789abcdef`."""
        payload = {"kind": self.kind, "version": self.version, "fields": self.config}
        text = json.dumps(payload, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return f"{self.kind}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    @cached_property
    def config(self) -> dict[str, Any]:
        """Own fields as plain JSON data; an upstream stage stands as `{"stage": key}`."""
        return {name: _plain(getattr(self, name)) for name in sorted(_names(type(self)))}

    @cached_property
    def upstream(self) -> tuple[Stage, ...]:
        """The stages in this stage's fields, each once, in field order."""
        found = {stage.key: stage for name in _names(type(self)) for stage in _stages(getattr(self, name))}
        return tuple(found.values())

    @property
    def scope(self) -> tuple[int, str, int]:
        """(seed, role, label): what, with a name, determines random draws. See `Context.generator`."""
        return (getattr(self, "seed", 0), getattr(self, "role", ""), getattr(self, "label", -1))

    def closure(self) -> dict[str, Stage]:
        """All stages that this one needs, itself included, upstream first, by key."""
        return closure_of([self])


class ComputeStage(Stage):
    """A stage that computes with torch; how it rounds is part of its definition."""

    seed: int = Field(0, ge=0, description="master seed of every random draw of this stage")
    numerics: Numerics = Field("cpu_fp32", description="device and precision")
    threads: int = Field(1, ge=1, le=256, description="CPU threads; sums are split by it, so it is part of the key")


def closure_of(stages: Iterable[Stage]) -> dict[str, Stage]:
    """All stages that any of these needs, these included, upstream first, by key; each is looked at once."""
    found: dict[str, Stage] = {}
    for stage in stages:
        _collect(stage, found)
    return found


@cache
def _names(kind: type[BaseModel]) -> tuple[str, ...]:
    return tuple(kind.model_fields)


def _plain(value: Any) -> Any:
    if type(value) in _LEAVES:
        return value
    if isinstance(value, Stage):
        return {"stage": value.key}
    if isinstance(value, BaseModel):
        return {name: _plain(getattr(value, name)) for name in sorted(_names(type(value)))}
    if isinstance(value, tuple | list):
        return [item if type(item) in _LEAVES else _plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in sorted(value.items())}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a stage's field holds plain data or stages, but got {type(value).__name__} {value=}")


def _stages(value: Any) -> Iterator[Stage]:
    if type(value) in _LEAVES:
        return
    if isinstance(value, Stage):
        yield value
    elif isinstance(value, BaseModel):
        for name in _names(type(value)):
            yield from _stages(getattr(value, name))
    elif isinstance(value, tuple | list):
        for item in value:
            if type(item) not in _LEAVES:
                yield from _stages(item)
    elif isinstance(value, dict):
        for _, item in sorted(value.items()):
            yield from _stages(item)


def _collect(stage: Stage, found: dict[str, Stage]) -> None:
    if stage.key in found:
        return
    for parent in stage.upstream:
        _collect(parent, found)
    found[stage.key] = stage
