"""VGG-Face (Parkhi et al. 2015): 2.6 million addresses and face boxes of 2,622 people, and what was fetched."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from tasks.data.archive import ArchiveDataset, ArchiveShard
from tasks.data.archive_files import ArchiveFiles, Box, Entry, UnusableError
from tasks.data.dataset import Problem
from tasks.data.findings import Findings
from tasks.data.inspection import Seen
from tasks.data.people_folders import PeopleFolders, missing

LISTS, PICTURES = "files", "images"
FETCH = (
    "fetch vgg_face_dataset.tar.gz (a list of addresses and boxes for each of 2,622 people) from "
    "https://www.robots.ox.ac.uk/~vgg/data/vgg_face/ and unpack it so that {root}/files/Aamir_Khan.txt exists; the "
    "pictures themselves are to be fetched from those addresses (2.6 million, many of them dead by now) to "
    "{root}/images/Aamir_Khan/00000001.jpg, named by the first column (docs/datasets.md)"
)
Face = Literal["box", "whole"]


class VggFaceFiles(PeopleFolders):
    """files/PERSON.txt says which pictures there are and where the face is; images/PERSON/ID.jpg are those fetched.

    A line is `id url left top right bottom pose score curation`, boxes in pixels of the whole picture.
    """

    def __init__(self, root: Path, findings: Findings, face: Face, curated: bool) -> None:
        super().__init__(root, findings, PICTURES)
        self._face, self._curated = face, curated
        self._listed: dict[str, list[Entry]] = {}

    def problems(self) -> list[Problem]:
        found = missing(self.root, [LISTS, PICTURES], "VGG-Face", FETCH)
        if not found and not self._lists:
            text = f"no VGG-Face lists: {self.root / LISTS} holds no .txt file; {FETCH.format(root=self.root)}"
            found.append(Problem("root", text))
        return found

    def people(self) -> Sequence[str]:
        return sorted(self._lists)

    def entries(self, person: str) -> Sequence[Entry]:
        if person not in self._listed:
            there = {_stem(entry.name): entry.name for entry in super().entries(person)}
            boxes = self._boxes(person)
            wanted = [(stem, name) for stem, name in sorted(there.items()) if stem in boxes]
            gone, extra = boxes.keys() - there.keys(), there.keys() - boxes.keys()
            if gone:
                text = "people with pictures that are listed and not there (dead addresses?)"
                self.findings.add(text, [f"{person} ({len(gone)} of {len(boxes)})"])
            what = "are not of the curated list" if self._curated else "the list does not name"
            self.findings.add(f"pictures that {what}, ignored", [there[stem] for stem in extra])
            self._listed[person] = [Entry(name, boxes[stem]) for stem, name in wanted]
        return self._listed[person]

    def crop(self, entry: Entry, seen: Seen) -> Box | None:
        if self._face == "whole" or entry.box is None:
            return None
        left, upper, right, lower = entry.box
        box = max(0, left), max(0, upper), min(seen.width, right), min(seen.height, lower)
        if box[2] - box[0] < 2 or box[3] - box[1] < 2:
            raise UnusableError("the face's box lies outside the picture")
        return box

    @cached_property
    def _lists(self) -> dict[str, Path]:
        return {path.stem: path for path in (self.root / LISTS).glob("*.txt") if not path.name.startswith(".")}

    def _boxes(self, person: str) -> Mapping[str, Box]:
        """Picture id -> box of the face. Lines that say no such thing are findings."""
        found: dict[str, Box] = {}
        if person not in self._lists:
            return found
        lines = self._lists[person].read_text(encoding="utf-8", errors="replace").splitlines()
        for number, line in enumerate(lines, start=1):
            parts = line.split()
            if not parts:
                continue
            try:
                left, upper, right, lower = (float(part) for part in parts[-7:-3])
                curated = float(parts[-1]) > 0
                box = math.floor(left), math.floor(upper), math.ceil(right), math.ceil(lower)
            except (ValueError, OverflowError):
                self.findings.add("lines of the lists that are not understood", [f"{person}.txt:{number}"])
                continue
            if len(parts) < 9:
                self.findings.add("lines of the lists that are not understood", [f"{person}.txt:{number}"])
            elif curated or not self._curated:
                found[parts[0]] = box
        return found


def _stem(name: str) -> str:
    """The picture's id: its file name without the suffix, which every picture has."""
    return name[name.rindex("/") + 1 : name.rindex(".")]


class VggFaceShard(ArchiveShard):
    """A shard of VGG-Face."""

    kind: ClassVar = "vggface_shard"
    version: ClassVar = 1

    face: Face = Field("box", description="what is cut out: the box of the list, or nothing")
    curated: bool = Field(False, description="only pictures of the final, curated dataset")

    def files(self, root: Path, findings: Findings) -> ArchiveFiles:
        return VggFaceFiles(root, findings, self.face, self.curated)


class VggFace(ArchiveDataset):
    """VGG-Face: 1000 private and 1000 public people, of the pictures that were fetched, cut out by the lists' boxes."""

    name: ClassVar = "vggface"
    folder: ClassVar = "vggface"
    shard_kind: ClassVar = VggFaceShard

    face: Face = Field("box", description="`box`: the face is cut out by the list's box; `whole`: pictures are faces")
    curated: bool = Field(False, description="only pictures of the final, curated dataset (the list's last column)")

    def archive(self, root: Path, findings: Findings) -> ArchiveFiles:
        return VggFaceFiles(root, findings, self.face, self.curated)

    def shard_fields(self) -> dict[str, object]:
        return {"face": self.face, "curated": self.curated}
