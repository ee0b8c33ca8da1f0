"""What benchmarks/preparation.py measured: as a report, as a sentence of the docs, and as a small record."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from analysis.formats import markdown_line
from benchmarks.measured import Kind, read_json, write_json

AIM_RATIO = 1.5  # seconds of a preparation over those of a plain loop, both in one process, at most
AIM_MEMORY = 1.1  # peak memory of a preparation over that of half of the pictures, at most
MIB = 2**20
_COUNTS = {"pictures", "labels", "shards", "done_when_killed", "decoded_in_all", "most_of_a_shard"}


class Figures(NamedTuple):
    """Seconds and bytes of one run."""

    pictures: int
    labels: int
    shards: int
    ours: float  # seconds: decoded, cut, resized, written, hashed and stored
    plain: float  # seconds: decoded, resized, stacked in memory
    look: float  # seconds of the first look while planning, which the next plan remembers
    plain_memory: float  # bytes of the plain loop's process
    memory: float  # bytes, of the process of the stage that took most
    memory_of_half: float  # the same with half of the people
    done_when_killed: int  # shards that were in the store when it was killed, at five eighths of the pictures
    decoded_in_all: int  # pictures, by the killed preparation and by the one that went on
    most_of_a_shard: int  # pictures

    @property
    def ratio(self) -> float:
        return self.ours / self.plain

    @property
    def growth(self) -> float:
        return self.memory / self.memory_of_half

    @property
    def again(self) -> int:
        """Pictures that were decoded a second time after the kill."""
        return self.decoded_in_all - self.pictures


def met(one: Figures) -> bool:
    """Whether all aims are met; of a killed preparation, that at most the shard in hand is decoded again."""
    resumed = one.done_when_killed > 0 and one.again <= one.most_of_a_shard
    return one.ratio <= AIM_RATIO and one.growth <= AIM_MEMORY and resumed


def report(one: Figures) -> str:
    """A line for each figure, as Markdown."""
    lines = [
        markdown_line([f"{one.pictures:,} pictures of {one.labels:,} people, {one.shards} shards", ""]),
        "|---|--:|",
        markdown_line(["prepared, one process", f"{one.pictures / one.ours:,.0f} pictures/s"]),
        markdown_line(["plain loop, one process", f"{one.pictures / one.plain:,.0f} pictures/s"]),
        markdown_line(["ratio of the times", f"{one.ratio:.2f}"]),
        markdown_line(["first look while planning", f"{one.look:.1f} s"]),
        markdown_line(["peak memory", f"{one.memory / MIB:.0f} MiB"]),
        markdown_line(["peak memory, half of the people", f"{one.memory_of_half / MIB:.0f} MiB"]),
        markdown_line(["peak memory of the plain loop", f"{one.plain_memory / MIB:.0f} MiB"]),
        markdown_line(["shards done when killed at five eighths", f"{one.done_when_killed}"]),
        markdown_line(["pictures decoded again after it", f"{one.again:,}"]),
    ]
    return "\n".join(lines)


def sentence(one: Figures) -> str:
    """What the docs say of it, in a line."""
    return (
        f"Of {one.pictures:,} small JPEGs of {one.labels:,} people one process prepares {one.pictures / one.ours:,.0f} "
        f"a second, where a plain loop that decodes, resizes and stacks them does {one.pictures / one.plain:,.0f}; it "
        f"takes {one.memory / MIB:.0f} MiB ({one.memory_of_half / MIB:.0f} MiB for half of them), the loop "
        f"{one.plain_memory / MIB:.0f} MiB. Killed at five eighths of the way and run again, it decoded {one.again:,} "
        "pictures a second time."
    )


def write_record(one: Figures, path: Path) -> None:
    """The figures and the aims."""
    aims = {"ratio": AIM_RATIO, "memory": AIM_MEMORY}
    write_json({"benchmark": "preparation", "figures": one._asdict(), "aims": aims}, path)


def read_record(path: Path) -> Figures:
    """A file of `write_record`. SpecError if it is none."""
    return read_json(path, _parsed)


def _parsed(found: Any) -> Figures:
    values: dict[str, Any] = {name: float(found["figures"][name]) for name in Figures._fields}
    one = Figures(**values | {name: int(values[name]) for name in _COUNTS})
    if min(one.pictures, one.ours, one.plain, one.memory_of_half) <= 0:
        raise ValueError("counts, seconds and bytes are above 0")
    return one


KIND = Kind(write_record, read_record, report, sentence, met)
