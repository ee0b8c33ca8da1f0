"""Datasets that people download as archives of files: how they are found, chosen from, and split.

A dataset says where its files lie (`ArchiveFiles`); this module does the rest: the protocol that chooses private
and public people, the look at every chosen picture, the report of what cannot be used, and the splits, which are
keyed by what the chosen pictures hold.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from pydantic import Field

from tasks.context import Context
from tasks.data.dataset import Catalogue, DataProblemsError, Dataset, Problem, count_problems
from tasks.data.findings import Findings, lines
from tasks.data.inspection import Inspector, Seen
from tasks.data.manifest import digest_of_files
from tasks.data.split import Audience, Part, Picture, Split

if TYPE_CHECKING:
    from PIL import Image

    from tasks.data.protocol import Chosen

Box = tuple[int, int, int, int]  # left, upper, right, lower, in pixels of the upright picture
Protocol = Literal["paper", "field"]


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


class Sifted(NamedTuple):
    """A person's usable pictures in name order, and what was found while looking: (finding, name)."""

    used: list[Used]
    found: list[tuple[str, str]]


def sift(files: ArchiveFiles, inspector: Inspector, people: Sequence[str]) -> dict[str, Sifted]:
    """Person -> the pictures that decode, each content once; the others are in what was found."""
    listed = {person: files.entries(person) for person in people}
    seen = inspector.look(entry.name for entries in listed.values() for entry in entries)
    return {person: _sifted(files, entries, seen) for person, entries in listed.items()}


def _sifted(files: ArchiveFiles, entries: Sequence[Entry], seen: Mapping[str, Seen]) -> Sifted:
    known: dict[str, str] = {}
    names: set[str] = set()
    result = Sifted([], [])
    for entry in entries:
        what = seen[entry.name]
        if reason := _useless(entry.name, what, known, names):
            result.found.append(reason)
            continue
        try:
            crop = files.crop(entry, what)
        except UnusableError as error:
            result.found.append((f"pictures left out: {error}", entry.name))
            continue
        known[what.digest] = entry.name
        names.add(normal(entry.name))
        result.found.extend((finding, entry.name) for finding in _converted(what))
        result.used.append(Used(entry.name, normal(entry.name), crop, what.digest))
    return result


def _useless(name: str, seen: Seen, known: Mapping[str, str], names: set[str]) -> tuple[str, str] | None:
    if seen.trouble:
        return f"pictures left out: the file {seen.trouble}", name
    if seen.digest in known:
        return "pictures left out: the same as another of that person", f"{name} (= {known[seen.digest]})"
    if normal(name) in names:
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
    return digest_of_files({picture.name: f"{picture.digest} {picture.crop}" for picture in used})


def manifest_of_people(manifests: Mapping[str, str]) -> str:
    """Digest over people and their pictures' digests."""
    return digest_of_files(manifests)


class ArchiveSplit(Split):
    """A split of an archive's people, keyed by what their pictures hold. A subclass says where the files lie."""

    manifest: str = Field(description="digest of the pictures of `people`: names, contents and crops; no path")
    left_out: tuple[str, ...] = Field((), description="pictures that stand under another label, too")
    test_share: float = Field(
        0.0, ge=0, lt=1, description="share of each person's pictures held out for test; 0: test_per_label"
    )

    def files(self, root: Path, findings: Findings) -> ArchiveFiles:
        """The archive's files below a root."""
        raise NotImplementedError

    def deal(self, person: str, pictures: Sequence[Picture]) -> list[Picture]:
        """As every split does, but with a share of the person's pictures for test where one is set."""
        if not self.test_share:
            return super().deal(person, pictures)
        test = max(1, round(self.test_share * len(pictures)))
        return self.model_copy(
            update={"people": (person,), "left_out": (), "test_per_label": test, "test_share": 0.0}
        ).deal(person, pictures)

    def pictures(self, ctx: Context) -> dict[str, Sequence[Picture]]:
        root, findings = ctx.source(self.manifest), Findings()
        sifted = sift(self.files(root, findings), Inspector(root), self.people)
        doubles = set(self.left_out)
        kept = {person: [p for p in found.used if p.name not in doubles] for person, found in sifted.items()}
        for finding, name in (pair for found in sifted.values() for pair in found.found):
            findings.add(finding, [name])
        manifests = {person: manifest_of_pictures(used) for person, used in kept.items()}
        if (digest := manifest_of_people(manifests)) != self.manifest:
            raise ValueError(f"the pictures in {root} have changed since they were planned: {digest=} {self.manifest=}")
        findings.add("pictures left out: the same picture under two labels", self.left_out)
        if told := lines(findings.found):
            ctx.note("pictures", "; ".join(told))
        return {person: [Picture(p.name, opener(root / p.path, p.crop)) for p in used] for person, used in kept.items()}


class ArchiveDataset(Dataset):
    """What the downloaded datasets share: a root, a protocol, and how many people are private and public."""

    split_kind: ClassVar[type[ArchiveSplit]]
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

    def split_fields(self) -> dict[str, object]:
        """The split's fields that say how files are found and cut."""
        return {}

    def _catalogue(self, root: Path, chosen: Chosen, findings: Findings) -> Catalogue:
        private, public = chosen.private, chosen.public
        manifests = {person: manifest_of_pictures(used) for person, used in chosen.pictures.items()}
        groups = (private, public, public[::2], public[1::2])  # whose splits a grid asks for
        sources = {manifest_of_people({person: manifests[person] for person in people}): root for people in groups}
        counts = {person: len(used) for person, used in chosen.pictures.items()}
        return Catalogue(private, public, counts, manifests, sources, self.channels, findings.found, chosen.left_out)

    def split(self, catalogue: Catalogue, people: tuple[str, ...], part: Part, audience: Audience) -> Split:
        fields = self.common(catalogue, part, audience) | self.split_fields()
        if self.protocol == "field" and audience == "private":
            fields |= {"test_share": self.test_share, "test_per_label": 0}
        return self.split_kind(
            people=people,
            manifest=manifest_of_people({person: catalogue.manifests[person] for person in people}),
            left_out=tuple(sorted(name for person in people for name in catalogue.left_out.get(person, ()))),
            **fields,
        )


def centre_box(seen: Seen, side: int) -> Box | None:
    """The square of `side` pixels in the middle of a picture; None for 0. UnusableError if the picture is smaller."""
    if not side:
        return None
    if min(seen.width, seen.height) < side:
        raise UnusableError(f"smaller than the {side} pixels that are cut out of it")
    left, upper = (seen.width - side) // 2, (seen.height - side) // 2
    return left, upper, left + side, upper + side


def opener(path: Path, crop: Box | None) -> Callable[[], Image.Image]:
    """Opens a picture upright, and cut to `crop`."""

    def open_picture() -> Image.Image:
        from PIL import Image, ImageOps

        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
        return upright if crop is None else upright.crop(crop)

    return open_picture
