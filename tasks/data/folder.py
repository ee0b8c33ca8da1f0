"""Any ImageFolder: `root/person/picture.jpg`, one root split by person, or a private and a public root."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from tasks.data.dataset import (
    Catalogue,
    DataProblemsError,
    Dataset,
    Problem,
    count_problems,
    picture_problems,
)
from tasks.data.findings import Findings
from tasks.data.inspection import SUFFIXES, Inspector, read
from tasks.data.manifest import digest_of_files
from tasks.data.shard import Decoded, Shard, manifest_of
from tasks.data.sharded_split import ShardedSplit, shard_runs, shards_of
from tasks.data.split import Audience, Part, Split

_MOST_PROBLEMS = 20


class FolderShard(Shard):
    """A shard of a folder's people."""

    kind: ClassVar = "folder_shard"
    version: ClassVar = 1

    def decode(self, root: Path, findings: Findings) -> Iterator[tuple[str, Iterator[Decoded]]]:
        for person in self.people:
            yield person, self._decoded(root, person)

    def _decoded(self, root: Path, person: str) -> Iterator[Decoded]:
        for path in pictures_of(root / person):
            name = path.relative_to(root).as_posix()
            seen, image = read(path)
            if image is None:
                raise ValueError(f"the pictures in {root} have changed since they were planned: {name} {seen.trouble}")
            yield Decoded(name, name, seen.digest, seen.digest, image)


class Folder(Dataset):
    """Pictures of any size, grey or colour, JPEG or PNG, in one folder per person."""

    name: ClassVar = "folder"

    root: str | None = Field(None, description="one folder of people, split into private and public ones")
    private: str | None = Field(None, description="folder of the private people, if there is no root")
    public: str | None = Field(None, description="folder of the public people, if there is no root")
    channels: Literal[1, 3] | None = Field(None, description="default: 3 if any picture has colour, else 1")

    def catalogue(self, base: Path) -> Catalogue:
        roots = self._roots(base)
        problems: list[Problem] = []
        scans = {field: _scan(field, path, problems) for field, path in roots.items()}
        if problems:
            raise DataProblemsError(_first(problems))
        if "root" in roots:
            private, public = self.choose_people(sorted(scans["root"].files))
            problems += _same_pictures("root", scans["root"], private, scans["root"], public)
        else:
            private, public = tuple(sorted(scans["private"].files)), tuple(sorted(scans["public"].files))
            problems += _overlaps(scans["private"], scans["public"]) + count_problems(private, public)
        counts = {p: len(files) for scan in scans.values() for p, files in scan.files.items() if p in private + public}
        problems += picture_problems(self, counts, private, {p: field for field, s in scans.items() for p in s.files})
        if problems:
            raise DataProblemsError(_first(problems))
        manifests = {person: digest for scan in scans.values() for person, digest in scan.manifests().items()}
        where = {person: roots[field] for field, scan in scans.items() for person in scan.files}
        channels: Literal[1, 3] = self.channels or (1 if all(scan.grey for scan in scans.values()) else 3)
        sources = {manifest_of(manifests, run): where[run[0]] for run in shard_runs(private, public, counts)}
        return Catalogue(private, public, counts, manifests, sources, channels)

    def split(self, catalogue: Catalogue, people: tuple[str, ...], part: Part, audience: Audience) -> Split:
        shards = shards_of(FolderShard, catalogue, people, size=self.size)
        return ShardedSplit(people=people, shards=shards, **self.common(catalogue, part, audience))

    def _roots(self, base: Path) -> dict[str, Path]:
        given = {field: value for field in ("root", "private", "public") if (value := getattr(self, field)) is not None}
        if "root" not in given and (self.private_people or self.public_people):
            text = "private_people and public_people choose from one `root`; two folders say it themselves"
            raise DataProblemsError([Problem("private_people", text)])
        if set(given) not in ({"root"}, {"private", "public"}):
            text = f"give either root, or private and public; got {', '.join(given) or 'none of them'}"
            raise DataProblemsError([Problem("root", text)])
        found, problems = {}, []
        for field, value in given.items():
            if "\0" in value:
                raise DataProblemsError([Problem(field, f"no folder {value!r}: a path has no NUL in it")])
            here = Path(value).expanduser()
            path = here if here.is_absolute() or here.exists() else base / here
            if not path.is_dir():
                problems.append(Problem(field, f"no folder {value!r} (looked at {path.resolve()})"))
            elif not os.access(path, os.R_OK | os.X_OK) or not _listable(path):
                problems.append(Problem(field, f"the folder {value!r} cannot be read: permission denied"))
            found[field] = path.resolve()
        if problems:
            raise DataProblemsError(problems)
        return found


class _Scan:
    """One root: people -> picture paths, content digests, whether all is grey."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = picture_files(root)
        names = {path.relative_to(root).as_posix(): path for files in self.files.values() for path in files}
        self.seen = {names[name]: seen for name, seen in Inspector(root).look(names).items()}
        self.digests = {path: seen.digest for path, seen in self.seen.items()}
        self.grey = all(seen.grey for seen in self.seen.values())

    def manifests(self) -> dict[str, str]:
        """Person -> digest of the names and contents of the person's pictures."""
        return {
            person: digest_of_files({path.relative_to(self.root).as_posix(): self.digests[path] for path in files})
            for person, files in self.files.items()
        }


def picture_files(root: Path) -> dict[str, list[Path]]:
    """Person -> pictures in name order; a person is a folder, a picture a file with an image's suffix."""
    people = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    return {p.name: pictures_of(p) for p in people}


def pictures_of(person: Path) -> list[Path]:
    """The pictures in a person's folder, in name order."""
    return sorted(f for f in person.rglob("*") if f.suffix.lower() in SUFFIXES and f.is_file())


def _scan(field: str, root: Path, problems: list[Problem]) -> _Scan:
    try:
        scan = _Scan(root)
    except OSError as error:
        problems.append(Problem(field, f"{error.filename} cannot be read: {error.strerror}"))
        return _Scan.__new__(_Scan)
    if not scan.files:
        problems.append(Problem(field, f"{root} has no folder of pictures in it; expected {root}/PERSON/PICTURE.jpg"))
    problems += [
        Problem(field, f"{path} {seen.trouble}; replace or remove it")
        for path, seen in scan.seen.items()
        if seen.trouble
    ]
    return scan


def _overlaps(private: _Scan, public: _Scan) -> list[Problem]:
    names = sorted(private.files.keys() & public.files.keys())
    problems = [Problem("public", f"private and public people overlap: {name!r} is in both folders") for name in names]
    others = [person for person in public.files if person not in names]
    return problems + _same_pictures("public", private, tuple(private.files), public, others)


def _same_pictures(
    field: str, private: _Scan, private_people: Sequence[str], public: _Scan, public_people: Sequence[str]
) -> list[Problem]:
    """Pictures that a private and a public person share, by content."""
    known = {private.digests[path]: path for person in private_people for path in private.files[person]}
    return [
        Problem(field, f"{path} is the same picture as the private {known[public.digests[path]]}")
        for person in public_people
        for path in public.files[person]
        if public.digests[path] in known
    ]


def _first(problems: list[Problem]) -> list[Problem]:
    """Not more than a person wants to read, and how many more there are."""
    rest = len(problems) - _MOST_PROBLEMS
    more = [Problem(problems[-1].field, f"and {rest} more problems like these")] if rest > 0 else []
    return problems[:_MOST_PROBLEMS] + more


def _listable(path: Path) -> bool:
    try:
        next(path.iterdir(), None)
    except OSError:
        return False
    return True
