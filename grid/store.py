"""The content-addressed store: `<root>/<key>/<attempt>/files` and, written last, `<root>/<key>/done.json`.

Any `pyarrow.fs` URI. No rename is assumed far away: writers write under an attempt of their own, so two drivers on one
store never harm each other, and `done.json` names the attempt that counts. It carries a digest of itself and
the size and sha256 of every file, so that a damaged artifact is found and computed again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grid.store_access import check_readable, check_writable
from grid.store_attempts import Attempts
from grid.store_cache import CacheError, FileCache, cache_of_environment
from grid.store_files import StoreError, StoreFiles
from grid.store_finished import FinishedStages


class Store(FinishedStages, Attempts):
    """Finished, failed and running stages at one URI. Cheap to make; safe to make in every process."""

    def __init__(self, uri: str) -> None:
        files = StoreFiles(uri)
        super().__init__(files, None if files.local else _cache_for(files))

    @property
    def location(self) -> str:
        """The root as a person would type it, absolute for folders."""
        return self._files.place

    @property
    def shown(self) -> str:
        """The root in messages: without a URI's options, so that more can follow it."""
        return self._files.shown_place

    @property
    def local(self) -> bool:
        """Whether it is a folder of this machine."""
        return self._files.local

    def check_readable(self) -> None:
        """Raise StoreError if the root is there and cannot be listed, or does not answer."""
        check_readable(self._files, self._cache)

    def check_writable(self) -> None:
        """Raise StoreError unless a file can be written, read and deleted below the root."""
        check_writable(self._files, self._cache)

    def finish(self, key: str, attempt: str, folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
        """Upload the files of `folder` as `attempt`, then write done.json last. Returns the full record."""
        full = super().finish(key, attempt, folder, record)
        self.forget_attempts(key)
        return full

    # --- named documents beside the stages (the cells of a grid) ------------------------------------------

    def write_document(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON document below the root."""
        self._files.write_json(name, content)

    def read_document(self, name: str) -> dict[str, Any] | None:
        """Read a JSON document, or None."""
        return self._files.read_json(name)

    def delete_document(self, name: str) -> None:
        """Delete a JSON document, if it is there."""
        self._files.delete(name)

    def documents(self, folder: str) -> list[str]:
        """Names of the documents below a folder of the root."""
        return [f"{folder}/{name}" for name in self._files.names(folder) if name.endswith(".json")]


def _cache_for(files: StoreFiles) -> FileCache:
    try:
        return cache_of_environment()
    except CacheError as error:
        raise StoreError(f"--store {files.shown}: {error}") from error
