"""Files below one root on any `pyarrow.fs` file system: bytes, JSON and digests.

A small file appears whole or not at all: in a folder by a rename, far away (s3://, gs://) as one object, with no rename
assumed. Far away what may pass by itself is tried again; a folder's errors are final.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pyarrow.fs as pafs

from grid.store_address import StoreError
from grid.store_retries import FEW_TRIES, TRIES, retried
from grid.store_uri import Root, open_root
from tasks.data.manifest import file_digest

__all__ = ["StoreError", "StoreFiles"]

T = TypeVar("T")
COPIED_AT_ONCE = 8 << 20  # bytes
_UNFINISHED = ".part"


class StoreFiles:
    """Names are relative to the root; `local` says whether they are files of this machine."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        opened: Root = open_root(uri)
        self._fs, self.root, self.shown = opened
        self.local = isinstance(self._fs, pafs.LocalFileSystem)
        self.place = self.root if self.local else uri  # as a person would type it, absolute for folders
        self.shown_place = self.root if self.local else self.shown
        self._tries = TRIES
        self._has_folders = not isinstance(self._fs, pafs.S3FileSystem | pafs.GcsFileSystem)

    @contextmanager
    def impatient(self) -> Iterator[None]:
        """Within it a store that does not answer is soon given up: a person waits who may have mistyped its name."""
        self._tries = FEW_TRIES
        try:
            yield
        finally:
            self._tries = TRIES

    def check_bucket(self) -> None:
        """FileNotFoundError if there is no such bucket; in one that is there, a folder is made by writing into it."""
        bucket = self.root.partition("/")[0]
        if not self._has_folders and self._do(lambda: self._fs.get_file_info(bucket)).type == pafs.FileType.NotFound:
            raise FileNotFoundError(f"there is no bucket {bucket!r}")

    def check_listable(self) -> None:
        """OSError if what is in the root cannot be listed; far away without listing all of it."""
        if self._has_folders:
            self.names()
        else:
            self.check_bucket()
            self.size(f".nothing-{uuid.uuid4().hex[:8]}")  # looks for a file, then for a folder: one page of a list

    def path(self, name: str) -> Path:
        """Where a file of this machine is; only for a local root."""
        return Path(self.root) / name

    def names(self, folder: str = "", *, folders: bool = False) -> list[str]:
        """Base names of the files (or folders) in a folder, sorted; none if it is not there."""
        place = f"{self.root}/{folder}" if folder else self.root
        if self.local:
            return sorted(_names_here(place, folders))
        kind = pafs.FileType.Directory if folders else pafs.FileType.File
        infos = self._do(lambda: self._fs.get_file_info(pafs.FileSelector(place, allow_not_found=True)))
        return sorted(info.base_name for info in infos if info.type == kind)

    def all_sizes(self) -> dict[str, int]:
        """Bytes of every file below the root, by name; a thousand objects a request."""
        selector = pafs.FileSelector(self.root, recursive=True, allow_not_found=True)
        infos = self._do(lambda: self._fs.get_file_info(selector))
        skipped = len(self.root.rstrip("/")) + 1
        return {info.path[skipped:]: int(info.size) for info in infos if info.type == pafs.FileType.File}

    def size(self, name: str) -> int | None:
        """Bytes of a file; None if there is none of that name."""
        info = self._do(lambda: self._fs.get_file_info(f"{self.root}/{name}"))
        return int(info.size) if info.type == pafs.FileType.File else None

    def digest(self, name: str) -> str:
        """sha256 of a file."""
        if self.local:
            return file_digest(self.path(name))
        return self._do(partial(self._digest, name))

    def _digest(self, name: str) -> str:
        with self._fs.open_input_stream(f"{self.root}/{name}") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def read(self, name: str) -> bytes:
        """All bytes of a file. FileNotFoundError if there is none; OSError if the store does not answer."""
        if not self.local:
            return self._do(partial(self._read, name))
        with open(f"{self.root}/{name}", "rb") as file:
            return file.read()

    def _read(self, name: str) -> bytes:
        with self._fs.open_input_file(f"{self.root}/{name}") as stream:
            data: bytes = stream.read()
            _check_length(name, len(data), stream.size())
        return data

    def write(self, name: str, data: bytes) -> None:
        """Write a file, and the folders that it lies in."""
        if self.local:
            _write_here(f"{self.root}/{name}", data)
        else:
            self._do(partial(self._write, name, data))

    def _write(self, name: str, data: bytes) -> None:
        self._make_folder_of(name)
        with self._fs.open_output_stream(f"{self.root}/{name}") as stream:
            stream.write(data)

    def upload(self, path: Path, name: str) -> None:
        """Copy a file of this machine, and make the folders that it comes to lie in."""
        self._do(partial(self._upload, path, name))

    def _upload(self, path: Path, name: str) -> None:
        self._make_folder_of(name)
        pafs.copy_files(str(path), f"{self.root}/{name}", destination_filesystem=self._fs)

    def download(self, name: str, path: Path) -> None:
        """Copy a file to this machine."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._do(partial(self._download, name, path))

    def _download(self, name: str, path: Path) -> None:
        with self._fs.open_input_file(f"{self.root}/{name}") as stream, path.open("wb") as file:
            shutil.copyfileobj(stream, file, COPIED_AT_ONCE)
            _check_length(name, file.tell(), stream.size())

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        self.write(name, json.dumps(content, indent=1, sort_keys=True, allow_nan=True).encode())

    def read_json(self, name: str) -> dict[str, Any] | None:
        """A JSON object; None if there is none, or something else.

        A store far away that does not answer is an OSError: what cannot be seen is not what is not there.
        """
        try:
            content = json.loads(self.read(name))
        except (FileNotFoundError, ValueError):
            return None
        except OSError:
            if self.local:
                return None
            raise
        return content if isinstance(content, dict) else None

    def delete(self, name: str) -> None:
        """Delete a file, if it is there."""
        if self.local:
            with suppress(FileNotFoundError):
                os.unlink(f"{self.root}/{name}")
            return
        try:
            self._do(lambda: self._fs.delete_file(f"{self.root}/{name}"))
        except FileNotFoundError:
            return

    def delete_folder(self, name: str) -> None:
        """Delete a folder and all in it, if it is there."""
        if self.local and not os.path.isdir(f"{self.root}/{name}"):
            return
        try:
            self._do(lambda: self._fs.delete_dir(f"{self.root}/{name}"))
        except FileNotFoundError:
            return

    def _do(self, call: Callable[[], T]) -> T:
        return call() if self.local else retried(call, self._tries)

    def _make_folder_of(self, name: str) -> None:
        if not self._has_folders:
            return  # an object's name has slashes; there are no folders to be made
        self._fs.create_dir(f"{self.root}/{name}".rsplit("/", 1)[0], recursive=True)


def _names_here(folder: str, folders: bool) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if (entry.is_dir() if folders else entry.is_file()) and not entry.name.endswith(_UNFINISHED):
                    yield entry.name
    except FileNotFoundError:
        return


def _write_here(path: str, data: bytes) -> None:
    """Under another name, then renamed: who reads at the same time finds the whole of the old or of the new."""
    folder = path.rpartition("/")[0]
    part = f"{folder}/.{uuid.uuid4().hex}{_UNFINISHED}"
    try:
        try:
            _put(part, data)
        except FileNotFoundError:
            os.makedirs(folder, exist_ok=True)
            _put(part, data)
        os.replace(part, path)
    except OSError:
        with suppress(OSError):
            os.unlink(part)
        raise


def _put(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


def _check_length(name: str, found: int, expected: int) -> None:
    """OSError for a file of which only a part came: a connection that was cut is not always said."""
    if found != expected:
        raise OSError(f"{name}: {found} of {expected} bytes came")
