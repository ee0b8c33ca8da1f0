"""What the picture files below a root hold: content digest, whether they decode, their mode; each looked at once.

A file that was looked at is remembered in the user's cache folder by its name, size and times, so that a second
plan hashes and decodes nothing. A file that changed in any of these is looked at again. What changed so recently
that another change could hide behind the same times is not remembered (the "racily clean" files of git).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".pgm", ".ppm", ".bmp", ".webp", ".tif", ".tiff")
GREY_MODES = frozenset({"1", "L", "I;16", "I", "F"})
RACY_NS = 2_000_000_000  # the coarsest clock of a file system in use (FAT)
_VERSION = 1
_AT_A_TIME, _SAVE_SECONDS = 1024, 20.0
_ORIENTATION = 0x0112  # of EXIF; 1 is upright
_DIGEST = 3  # its place in what is remembered of a file, behind the stamp
_TURNED, _SIDEWAYS = range(2, 9), range(5, 9)


class Seen(NamedTuple):
    """What a file holds. `trouble` says why it is no picture; then mode, size (upright) and turned mean nothing."""

    digest: str
    trouble: str = ""
    mode: str = ""
    width: int = 0
    height: int = 0
    turned: bool = False  # its EXIF asks for a rotation or a mirroring

    @property
    def grey(self) -> bool:
        """Whether it has no colour."""
        return self.mode in GREY_MODES


class Inspector:
    """Looks at files below one root, several at a time; `look` remembers what it found, in `known` by name."""

    def __init__(self, root: Path) -> None:
        self.root, self._root = root, str(root)
        place = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:32]
        self._memory = cache_folder() / "pictures" / f"{place}.json"
        self.known: dict[str, list[int | str]] = {}
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):  # absent or torn: anew
            content = json.loads(self._memory.read_text(encoding="utf-8"))
            if content["version"] == _VERSION:
                self.known = dict(content["files"])

    def look(self, names: Iterable[str]) -> dict[str, Seen]:
        """Name -> what the file holds, in the order given. A file that cannot be read is in trouble, not an error."""
        wanted = list(dict.fromkeys(names))
        found: dict[str, Seen] = {}
        fresh: list[str] = []
        for name in wanted:
            if (seen := self._remembered(name)) is None:
                fresh.append(name)
            else:
                found[name] = seen
        saved = time.monotonic()
        with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:  # Pillow decodes without the GIL
            for start in range(0, len(fresh), _AT_A_TIME):
                part = fresh[start : start + _AT_A_TIME]
                for name, (seen, stamp) in zip(part, pool.map(self._inspect, part), strict=True):
                    found[name] = seen
                    self._keep(name, seen, stamp)
                if time.monotonic() - saved > _SAVE_SECONDS:  # a killed look goes on from here
                    self._save()
                    saved = time.monotonic()
        if fresh:
            self._save()
        return {name: found[name] for name in wanted}

    def _keep(self, name: str, seen: Seen, stamp: tuple[int, int, int] | None) -> None:
        if stamp is None:
            self.known.pop(name, None)
        else:
            self.known[name] = [*stamp, *seen]

    def _remembered(self, name: str) -> Seen | None:
        row = self.known.get(name)
        if row is None:
            return None
        try:
            size, modified, changed, *rest = row
            if (size, modified, changed) == _stamp(f"{self._root}/{name}") and len(rest) == len(Seen._fields):
                return Seen(*rest)  # type: ignore[arg-type]
        except (OSError, TypeError, ValueError):
            return None
        return None

    def _inspect(self, name: str) -> tuple[Seen, tuple[int, int, int] | None]:
        """What a file holds and, unless it may be changing just now, its stamp."""
        path = self.root / name
        try:
            before = _stamp(path)
            now = time.time_ns()
            data = path.read_bytes()
            seen = inspect(data)
            settled = before == _stamp(path) and all(now - stamp > RACY_NS for stamp in before[1:])
        except OSError as error:
            return unreadable(error), None
        return seen, before if settled else None

    def _save(self) -> None:
        content = {"version": _VERSION, "root": str(self.root), "files": self.known}
        with contextlib.suppress(OSError):  # a memory that cannot be kept is only slower
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._memory.parent, suffix=".part")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(content, file)
            Path(name).replace(self._memory)


def inspect(data: bytes) -> Seen:
    """What the bytes of a file hold; a picture is decoded whole, since a truncated one has a good header."""
    return decode(data)[0]


def decode(data: bytes) -> tuple[Seen, Image.Image | None]:
    """What the bytes of a file hold, and the picture, turned upright; None where there is trouble."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    digest = hashlib.sha256(data).hexdigest()
    if not data:
        return Seen(digest, "is empty (0 bytes)"), None
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            turn = image.getexif().get(_ORIENTATION, 1)
            width, height = (image.height, image.width) if turn in _SIDEWAYS else image.size
            seen = Seen(digest, "", image.mode, width, height, turn in _TURNED)
            return seen, ImageOps.exif_transpose(image) if seen.turned else image
    except UnidentifiedImageError:
        return Seen(digest, "does not decode as an image (of no known format)"), None
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError):
        return Seen(digest, "does not decode as an image (truncated or damaged)"), None


def read(path: Path) -> tuple[Seen, Image.Image | None]:
    """The same of a file, which is opened once; one that cannot be read is in trouble, not an error."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return unreadable(error), None
    return decode(data)


def unreadable(error: OSError) -> Seen:
    """A file that cannot be read."""
    return Seen("", f"cannot be read: {error.strerror or error}")


def last_seen(root: Path, names: Iterable[str]) -> dict[str, str]:
    """Name -> content digest of those files below a root that this machine remembers, changed since or not."""
    known = Inspector(root).known
    return {name: str(known[name][_DIGEST]) for name in names if name in known}


def cache_folder() -> Path:
    """The user's cache folder of decoygrid."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "decoygrid"


def _stamp(path: Path | str) -> tuple[int, int, int]:
    """Size and the times of the last change of a file's content and of its inode; links are followed."""
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns
