"""What benchmarks/search_overhead.py measured: as a report, as a sentence of the docs, and as a small record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from analysis.formats import markdown_line
from benchmarks.measured import Kind, read_json, write_json

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


def report(record: Record) -> str:
    """Medians over the pairs, with the range, as Markdown."""

    def line(name: str, value: Callable[[Figures], float], unit: str = " s") -> str:
        values = [value(one) for one in record.pairs]
        return markdown_line([name, f"{median(values):.2f}{unit}", f"{min(values):.2f}–{max(values):.2f}{unit}"])

    return "\n".join(
        [
            markdown_line([f"{len(record.pairs)} pairs of {record.trials} trials", "median", "range"]),
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
    """The pairs, and what was run."""
    about = {"benchmark": "search_overhead", "aim": AIM, "spec": record.spec, "space": record.space}
    about |= {"trials": record.trials, "pairs": [pair._asdict() for pair in record.pairs]}
    write_json(about, path)


def read_record(path: Path) -> Record:
    """A file of `write_record`. SpecError if it is none."""
    return read_json(path, _parsed)


def _parsed(found: Any) -> Record:
    pairs = tuple(Figures(**{name: float(pair[name]) for name in Figures._fields}) for pair in found["pairs"])
    if not pairs:
        raise ValueError("holds no pair")
    return Record(int(found["trials"]), str(found["spec"]), str(found["space"]), pairs)


def met(record: Record) -> bool:
    """Whether the median ratio is within the aim."""
    return median(pair.ratio for pair in record.pairs) <= AIM


def sentence(record: Record) -> str:
    """What the docs say of it, in a line."""
    ratios = [pair.ratio for pair in record.pairs]
    ours, bare = (median(values) for values in zip(*((pair.ours, pair.bare) for pair in record.pairs), strict=True))
    count = f"{len(ratios)} pair{'s' * (len(ratios) != 1)} of {record.trials} trials"
    return (
        f"A trial of `decoygrid search` takes {median(ratios):.2f} times ({min(ratios):.2f}–{max(ratios):.2f}) as long "
        f"as the same work in a bare Ray Tune loop: {ours:.1f} s against {bare:.1f} s, medians of {count}."
    )


KIND = Kind(write_record, read_record, report, sentence, met)
