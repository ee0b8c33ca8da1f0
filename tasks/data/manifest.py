"""Content digests of folders and files: data are keyed by what they hold, never by where they lie."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path


def file_digest(path: Path) -> str:
    """sha256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of_files(content: Mapping[str, str]) -> str:
    """One digest over relative names and the digests of the files' contents."""
    lines = "".join([f"{name}\0{value}\n" for name, value in sorted(content.items())])
    return hashlib.sha256(lines.encode()).hexdigest()


def manifest_of(root: Path) -> str:
    """Digest over the relative names and contents of all files below `root`, hidden ones left out."""
    files = (p for p in root.rglob("*") if p.is_file() and not p.name.startswith("."))
    return digest_of_files({path.relative_to(root).as_posix(): file_digest(path) for path in files})
