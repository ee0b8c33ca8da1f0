"""What benchmarks/schedule.py measured: as a report, as a sentence of the docs, and as a small record."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from analysis.formats import markdown_line
from benchmarks.measured import Kind, read_json, write_json

AIM = 0.2  # by which a makespan may differ


class Figures(NamedTuple):
    """Makespans in seconds on so many workers."""

    workers: int
    simulated: float  # from the records of the first run, on one worker
    replayed: float  # simulated from the durations of the run that was measured
    measured: float
    stretch: float  # seconds of all stages in the run that was measured, over those in the first

    @property
    def error(self) -> float:
        """Of the simulated one, relative to the measured one."""
        return self.simulated / self.measured - 1

    @property
    def scheduling_error(self) -> float:
        """The same with durations that are known."""
        return self.replayed / self.measured - 1


class Record(NamedTuple):
    """A grid of so many stages, on one number of workers after the other."""

    stages: int
    figures: tuple[Figures, ...]


def met(record: Record) -> bool:
    """Whether every makespan is within the aim."""
    return all(abs(one.error) <= AIM for one in record.figures)


def report(record: Record) -> str:
    """A line for each number of workers, as Markdown."""
    lines = [
        markdown_line(["workers", "simulated", "measured", "error", "stretch", "error with the run's own durations"]),
        "|--:|--:|--:|--:|--:|--:|",
    ]
    for one in record.figures:
        cells = [str(one.workers), f"{one.simulated:.1f} s", f"{one.measured:.1f} s", f"{one.error:+.0%}"]
        lines.append(markdown_line([*cells, f"{one.stretch:.2f}", f"{one.scheduling_error:+.0%}"]))
    return "\n".join(lines)


def sentence(record: Record) -> str:
    """What the docs say of it, in a line."""
    parts = [f"{one.error:+.0%} on {one.workers} worker{'s' * (one.workers != 1)}" for one in record.figures]
    own = [f"{one.scheduling_error:+.0%}" for one in record.figures]
    stretch = [f"{one.stretch:.2f}" for one in record.figures]
    return (
        f"The simulated makespan differs from a measured one by {' and '.join(parts)}; with the stages' durations in "
        f"the measured run, by {' and '.join(own)} (they were {' and '.join(stretch)} times the recorded ones)."
    )


def write_record(record: Record, path: Path) -> None:
    """The figures and the aim."""
    figures = [one._asdict() for one in record.figures]
    write_json({"benchmark": "schedule", "aim": AIM, "stages": record.stages, "figures": figures}, path)


def read_record(path: Path) -> Record:
    """A file of `write_record`. SpecError if it is none."""
    return read_json(path, _parsed)


def _parsed(found: Any) -> Record:
    numbers = [{name: float(one[name]) for name in Figures._fields} for one in found["figures"]]
    figures = tuple(Figures(int(one.pop("workers")), **one) for one in numbers)
    if not figures or not all(one.measured > 0 for one in figures):
        raise ValueError("there is at least one makespan, and all are above 0")
    return Record(int(found["stages"]), figures)


KIND = Kind(write_record, read_record, report, sentence, met)
