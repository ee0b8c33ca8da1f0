"""Whether a store can be used: asked before anything is computed for it, and answered within a bounded time."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from grid.deadline import DeadlineError, within
from grid.store_address import StoreError, help_for
from grid.store_cache import FileCache
from grid.store_files import StoreFiles

OPEN_SECONDS = 30.0  # a store that takes longer for some small requests is none to compute with


def check_readable(files: StoreFiles, cache: FileCache | None) -> None:
    """Raise StoreError if the root is there and cannot be listed, or does not answer."""
    _checked(files, cache, files.check_listable, "read")


def check_writable(files: StoreFiles, cache: FileCache | None) -> None:
    """Raise StoreError unless a file can be written, read and deleted below the root."""

    def probe() -> None:
        name = f".probe-{uuid.uuid4().hex[:8]}"
        files.write(name, b"probe")
        if files.read(name) != b"probe":
            raise OSError("what was written does not read back")
        files.delete(name)

    _checked(files, cache, probe, "written")


def _checked(files: StoreFiles, cache: FileCache | None, call: Callable[[], None], what: str) -> None:
    place, hint = f"--store {files.shown}", "" if files.local else f"; {help_for(files.uri)}"
    if cache is not None and (problem := cache.problem()) is not None:
        raise StoreError(f"{place}: {problem}")
    try:
        with files.impatient():
            within(OPEN_SECONDS, call)
    except (OSError, DeadlineError) as error:
        reason = " ".join(str(error).split())[:400]
        raise StoreError(f"{place}: cannot be {what} ({reason}){hint}") from error
