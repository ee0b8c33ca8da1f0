"""A shard: all pictures of a few people, decoded, cut out and resized once, for every split these people are in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from pydantic import Field, model_validator

from tasks.context import Context
from tasks.data.findings import Findings, lines
from tasks.data.inspection import last_seen
from tasks.data.manifest import digest_of_files
from tasks.lazy import lazy
from tasks.stage import Group, Metrics, Stage

if TYPE_CHECKING:
    from PIL import Image

    from tasks.data import shard_files
else:
    shard_files = lazy("tasks.data.shard_files")

MOST_PICTURES = 4096  # of a shard, unless one person has more
PRINT = 16  # hex digits


class Decoded(NamedTuple):
    """A picture of a person: its name in the dataset, where it lies below the root, its content, and its pixels."""

    name: str
    path: str
    digest: str
    mark: str  # content and what is cut out of it
    image: Image.Image  # upright and cut out


class Shard(Stage):
    """Every usable picture of `people` at one size: images.npy, (n, channels, size, size) uint8, and index.parquet.

    A line of the index is (picture, person), in the order of the rows: people as in `people`, each one's pictures in
    name order. A row is written before the next picture is read, so memory does not grow with the number of
    pictures. ValueError if the pictures are not those that were planned; it names the person, and the pictures
    where planning looked at them on this machine.
    """

    group: ClassVar[Group] = "data"

    people: tuple[str, ...] = Field(min_length=1, description="whose pictures")
    manifest: str = Field(description="digest of the pictures of `people`: names, contents and crops; no path")
    prints: tuple[str, ...] = Field(description="first digits of the same of each person, to name whose have changed")
    size: int = Field(64, ge=32, le=1024, description="pixels per side")
    channels: Literal[1, 3] = Field(3, description="1 = grey, 3 = colour")

    @model_validator(mode="after")
    def _one_print_a_person(self) -> Shard:
        if len(self.prints) != len(self.people):
            raise ValueError(f"one print a person is needed, but got {len(self.prints)=}, {len(self.people)=}")
        return self

    def decode(self, root: Path, findings: Findings) -> Iterator[tuple[str, Iterator[Decoded]]]:
        """(person, usable pictures in name order, each opened when it is asked for), as `people` has them."""
        raise NotImplementedError

    def run(self, ctx: Context) -> Metrics:
        root, findings = ctx.source(self.manifest), Findings()
        manifests: dict[str, str] = {}
        with shard_files.Writer(ctx.out, self.channels, self.size) as writer:
            for (person, pictures), expected in zip(self.decode(root, findings), self.prints, strict=True):
                marks: dict[str, str] = {}
                contents: dict[str, str] = {}
                for picture in pictures:
                    writer.add(picture.image, picture.name, person)
                    marks[picture.name], contents[picture.path] = picture.mark, picture.digest
                manifests[person] = digest_of_files(marks)
                if not manifests[person].startswith(expected):
                    raise ValueError(_changed(root, person, contents))
        if (digest := manifest_of(manifests, self.people)) != self.manifest:
            raise ValueError(f"the pictures in {root} have changed since they were planned: {digest=} {self.manifest=}")
        if told := lines(findings.found):
            ctx.note("pictures", "; ".join(told))
        return {"images": float(writer.rows), "people": float(len(self.people))}


def _changed(root: Path, person: str, contents: Mapping[str, str]) -> str:
    """Says whose pictures have changed and, where this machine looked at them while planning, which."""
    before = last_seen(root, contents)
    other = [name for name, digest in contents.items() if before.get(name, digest) != digest]
    new = [name for name in contents if name not in before] if before else []
    named = [*(f"{name} holds another picture" for name in other), *(f"{name} is new" for name in new)]
    which = "; ".join(named[:5]) or "pictures are missing or were added, or the planner saw others"
    return f"the pictures of {person!r} in {root} have changed since they were planned: {which}"


def in_shards(people: Sequence[str], pictures: Mapping[str, int], most: int = MOST_PICTURES) -> list[tuple[str, ...]]:
    """`people` in runs of at most `most` pictures (`pictures`: how many each has); one with more stands alone."""
    found: list[list[str]] = []
    held = 0
    for person in people:
        if not found or held + pictures[person] > most:
            found.append([])
            held = 0
        found[-1].append(person)
        held += pictures[person]
    return [tuple(run) for run in found]


def manifest_of(manifests: Mapping[str, str], people: Sequence[str]) -> str:
    """The manifest of a shard: digest over these people and the digests of their pictures."""
    return digest_of_files({person: manifests[person] for person in people})
