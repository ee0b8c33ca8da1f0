"""What a submitted job takes along: this code, the spec with its overrides, and the weights that it names.

A zip that is the same for the same content, so that a cluster that has it is not sent it again. Nothing else of the
current folder travels: no results, no store, no environment, and never photographs.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from grid.data_checks import find_file
from grid.problems import Problem, SpecError, join_place
from grid.spec import Spec

PACKAGES = ("analysis", "grid", "search_spaces", "tasks")
WEIGHTS = ("weights", "critic_weights", "inception_weights")  # keys whose values are files
FOLDERS = ("root", "private", "public")  # keys of a dataset whose values are folders
_OLD = (1980, 1, 1, 0, 0, 0)


class Bundle(NamedTuple):
    """A zip, the path of the spec in it, and the paths that are looked for on the cluster instead."""

    data: bytes
    spec: str
    left: tuple[str, ...]


def make_bundle(spec: Spec) -> Bundle:
    """Pack a checked spec with the code. SpecError lists every path that cannot travel."""
    paths = _Paths(spec)
    content = paths.rewritten({**spec.source.content, "name": spec.name})
    if paths.problems:
        raise SpecError([Problem(spec.source.place(p.place), p.message) for p in paths.problems])
    name = f"spec/{spec.name}.yaml"
    files = {f"spec/{inside}": path.read_bytes() for inside, path in paths.files.items()}
    files[name] = yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode()
    return Bundle(pack(files), name, tuple(paths.left))


def pack(files: Mapping[str, bytes]) -> bytes:
    """A zip of this code and of these files, by their names in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in (*_code(), *sorted(files.items())):
            info = zipfile.ZipInfo(name, _OLD)
            info.external_attr = 0o644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return buffer.getvalue()


def _code() -> Iterator[tuple[str, bytes]]:
    root = Path(__file__).resolve().parent.parent
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(root).as_posix(), path.read_bytes()


class _Paths:
    """The paths of a spec: files are taken along under new names, folders have to be on the cluster."""

    def __init__(self, spec: Spec) -> None:
        self._folder = spec.folder
        self.files: dict[str, Path] = {}
        self.left: list[str] = []
        self.problems: list[Problem] = []

    def rewritten(self, content: Mapping[str, Any]) -> Any:
        return {
            key: self._datasets(value) if key == "dataset" else self._value(value, str(key), str(key))
            for key, value in content.items()
        }

    def _value(self, value: Any, place: str, key: str) -> Any:
        if isinstance(value, dict):
            return {name: self._value(one, join_place(place, str(name)), str(name)) for name, one in value.items()}
        if isinstance(value, list):
            return [self._value(one, join_place(place, i), key) for i, one in enumerate(value)]
        return self._file(value, place) if key in WEIGHTS and isinstance(value, str) else value

    def _file(self, value: str, place: str) -> str:
        path = find_file(value, self._folder)
        if path.is_file():
            try:
                digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
            except OSError as error:
                self.problems.append(Problem(place, f"{str(path)!r} cannot be read: {error.strerror or error}"))
                return value
            name = f"files/{digest}-{path.name}"
            self.files[name] = path
            return name
        return self._on_the_cluster(value, place, "no such file here, and a relative path means none on the cluster")

    def _datasets(self, value: Any) -> Any:
        for i, one in enumerate(value if isinstance(value, list) else [value]):
            place = join_place("dataset", i) if isinstance(value, list) else "dataset"
            for key in FOLDERS if isinstance(one, dict) else ():
                if isinstance(one.get(key), str):
                    text = "photographs do not travel with a job; put the folder where all nodes find it"
                    self._on_the_cluster(one[key], join_place(place, key), text)
        return value

    def _on_the_cluster(self, value: str, place: str, why_not: str) -> str:
        if value.startswith(("/", "~/")):
            self.left.append(value)
        else:
            self.problems.append(Problem(place, f"{value!r}: {why_not}, and name its absolute path there"))
        return value
