"""What benchmarks/stage_overhead.py measured: as a report, as a sentence of the docs, and as a small record."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from analysis.formats import markdown_line
from benchmarks.measured import Kind, read_json, write_json

AIM_RATIO = 3.0  # seconds a stage by us over those of a bare task, at most
AIM_GROWTH = 1.5  # seconds a stage of the most stages over those of the fewest: linear
AIM_FOUND = 10.0  # seconds until all of 10,000 stages are found to be done


class Figures(NamedTuple):
    """Of so many stages: seconds by us and by bare tasks, MiB that the driver grew by, seconds to find all done."""

    stages: int
    ours: float
    bare: float
    memory: float
    found: float

    @property
    def ratio(self) -> float:
        return self.ours / self.bare


class Record(NamedTuple):
    """What was measured, by count."""

    figures: tuple[Figures, ...]

    @property
    def growth(self) -> float:
        """Seconds a stage with the most stages, over those with the fewest."""
        fewest, most = (choose(self.figures, key=lambda one: one.stages) for choose in (min, max))
        return (most.ours / most.stages) / (fewest.ours / fewest.stages)


def met(record: Record) -> bool:
    """Whether all aims are met."""
    quick = all(one.found <= AIM_FOUND * max(1.0, one.stages / 10000) for one in record.figures)
    return quick and record.growth <= AIM_GROWTH and all(one.ratio <= AIM_RATIO for one in record.figures)


def report(record: Record) -> str:
    """A line for each count, as Markdown."""
    lines = [
        markdown_line(
            ["stages", "decoygrid, each", "bare Ray task, each", "ratio", "driver's memory", "all found done"]
        ),
        "|--:|--:|--:|--:|--:|--:|",
    ]
    for one in record.figures:
        each = [f"{1000 * seconds / one.stages:.2f} ms" for seconds in (one.ours, one.bare)]
        lines.append(
            markdown_line([str(one.stages), *each, f"{one.ratio:.2f}", f"{one.memory:+.0f} MiB", f"{one.found:.1f} s"])
        )
    return "\n".join(lines)


def sentence(record: Record) -> str:
    """What the docs say of it, in a line."""
    most = max(record.figures, key=lambda one: one.stages)
    ours, bare = 1000 * most.ours / most.stages, 1000 * most.bare / most.stages
    return (
        f"A stage that writes one small file costs {ours:.1f} ms, {most.ratio:.1f} times as much as a bare Ray task "
        f"that writes it ({bare:.1f} ms; {most.stages:,} stages); that all of them are done is found in "
        f"{most.found:.1f} s, with every file read and hashed."
    )


def write_record(record: Record, path: Path) -> None:
    """The figures and the aims."""
    aims = {"ratio": AIM_RATIO, "growth": AIM_GROWTH, "found": AIM_FOUND}
    figures = [one._asdict() for one in record.figures]
    write_json({"benchmark": "stage_overhead", "figures": figures, "aims": aims}, path)


def read_record(path: Path) -> Record:
    """A file of `write_record`. SpecError if it is none."""
    return read_json(path, _parsed)


def _parsed(found: Any) -> Record:
    numbers = [{name: float(one[name]) for name in Figures._fields} for one in found["figures"]]
    figures = tuple(Figures(int(one.pop("stages")), **one) for one in numbers)
    if not figures or not all(one.stages > 0 and one.bare > 0 for one in figures):
        raise ValueError("there is at least one line of figures, and counts and seconds are above 0")
    return Record(figures)


KIND = Kind(write_record, read_record, report, sentence, met)
