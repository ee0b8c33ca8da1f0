"""What the benchmarks have in common: the options --record and --from, the record's file, and the exit codes."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from grid.problems import Problem, SpecError
from grid.runner import git_revision, versions

Record = TypeVar("Record")


class NotMeasuredError(Exception):
    """Nothing was measured, and why; no fault of the command line."""


class Kind(NamedTuple, Generic[Record]):
    """What a benchmark makes of its record."""

    write: Callable[[Record, Path], None]
    read: Callable[[Path], Record]
    report: Callable[[Record], str]
    sentence: Callable[[Record], str]  # what the docs say of it, in a line
    met: Callable[[Record], bool]  # whether its aims are met


def run_command(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    kind: Kind[Record],
    prepare: Callable[[argparse.Namespace], Callable[[], Record]],
) -> int:
    """A benchmark's command: 0 if its aims are met, 1 if not or if nothing could be measured, 2 on bad input.

    prepare: checks the options, raises SpecError with all that is wrong, and gives the work.
    """
    parser.add_argument("--record", type=Path, help="also write the figures into this JSON file")
    parser.add_argument("--from", dest="recorded", type=Path, help="measure nothing: print this record's report")
    options = parser.parse_args(arguments)
    try:
        if options.recorded is not None:
            return _said(kind, kind.read(options.recorded))
        check_writable(options.record)
        measure = prepare(options)
    except SpecError as error:
        return refuse(error)
    try:
        record = measure()
    except NotMeasuredError as error:
        print(error, file=sys.stderr)
        return 1
    if options.record is not None:
        kind.write(record, options.record)
    return _said(kind, record)


def refuse(error: SpecError) -> int:
    """Say what is wrong with the input; the exit code."""
    for problem in error.problems:
        print(f"{problem.place}: {problem.message}", file=sys.stderr)
    return 2


def check_writable(path: Path | None) -> None:
    """SpecError before anything is measured for a file that cannot be written."""
    if path is not None and (path.is_dir() or not os.access(_first_there(path.parent), os.W_OK)):
        raise SpecError([Problem(f"--record {path}", "cannot be written")])


def write_json(about: Mapping[str, Any], path: Path) -> None:
    """A record, and on what it was measured: a small file for docs/results/records/benchmarks."""
    machine = {"cpus": os.cpu_count(), "git": git_revision(), "versions": versions(), "platform": platform.machine()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(machine | dict(about), indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_json(path: Path, parse: Callable[[Any], Record]) -> Record:
    """`parse` of a file's JSON. SpecError if there is none, or if `parse` finds that it is no such record."""
    try:
        return parse(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SpecError([Problem(f"--from {path}", f"is no record of this benchmark ({error!r})")]) from error


def _said(kind: Kind[Record], record: Record) -> int:
    print(kind.report(record))
    print(f"\n{kind.sentence(record)}")
    return 0 if kind.met(record) else 1


def _first_there(folder: Path) -> Path:
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())
