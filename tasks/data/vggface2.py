"""VGG-Face2 (Cao et al. 2018): 3.3 million loosely cropped faces of 9,131 people, of whom 8,631 are in train/."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from tasks.data.archive import ArchiveDataset, ArchiveShard
from tasks.data.archive_files import ArchiveFiles, Entry
from tasks.data.dataset import Problem
from tasks.data.findings import Findings
from tasks.data.people_folders import PeopleFolders, incomplete, missing

PICTURES, META = "train", "identity_meta.csv"
FETCH = (
    "fetch vggface2_train.tar.gz (about 36 GB, 3.1 million pictures of 8,631 people) and identity_meta.csv, whose "
    "distribution by https://www.robots.ox.ac.uk/~vgg/data/vgg_face2/ has moved to academictorrents.com, and unpack "
    "them so that {root}/train/n000002/0001_01.jpg and {root}/identity_meta.csv exist (docs/datasets.md)"
)


class VggFace2Files(PeopleFolders):
    """train/n000002/0001_01.jpg ...; identity_meta.csv, if it is there, says who should be."""

    def __init__(self, root: Path, findings: Findings) -> None:
        super().__init__(root, findings, PICTURES)

    def problems(self) -> list[Problem]:
        return missing(self.root, [PICTURES], "VGG-Face2", FETCH)

    def gaps(self) -> list[Problem]:
        there = set(self.people())
        if not self._meta:
            self.findings.add("lists that are not there, so that nobody knows whether all people are", [META])
        else:
            self.findings.add(f"people that {META} does not name, used", sorted(there - self._meta.keys()))
        if gone := sorted(self._meta.keys() - there):
            self.findings.add(f"people that {META} names and that are not there", gone)
            return [incomplete(f"of {len(self._meta):,} people of {META} are not in {PICTURES}", gone)]
        return []

    def entries(self, person: str) -> Sequence[Entry]:
        found = super().entries(person)
        if len(found) < (expected := self._meta.get(person, 0)):
            text = f"people with fewer pictures than {META} says"
            self.findings.add(text, [f"{person} ({len(found)} of {expected})"])
        return found

    @cached_property
    def _meta(self) -> dict[str, int]:
        """Person of the training set -> how many pictures there should be; empty without the list.

        A line is `n000002, "A_Fine_Frenzy",315,1, f`, some with an empty field behind; names may hold commas.
        """
        path = self.root / META
        if not path.is_file():
            return {}
        found = {}
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            for number, row in enumerate(csv.reader(file, skipinitialspace=True), start=1):
                fields = [field.strip() for field in row if field.strip()]
                match fields:
                    case [person, _, *_, count, "1", _] if count.isdigit():
                        found[person] = int(count)
                    case [_, _, *_, count, "0", _] if count.isdigit():
                        continue  # of the test set
                    case _ if number > 1 and fields:
                        self.findings.add(f"lines of {META} that are not understood", [str(number)])
        return found


class VggFace2Shard(ArchiveShard):
    """A shard of VGG-Face2."""

    kind: ClassVar = "vggface2_shard"
    version: ClassVar = 1

    def files(self, root: Path, findings: Findings) -> ArchiveFiles:
        return VggFace2Files(root, findings)


class VggFace2(ArchiveDataset):
    """VGG-Face2's training people: 1000 private, 1000 public; the centre square of the loosely cropped pictures."""

    name: ClassVar = "vggface2"
    folder: ClassVar = "vggface2"
    shard_kind: ClassVar = VggFace2Shard

    def archive(self, root: Path, findings: Findings) -> ArchiveFiles:
        return VggFace2Files(root, findings)
