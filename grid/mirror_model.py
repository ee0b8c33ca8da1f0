"""What the MLflow mirror is told: the grid it shows, and descriptions of the runs that shall be there."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from tasks.artifact import Artifact

VIEW_VERSION = 4  # bump when the same records are to be shown in another way: all runs are then sent again

Record = Mapping[str, Any]
Row = Mapping[str, Any]


class Point(NamedTuple):
    """One value of a metric; `timestamp` in milliseconds."""

    key: str
    value: float
    timestamp: int
    step: int


@dataclass(frozen=True)
class File:
    """An artifact to be rendered when its run is sent; `source` says what it is made from."""

    name: str
    source: str
    render: Callable[[], bytes]


@dataclass(frozen=True)
class RunView:
    """One run as it shall be. `source` determines `points`; times are in milliseconds."""

    key: str
    parent: str | None
    name: str
    status: str
    started: int
    ended: int
    note: str
    params: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    points: Callable[[], list[Point]] = list
    files: tuple[File, ...] = ()

    @cached_property
    def digest(self) -> str:
        """Of all that is shown, without rendering it. Not of `started`, which MLflow cannot change later."""
        files = [(file.name, file.source) for file in self.files]
        about = [self.key, self.name, self.status, self.ended, self.note, dict(self.params)]
        return digest_of([VIEW_VERSION, about, self.source, files])


@dataclass(frozen=True)
class Grid:
    """All that views are made from. `failed`: a line per failed stage, by key; `live`: it still runs."""

    document: Mapping[str, Any]
    records: Mapping[str, Record]
    load: Callable[[str], Artifact]
    rows: Sequence[Row] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    attachments: Mapping[str, Path] = field(default_factory=dict)
    private_images: bool = False
    live: bool = False

    @property
    def key(self) -> str:
        """Identity of the parent run: there is one grid per spec name."""
        return f"grid/{self.document['name']}"

    def status(self, missing: Sequence[str]) -> str:
        """MLflow's word for a run that lacks the stages `missing`."""
        if not missing:
            return "FINISHED"
        if any(key in self.failed for key in missing):
            return "FAILED"
        return "RUNNING" if self.live else "KILLED"

    def times(self, keys: Sequence[str]) -> tuple[int, int]:
        """(start, end) over the finished stages among `keys`, in ms; if there are none, of the document."""
        found = [self.records[key] for key in keys if key in self.records]
        written = self.document.get("written", 0.0)
        start = min((record["started"] for record in found), default=written)
        end = max((record["ended"] for record in found), default=written)
        return round(1000 * start), round(1000 * end)

    def digests(self, keys: Sequence[str]) -> list[str]:
        """Digests of the records among `keys`: a stage computed again has another one."""
        return [self.records[key]["digest"] if key in self.records else "" for key in keys]

    def has(self, key: str, name: str) -> bool:
        """Whether the stage is done and left the file `name`."""
        return key in self.records and name in self.records[key]["files"]


def digest_of(content: Any) -> str:
    """Short digest of plain data."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


def is_number(value: Any) -> bool:
    """A finite number (NaN and None mean: not measured)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def text(value: Any) -> str:
    """A setting as a person would write it: 1.0 is '1'. At most 500 characters, as every server takes."""
    if isinstance(value, float):
        return f"{value:.10g}"
    return (value if isinstance(value, str) else json.dumps(value))[:500]
