"""Files below one root on any `pyarrow.fs` file system: bytes, JSON and digests. No rename is assumed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs

from tasks.data.manifest import file_digest


class StoreError(Exception):
    """The store cannot be used as asked; the message names the place and the reason."""


class StoreFiles:
    """Names are relative to the root; `local` says whether they are files of this machine."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        if not uri.strip():
            raise StoreError("--store: is empty; give a folder or a URI")
        try:
            if "://" in uri:
                self._fs, self.root = pafs.FileSystem.from_uri(uri)
            else:
                self._fs, self.root = pafs.LocalFileSystem(), str(Path(uri).expanduser().resolve())
        except Exception as error:
            raise StoreError(f"--store {uri}: not a folder or a URI that pyarrow.fs can open ({error})") from error
        self.local = isinstance(self._fs, pafs.LocalFileSystem)

    def path(self, name: str) -> Path:
        """Where a file of this machine is; only for a local root."""
        return Path(self.root) / name

    def names(self, folder: str = "", *, folders: bool = False) -> list[str]:
        """Base names of the files (or folders) in a folder, sorted; none if it is not there."""
        kind = pafs.FileType.Directory if folders else pafs.FileType.File
        place = f"{self.root}/{folder}" if folder else self.root
        infos = self._fs.get_file_info(pafs.FileSelector(place, allow_not_found=True))
        return sorted(info.base_name for info in infos if info.type == kind)

    def size(self, name: str) -> int | None:
        """Bytes of a file; None if there is none of that name."""
        info = self._fs.get_file_info(f"{self.root}/{name}")
        return int(info.size) if info.type == pafs.FileType.File else None

    def digest(self, name: str) -> str:
        """sha256 of a file."""
        if self.local:
            return file_digest(self.path(name))
        with self._fs.open_input_stream(f"{self.root}/{name}") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def read(self, name: str) -> bytes:
        with self._fs.open_input_stream(f"{self.root}/{name}") as stream:
            data: bytes = stream.read()
        return data

    def write(self, name: str, data: bytes) -> None:
        """Write a file, and the folders that it lies in."""
        self._make_folder_of(name)
        with self._fs.open_output_stream(f"{self.root}/{name}") as stream:
            stream.write(data)

    def upload(self, path: Path, name: str) -> None:
        """Copy a file of this machine, and make the folders that it comes to lie in."""
        self._make_folder_of(name)
        pafs.copy_files(str(path), f"{self.root}/{name}", destination_filesystem=self._fs)

    def download(self, name: str, path: Path) -> None:
        """Copy a file to this machine."""
        path.parent.mkdir(parents=True, exist_ok=True)
        pafs.copy_files(f"{self.root}/{name}", str(path), source_filesystem=self._fs)

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        self.write(name, json.dumps(content, indent=1, sort_keys=True, allow_nan=True).encode())

    def read_json(self, name: str) -> dict[str, Any] | None:
        """A JSON object; None if there is none, or something else."""
        try:
            content = json.loads(self.read(name))
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None

    def delete(self, name: str) -> None:
        """Delete a file, if it is there."""
        try:
            self._fs.delete_file(f"{self.root}/{name}")
        except FileNotFoundError:
            return

    def delete_folder(self, name: str) -> None:
        """Delete a folder and all in it, if it is there."""
        try:
            self._fs.delete_dir(f"{self.root}/{name}")
        except FileNotFoundError:
            return

    def _make_folder_of(self, name: str) -> None:
        self._fs.create_dir(f"{self.root}/{name}".rsplit("/", 1)[0], recursive=True)
