"""Datasets that people download as archives of files: how they are found, chosen from, prepared and split.

A dataset says where its files lie (`ArchiveFiles`); this module does the rest: the protocol that chooses private
and public people, the look at every chosen picture, the report of what cannot be used, the shards, which are keyed
by what the chosen pictures hold, and the splits, which are made from shards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from tasks.data import inspection
from tasks.data.archive_files import (
    ArchiveFiles,
    Entry,
    Sieve,
    manifest_of_pictures,
)
from tasks.data.dataset import Catalogue, DataProblemsError, Dataset, Problem, count_problems
from tasks.data.findings import Findings
from tasks.data.inspection import Inspector
from tasks.data.shard import Decoded, Shard, manifest_of
from tasks.data.sharded_split import ShardedSplit, shard_runs, shards_of
from tasks.data.split import Audience, Part, Split

if TYPE_CHECKING:
    from tasks.data.protocol import Chosen

Protocol = Literal["paper", "field"]


class ArchiveShard(Shard):
    """A shard of an archive's people. A subclass says where the files lie."""

    left_out: tuple[str, ...] = Field((), description="pictures that stand under another label, too")

    def files(self, root: Path, findings: Findings) -> ArchiveFiles:
        """The archive's files below a root."""
        raise NotImplementedError

    def decode(self, root: Path, findings: Findings) -> Iterator[tuple[str, Iterator[Decoded]]]:
        files = self.files(root, findings)
        for person in self.people:
            sieve = Sieve(files)
            yield person, self._decoded(root, files.entries(person), sieve)
            for finding, name in sieve.sifted.found:
                findings.add(finding, [name])
        findings.add("pictures left out: the same picture under two labels", self.left_out)

    def _decoded(self, root: Path, entries: Sequence[Entry], sieve: Sieve) -> Iterator[Decoded]:
        doubles = set(self.left_out)
        for entry in entries:
            seen, image = inspection.read(root / entry.name)
            used = sieve.take(entry, seen)
            if used is None or image is None or used.name in doubles:
                continue
            cut = image if used.crop is None else image.crop(used.crop)
            yield Decoded(used.name, used.path, used.digest, used.mark, cut)


class ArchiveDataset(Dataset):
    """What the downloaded datasets share: a root, a protocol, and how many people are private and public."""

    shard_kind: ClassVar[type[ArchiveShard]]
    folder: ClassVar[str]  # below the root

    root: str = Field("data", description="folder that holds the dataset's own folder (docs/datasets.md)")
    protocol: Protocol = Field(
        "paper", description="`paper`: people drawn by the split's seed; `field`: those with most pictures"
    )
    labels: int = Field(1000, ge=2, description="private people, if private_people does not name them")
    public: int = Field(1000, ge=3, description="public people, defender's and attacker's together (paper protocol)")
    public_images: int = Field(30_000, ge=6, description="public pictures, of as many people as it takes (field)")
    min_pictures: int = Field(20, ge=2, description="usable pictures that a person needs to be chosen")
    test_share: float = Field(
        0.1, gt=0, lt=1, description="share of a private person's pictures held out for test (field protocol)"
    )
    partial: bool = Field(False, description="take an archive that is not whole; what is missing is reported")
    channels: Literal[1, 3] = Field(3, description="1 = grey, 3 = colour")

    def catalogue(self, base: Path) -> Catalogue:
        from tasks.data.protocol import choose

        root, findings = self.place(base), Findings()
        files = self.archive(root, findings)
        if problems := files.problems():
            raise DataProblemsError(problems)
        if (gaps := files.gaps()) and not self.partial:
            raise DataProblemsError(gaps)
        chosen = choose(self, files, Inspector(root), findings)
        if problems := count_problems(chosen.private, chosen.public):
            raise DataProblemsError(problems)
        return self._catalogue(root, chosen, findings)

    def place(self, base: Path) -> Path:
        """The dataset's own folder; a relative root starts here or else at `base`."""
        if "\0" in self.root:
            raise DataProblemsError([Problem("root", f"no folder {self.root!r}: a path has no NUL in it")])
        here = Path(self.root).expanduser()
        found = base / here if not here.exists() and (base / here).exists() else here
        return (found / self.folder).resolve()

    def archive(self, root: Path, findings: Findings) -> ArchiveFiles:
        """The files below the dataset's own folder."""
        raise NotImplementedError

    def shard_fields(self) -> dict[str, object]:
        """The shard's fields that say how files are found and cut."""
        return {}

    def _catalogue(self, root: Path, chosen: Chosen, findings: Findings) -> Catalogue:
        manifests = {person: manifest_of_pictures(used) for person, used in chosen.pictures.items()}
        counts = {person: len(used) for person, used in chosen.pictures.items()}
        runs = shard_runs(chosen.private, chosen.public, counts)
        sources = {manifest_of(manifests, run): root for run in runs}
        return Catalogue(
            chosen.private, chosen.public, counts, manifests, sources, self.channels, findings.found, chosen.left_out
        )

    def split(self, catalogue: Catalogue, people: tuple[str, ...], part: Part, audience: Audience) -> Split:
        fields = self.common(catalogue, part, audience)
        if self.protocol == "field" and audience == "private":
            fields |= {"test_share": self.test_share, "test_per_label": 0}
        shards = shards_of(self.shard_kind, catalogue, people, size=self.size, **self.shard_fields())
        return ShardedSplit(people=people, shards=shards, **fields)
