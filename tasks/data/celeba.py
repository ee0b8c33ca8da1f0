"""CelebA (Liu et al. 2015): 202,599 aligned faces of 10,177 people, in torchvision's layout."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from tasks.data.archive import ArchiveDataset, ArchiveShard
from tasks.data.archive_files import ArchiveFiles, Box, Entry, centre_box
from tasks.data.dataset import Problem
from tasks.data.findings import Findings
from tasks.data.inspection import Seen
from tasks.data.people_folders import incomplete, missing, picture_names

PICTURES, IDENTITIES = "img_align_celeba", "identity_CelebA.txt"
FETCH = (
    "fetch img_align_celeba.zip (1.4 GB, 202,599 pictures) and identity_CelebA.txt (3 MB) from "
    "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html and unpack them so that {root}/img_align_celeba/000001.jpg and "
    "{root}/identity_CelebA.txt exist, as torchvision has them (docs/datasets.md)"
)


class CelebaFiles(ArchiveFiles):
    """img_align_celeba/000001.jpg ... and identity_CelebA.txt, which says who is on which."""

    def __init__(self, root: Path, findings: Findings, crop: int) -> None:
        super().__init__(root, findings)
        self._crop = crop

    def problems(self) -> list[Problem]:
        found = missing(self.root, [PICTURES, IDENTITIES], "CelebA", FETCH)
        if not found and (self.root / PICTURES / PICTURES).is_dir():
            text = f"the pictures lie one folder too deep, in {self.root / PICTURES / PICTURES}; move them up by one"
            found.append(Problem("root", text))
        if not found and (torn := self._identities[1]):
            shown = f"line {torn[0]} of {IDENTITIES} is not like `000001.jpg 2880`, nor are {len(torn) - 1} more"
            found.append(Problem("root", f"{shown}: the file is torn or another one; fetch it again"))
        return found

    def gaps(self) -> list[Problem]:
        listed, _ = self._identities
        there = set(self._names)
        self.findings.add("pictures without an identity, ignored", sorted(there - listed.keys()))
        if gone := sorted(listed.keys() - there):
            self.findings.add("pictures that identity_CelebA.txt names and that are not there", gone)
            return [incomplete(f"of {len(listed):,} pictures of {IDENTITIES} are not in {PICTURES}", gone)]
        return []

    def people(self) -> Sequence[str]:
        return list(self._by_person)

    def entries(self, person: str) -> Sequence[Entry]:
        return self._by_person.get(person, [])

    def crop(self, entry: Entry, seen: Seen) -> Box | None:
        return centre_box(seen, self._crop)

    @cached_property
    def _names(self) -> list[str]:
        return picture_names(self.root, PICTURES, self.findings)

    @cached_property
    def _identities(self) -> tuple[dict[str, str], list[int]]:
        """Picture -> person, and the numbers of the lines that say no such thing."""
        found: dict[str, str] = {}
        torn = []
        lines = (self.root / IDENTITIES).read_text(encoding="utf-8", errors="replace").splitlines()
        for number, line in enumerate(lines, start=1):
            match line.split():
                case [name, identity] if identity.isascii() and identity.isdigit():
                    found[f"{PICTURES}/{name}"] = f"{int(identity):05d}"
                case []:
                    continue
                case _:
                    torn.append(number)
        return found, torn

    @cached_property
    def _by_person(self) -> dict[str, list[Entry]]:
        listed, _ = self._identities
        found: dict[str, list[Entry]] = {}
        for name in self._names:
            if name in listed:
                found.setdefault(listed[name], []).append(Entry(name))
        return dict(sorted(found.items()))


class CelebaShard(ArchiveShard):
    """A shard of CelebA."""

    kind: ClassVar = "celeba_shard"
    version: ClassVar = 1

    crop: int = Field(108, ge=0, description="side of the centre square that is cut out; 0: the largest")

    def files(self, root: Path, findings: Findings) -> ArchiveFiles:
        return CelebaFiles(root, findings, self.crop)


class Celeba(ArchiveDataset):
    """CelebA's aligned pictures: 1000 private people, 1000 public ones; the field's crop of 108 pixels."""

    name: ClassVar = "celeba"
    folder: ClassVar = "celeba"
    shard_kind: ClassVar = CelebaShard

    crop: int = Field(108, ge=0, le=178, description="side of the centre square that is cut out; 0: the largest")

    def archive(self, root: Path, findings: Findings) -> ArchiveFiles:
        return CelebaFiles(root, findings, self.crop)

    def shard_fields(self) -> dict[str, object]:
        return {"crop": self.crop}
