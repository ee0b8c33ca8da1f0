"""LFW (Huang et al. 2007): 13,233 pictures of 5,749 people, 250 pixels a side, in torchvision's layout."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from tasks.data.archive import ArchiveDataset, ArchiveShard
from tasks.data.archive_files import ArchiveFiles, Box, Entry, centre_box, normal
from tasks.data.dataset import Problem
from tasks.data.findings import Findings
from tasks.data.inspection import Seen
from tasks.data.people_folders import PeopleFolders, incomplete, missing

NAMES = "lfw-names.txt"
Images = Literal["deepfunneled", "funneled", "original"]
FOLDERS: Mapping[Images, str] = {"deepfunneled": "lfw-deepfunneled", "funneled": "lfw_funneled", "original": "lfw"}
FETCH = (
    "fetch {folder}.tgz (about 110 MB, 13,233 pictures of 5,749 people; its home vis-www.cs.umass.edu/lfw no longer "
    "serves it, torchvision names a mirror at kaggle.com/datasets/jessicali9530/lfw-dataset) and unpack it so that "
    "{root}/{folder}/Aaron_Eckhart/Aaron_Eckhart_0001.jpg exists (docs/datasets.md)"
)


class LfwFiles(PeopleFolders):
    """lfw-deepfunneled/Aaron_Eckhart/Aaron_Eckhart_0001.jpg ...; lfw-names.txt, if it is there, says how many."""

    def __init__(self, root: Path, findings: Findings, images: Images, crop: int) -> None:
        super().__init__(root, findings, FOLDERS[images])
        self._crop = crop

    def problems(self) -> list[Problem]:
        return missing(self.root, [self.inside], "LFW", FETCH.replace("{folder}", self.inside))

    def gaps(self) -> list[Problem]:
        counts = {person: len(self.entries(person)) for person in self._counts}
        if gone := sorted(person for person, expected in self._counts.items() if counts[person] < expected):
            names = [f"{person} ({counts[person]} of {self._counts[person]})" for person in gone]
            self.findings.add(f"people with fewer pictures than {NAMES} says", names)
            return [incomplete(f"of {len(self._counts):,} people of {NAMES} have too few pictures", names)]
        return []

    def crop(self, entry: Entry, seen: Seen) -> Box | None:
        return centre_box(seen, self._crop)

    @cached_property
    def _counts(self) -> dict[str, int]:
        """Person -> pictures there should be; empty without the list."""
        path = self.root / NAMES
        if not path.is_file():
            self.findings.add("lists that are not there, so that nobody knows whether all people are", [NAMES])
            return {}
        found = {}
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            match line.split():
                case [person, count] if count.isdigit():
                    found[normal(person)] = int(count)
        return found


class LfwShard(ArchiveShard):
    """A shard of LFW."""

    kind: ClassVar = "lfw_shard"
    version: ClassVar = 1

    images: Images = Field("deepfunneled", description="how the pictures were aligned")
    crop: int = Field(0, ge=0, description="side of the centre square that is cut out; 0: the largest")

    def files(self, root: Path, findings: Findings) -> ArchiveFiles:
        return LfwFiles(root, findings, self.images, self.crop)


class Lfw(ArchiveDataset):
    """LFW: of most people there is one picture, so by default 150 private and 150 public people with 5 or more."""

    name: ClassVar = "lfw"
    folder: ClassVar = "lfw-py"
    shard_kind: ClassVar = LfwShard

    labels: int = Field(150, ge=2, description="private people, if private_people does not name them")
    public: int = Field(150, ge=3, description="public people, defender's and attacker's together (paper protocol)")
    min_pictures: int = Field(5, ge=2, description="usable pictures that a person needs to be chosen")
    images: Images = Field("deepfunneled", description="how the pictures were aligned; each lies in its own folder")
    crop: int = Field(0, ge=0, le=250, description="side of the centre square that is cut out; 0: the largest")

    def archive(self, root: Path, findings: Findings) -> ArchiveFiles:
        return LfwFiles(root, findings, self.images, self.crop)

    def shard_fields(self) -> dict[str, object]:
        return {"images": self.images, "crop": self.crop}
