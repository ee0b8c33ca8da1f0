"""Files of a store far away, kept on this machine by content, so that a node fetches each of them once.

`<cache>/<first two digits>/<sha256>`. Several processes share it: a file appears whole or not at all, and is hashed
at its first use in each process, so that a damaged one is fetched again. The least recently used go first.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable
from pathlib import Path

from tasks.data.manifest import file_digest

DEFAULT_GIGABYTES = 20.0
_UNFINISHED = ".part"


class CacheError(ValueError):
    """The environment asks for a cache that cannot be."""


class FileCache:
    """At most `limit` bytes below `folder`; what is being used stays, whatever the limit."""

    def __init__(self, folder: Path, limit: float) -> None:
        self._folder, self._limit = folder, limit
        self._in_use: set[Path] = set()  # by this process; of other processes the youngest stay

    def path(self, digest: str, size: int, fetch: Callable[[Path], None]) -> Path:
        """The file with this sha256; `fetch(path)` brings it if it is not here, or not whole.

        What `fetch` brought is returned as it is: the caller says whose fault it is if that is not the content.
        """
        found = self._folder / digest[:2] / digest
        if found in self._in_use and found.exists():
            return found
        self._in_use.add(found)
        if self._is_whole(found, digest):
            with contextlib.suppress(OSError):
                os.utime(found)  # it counts as used now
            return found
        found.parent.mkdir(parents=True, exist_ok=True)
        self._make_room(size)
        part = found.with_name(f"{digest}.{uuid.uuid4().hex[:8]}{_UNFINISHED}")
        try:
            fetch(part)
            part.replace(found)
        finally:
            part.unlink(missing_ok=True)
        return found

    def forget(self, digest: str) -> None:
        """Remove a file whose content is not what its name says."""
        found = self._folder / digest[:2] / digest
        self._in_use.discard(found)
        found.unlink(missing_ok=True)

    @staticmethod
    def _is_whole(path: Path, digest: str) -> bool:
        try:
            return file_digest(path) == digest
        except OSError:
            return False

    def _make_room(self, size: int) -> None:
        """Remove the files whose last use is longest ago until `size` more bytes fit."""
        kept: list[tuple[float, int, Path]] = []
        for path in self._folder.glob("??/*"):
            with contextlib.suppress(OSError):  # another process has just removed it
                about = path.stat()
                kept.append((about.st_mtime, about.st_size, path))
        total = sum(bytes_ for _, bytes_, _ in kept)
        for _, bytes_, path in sorted(kept):
            if total + size <= self._limit:
                return
            if path in self._in_use:
                continue
            with contextlib.suppress(OSError):
                path.unlink()
                total -= bytes_


def cache_of_environment() -> FileCache:
    """The cache of this machine: DECOYGRID_CACHE (a folder) and DECOYGRID_CACHE_GB, or the user's own. CacheError."""
    chosen = os.environ.get("DECOYGRID_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    text = os.environ.get("DECOYGRID_CACHE_GB", str(DEFAULT_GIGABYTES))
    try:
        gigabytes = float(text)
    except ValueError:
        gigabytes = -1.0
    if not 0 <= gigabytes < float("inf"):
        raise CacheError(f"DECOYGRID_CACHE_GB must be a number of gigabytes, 0 or more, got {text!r}")
    return FileCache(Path(chosen).expanduser() if chosen else Path(home) / "decoygrid", gigabytes * 1e9)
