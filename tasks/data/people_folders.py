"""Archives with a folder of pictures per person: what is listed, and what lies beside that is no picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from tasks.data.archive_files import ArchiveFiles, Entry, normal
from tasks.data.dataset import Problem
from tasks.data.findings import Findings
from tasks.data.inspection import SUFFIXES


class PeopleFolders(ArchiveFiles):
    """root/inside/PERSON/PICTURE.jpg; links to files and folders are followed, hidden files are none."""

    def __init__(self, root: Path, findings: Findings, inside: str) -> None:
        super().__init__(root, findings)
        self.inside = inside
        self._entries: dict[str, list[Entry]] = {}

    def people(self) -> Sequence[str]:
        return list(self._folders)

    def entries(self, person: str) -> Sequence[Entry]:
        if person not in self._entries:
            folders = self._folders.get(person, ())
            names = (name for folder in folders for name in picture_names(self.root, folder, self.findings))
            self._entries[person] = [Entry(name) for name in sorted(names)]
        return self._entries[person]

    @cached_property
    def _folders(self) -> dict[str, list[str]]:
        """Person -> folders of that name; two, if they differ in how an accent is stored."""
        found: dict[str, list[str]] = {}
        with os.scandir(self.root / self.inside) as entries:
            for entry in sorted(entries, key=lambda e: e.name):
                if entry.name.startswith("."):
                    continue
                if not entry.is_dir():
                    self.findings.add("files beside the folders of people, ignored", [f"{self.inside}/{entry.name}"])
                elif not _is_text(entry.name):
                    self.findings.add("folders left out: the name is not UTF-8", [ascii(entry.name)])
                else:
                    found.setdefault(normal(entry.name), []).append(f"{self.inside}/{entry.name}")
        return dict(sorted(found.items()))


def picture_names(root: Path, folder: str, findings: Findings) -> list[str]:
    """The picture files directly in a folder below the root, as names relative to it; others are findings."""
    found = []
    with os.scandir(root / folder) as entries:
        for entry in entries:
            own = entry.name
            name = f"{folder}/{own}"
            if own.startswith("."):
                continue
            if not _is_text(own):
                findings.add("pictures left out: the name is not UTF-8", [ascii(name)])
            elif entry.is_symlink() and not Path(entry.path).exists():
                findings.add("pictures left out: the symbolic link leads nowhere", [name])
            elif entry.is_file() and own.lower().endswith(SUFFIXES):
                found.append(name)
            else:
                findings.add("entries that are no pictures by their names, ignored", [name])
    return sorted(found)


def missing(root: Path, needed: Sequence[str], what: str, fetch: str) -> list[Problem]:
    """One problem if files or folders of the archive are not there: which, what to fetch, and where to put it."""
    gone = [str(root / name) for name in needed if not (root / name).exists()]
    if not gone:
        return []
    text = f"{' and '.join(gone)} {'is' if len(gone) == 1 else 'are'} not there"
    return [Problem("root", f"no {what}: {text}; {fetch.format(root=root)}")]


def incomplete(what: str, names: Sequence[str]) -> Problem:
    """Some of an archive is not there."""
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    text = f"{len(names):,} {what} ({shown}): the download or its unpacking is not complete; fetch the rest, or take "
    return Problem("root", text + "what is there with `partial: true`")


def _is_text(name: str) -> bool:
    if name.isascii():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
