"""The files of a downloaded archive: people, their pictures, and which of these can be used."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tasks.data.dataset import Problem
from tasks.data.findings import Findings
from tasks.data.inspection import Inspector, Seen
from tasks.data.manifest import digest_of_files

Box = tuple[int, int, int, int]  # left, upper, right, lower, in pixels of the upright picture


class Entry(NamedTuple):
    """A picture file as the archive lists it: its place below the root, and where the face is, if that is known."""

    name: str
    box: Box | None = None


class ArchiveFiles:
    """What lies below a root: people, and the picture files of each, found without opening one of them."""

    def __init__(self, root: Path, findings: Findings) -> None:
        self.root, self.findings = root, findings

    def problems(self) -> list[Problem]:
        """What is not there at all: what to fetch, where to put it, how large it is."""
        raise NotImplementedError

    def gaps(self) -> list[Problem]:
        """Parts that should be there and are not; findings, too. Only asked for where nothing else is wrong."""
        return []

    def people(self) -> Sequence[str]:
        """Everybody, in name order."""
        raise NotImplementedError

    def entries(self, person: str) -> Sequence[Entry]:
        """The picture files of a person that are there, in name order; none for somebody unknown."""
        raise NotImplementedError

    def crop(self, entry: Entry, seen: Seen) -> Box | None:
        """What is cut out of a picture before it is resized; None: the centre square. UnusableError if nothing is."""
        return entry.box


class UnusableError(Exception):
    """A picture decodes, but what the archive says of it makes it useless."""


class Used(NamedTuple):
    """A picture that is used: where it lies, its name in the dataset, what is cut out, and its content."""

    path: str
    name: str
    crop: Box | None
    digest: str

    @property
    def mark(self) -> str:
        """What makes the picture that is used what it is: its content and its crop."""
        return f"{self.digest} {self.crop}"


class Sifted(NamedTuple):
    """A person's usable pictures in name order, and what was found while looking: (finding, name)."""

    used: list[Used]
    found: list[tuple[str, str]]


def sift(files: ArchiveFiles, inspector: Inspector, people: Sequence[str]) -> dict[str, Sifted]:
    """Person -> the pictures that decode, each content once; the others are in what was found."""
    listed = {person: files.entries(person) for person in people}
    seen = inspector.look(entry.name for entries in listed.values() for entry in entries)
    result = {}
    for person, entries in listed.items():
        sieve = Sieve(files)
        for entry in entries:
            sieve.take(entry, seen[entry.name])
        result[person] = sieve.sifted
    return result


class Sieve:
    """Sifts the pictures of one person one by one, in name order."""

    def __init__(self, files: ArchiveFiles) -> None:
        self.sifted = Sifted([], [])
        self._files = files
        self._known: dict[str, str] = {}
        self._names: set[str] = set()

    def take(self, entry: Entry, seen: Seen) -> Used | None:
        """The picture as it is used, or None; what is to be said of it is among what was found."""
        name = normal(entry.name)
        if reason := self._useless(entry.name, name, seen):
            self.sifted.found.append(reason)
            return None
        try:
            crop = self._files.crop(entry, seen)
        except UnusableError as error:
            self.sifted.found.append((f"pictures left out: {error}", entry.name))
            return None
        used = Used(entry.name, name, crop, seen.digest)
        self._known[seen.digest] = entry.name
        self._names.add(name)
        if seen.mode != "RGB" or seen.turned:
            self.sifted.found.extend((finding, entry.name) for finding in _converted(seen))
        self.sifted.used.append(used)
        return used

    def _useless(self, name: str, composed: str, seen: Seen) -> tuple[str, str] | None:
        if seen.trouble:
            return f"pictures left out: the file {seen.trouble}", name
        if seen.digest in self._known:
            return "pictures left out: the same as another of that person", f"{name} (= {self._known[seen.digest]})"
        if composed in self._names:
            return "pictures left out: the name is another's but for how an accent is stored", name
        return None


def _converted(seen: Seen) -> Iterator[str]:
    if seen.grey:
        yield "grey pictures, used like the others"
    elif seen.mode == "CMYK":
        yield "CMYK pictures, converted to RGB"
    if seen.turned:
        yield "pictures turned upright by their EXIF"


def normal(name: str) -> str:
    """A name in Unicode's composed form: file systems differ in how they store an accent, keys must not."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def manifest_of_pictures(used: Sequence[Used]) -> str:
    """Digest over the names, contents and crops of one person's pictures."""
    return digest_of_files({picture.name: picture.mark for picture in used})


def centre_box(seen: Seen, side: int) -> Box | None:
    """The square of `side` pixels in the middle of a picture; None for 0. UnusableError if the picture is smaller."""
    if not side:
        return None
    if min(seen.width, seen.height) < side:
        raise UnusableError(f"smaller than the {side} pixels that are cut out of it")
    left, upper = (seen.width - side) // 2, (seen.height - side) // 2
    return left, upper, left + side, upper + side
