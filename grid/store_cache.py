"""Files of a store far away, kept on this machine by content, so that a node fetches each of them once.

`<cache>/<first two digits>/<sha256>`. Several processes share it: a file appears whole or not at all, and is hashed
when it comes and at its first use in each process, so that a damaged one is fetched again. The least recently used go
first, but none that any process may be about to open, nor one that is still coming.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from tasks.data.manifest import file_digest

DEFAULT_GIGABYTES = 20.0
KEPT_SECONDS = 600.0  # after its last use by any process
ABANDONED_SECONDS = 3600.0  # after which a download that has not grown is that of a killed process
_UNFINISHED = ".part"


class CacheError(ValueError):
    """The environment asks for a cache that cannot be."""


class OtherContentError(Exception):
    """What was fetched is not what its sha256 says."""


class FileCache:
    """At most `limit` bytes below `folder`; what is being used stays, whatever the limit."""

    def __init__(self, folder: Path, limit: float) -> None:
        self._folder, self._limit = folder, limit
        self._in_use: set[Path] = set()  # by this process, which has hashed them

    def problem(self) -> str | None:
        """Why files cannot be kept here, or None."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder):
                return None
        except OSError as error:
            text = f"the cache {self._folder} cannot be written ({error.strerror or error})"
            return f"{text}; name another folder in DECOYGRID_CACHE"

    def path(self, digest: str, size: int, fetch: Callable[[Path], None]) -> Path:
        """The file with this sha256; `fetch(path)` brings it if it is not here, or not whole.

        OtherContentError if what was fetched has another one; what `fetch` raises is passed on. Nothing is left then.
        """
        found = self._folder / digest[:2] / digest
        if (found in self._in_use or self._is_whole(found, digest)) and _touch(found):
            self._in_use.add(found)
            return found
        found.parent.mkdir(parents=True, exist_ok=True)
        self._make_room(size)
        part = found.with_name(f"{digest}.{uuid.uuid4().hex[:8]}{_UNFINISHED}")
        try:
            fetch(part)
            if file_digest(part) != digest:
                raise OtherContentError(digest)
            part.replace(found)
        finally:
            part.unlink(missing_ok=True)
        self._in_use.add(found)
        return found

    @staticmethod
    def _is_whole(path: Path, digest: str) -> bool:
        try:
            return file_digest(path) == digest
        except OSError:
            return False

    def _make_room(self, size: int) -> None:
        """Remove the files whose last use is longest ago until `size` more bytes fit, and what was abandoned."""
        kept: list[tuple[float, int, Path]] = []
        now = time.time()
        for path in self._folder.glob("??/*"):
            with contextlib.suppress(OSError):  # another process has just removed it
                about = path.stat()
                if path.suffix != _UNFINISHED:
                    kept.append((about.st_mtime, about.st_size, path))
                elif now - about.st_mtime > ABANDONED_SECONDS:
                    path.unlink()
        total = sum(bytes_ for _, bytes_, _ in kept)
        for used, bytes_, path in sorted(kept):
            if total + size <= self._limit or now - used < KEPT_SECONDS:
                return
            if path in self._in_use:
                continue
            with contextlib.suppress(OSError):
                path.unlink()
                total -= bytes_


def _touch(path: Path) -> bool:
    """Note that a file is used now; False if it has gone."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    except OSError:  # another user's file, in a cache that is shared
        return path.exists()
    return True


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
