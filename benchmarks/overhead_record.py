"""What benchmarks/search_overhead.py measured: as a report, as a sentence of the docs, and as a small record."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from analysis.formats import markdown_line
from grid.problems import Problem, SpecError
from grid.runner import git_revision, versions

AIM = 1.5  # ratio of both, at most


class Figures(NamedTuple):
    """Of a pair, in seconds a trial: wall time of both from one trial's end to the next's, and the bare one's work."""

    ours: float
    bare: float
    work: float

    @property
    def ratio(self) -> float:
        return self.ours / self.bare


class Record(NamedTuple):
    """What was measured, and on what."""

    trials: int
    spec: str
    space: str
    pairs: tuple[Figures, ...]


def report(found: Sequence[Figures], trials: int) -> str:
    """Medians over the pairs, with the range, as Markdown."""

    def line(name: str, value: Callable[[Figures], float], unit: str = " s") -> str:
        values = [value(one) for one in found]
        return markdown_line([name, f"{median(values):.2f}{unit}", f"{min(values):.2f}–{max(values):.2f}{unit}"])

    return "\n".join(
        [
            markdown_line([f"{len(found)} pairs of {trials} trials", "median", "range"]),
            "|---|--:|--:|",
            line("decoygrid search, a trial", lambda one: one.ours),
            line("bare Tune loop, a trial", lambda one: one.bare),
            line("ratio", lambda one: one.ratio, ""),
            line("difference", lambda one: one.ours - one.bare),
            line("fine-tune and measurements alone", lambda one: one.work),
            line("beyond them, decoygrid search", lambda one: one.ours - one.work),
            line("beyond them, bare Tune loop", lambda one: one.bare - one.work),
        ]
    )


def write_record(record: Record, path: Path) -> None:
    """The pairs, what was run, and on what: a small file for docs/results/records."""
    about = {"benchmark": "search_overhead", "aim": AIM, "spec": record.spec, "space": record.space}
    about |= {"trials": record.trials, "pairs": [pair._asdict() for pair in record.pairs]}
    about |= {"cpus": os.cpu_count(), "git": git_revision(), "versions": versions(), "platform": platform.machine()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(about, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_record(path: Path) -> Record:
    """A file of `write_record`. SpecError if it is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        pairs = tuple(Figures(**{name: float(pair[name]) for name in Figures._fields}) for pair in found["pairs"])
        record = Record(int(found["trials"]), str(found["spec"]), str(found["space"]), pairs)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SpecError([Problem(f"--from {path}", f"is no record of this benchmark ({error!r})")]) from error
    if not pairs:
        raise SpecError([Problem(f"--from {path}", "holds no pair")])
    return record


def sentence(record: Record) -> str:
    """What the docs say of it, in a line."""
    ratios = [pair.ratio for pair in record.pairs]
    ours, bare = (median(values) for values in zip(*((pair.ours, pair.bare) for pair in record.pairs), strict=True))
    count = f"{len(ratios)} pair{'s' * (len(ratios) != 1)} of {record.trials} trials"
    return (
        f"A trial of `decoygrid search` takes {median(ratios):.2f} times ({min(ratios):.2f}–{max(ratios):.2f}) as long "
        f"as the same work in a bare Ray Tune loop: {ours:.1f} s against {bare:.1f} s, medians of {count}."
    )


def check_writable(path: Path | None) -> None:
    """SpecError before anything is measured for a file that cannot be written."""
    if path is not None and (path.is_dir() or not os.access(_first_there(path.parent), os.W_OK)):
        raise SpecError([Problem(f"--record {path}", "cannot be written")])


def _first_there(folder: Path) -> Path:
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())
