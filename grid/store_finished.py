"""Finished stages in a store: written with `done.json` last, read with every file verified before its first use."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from grid.store_batch import Batch
from grid.store_cache import FileCache, OtherContentError
from grid.store_files import StoreFiles
from grid.store_record import DONE, is_whole, sealed
from tasks.artifact import Artifact, DamagedArtifactError
from tasks.data.manifest import file_digest

SMALL_BYTES = 1 << 16
_OTHER_CONTENT = "has other content than was written (sha256 differs)"


class FinishedStages(Batch):
    """`<key>/<attempt>/files` and `<key>/done.json`, which names the attempt that counts."""

    def __init__(self, files: StoreFiles, cache: FileCache | None) -> None:
        super().__init__(files)
        self._cache = cache
        self._verified: set[tuple[str, str]] = set()

    def done(self, key: str) -> dict[str, Any] | None:
        """The record of a finished stage, or None if there is none (or it is unreadable, which is the same)."""
        record = self._files.read_json(f"{key}/{DONE}")
        return record if record is not None and is_whole(record) else None

    def has_damaged_record(self, key: str) -> bool:
        """Whether a `done.json` is there that is not what was written."""
        try:
            record = json.loads(self._files.read(f"{key}/{DONE}"))
        except FileNotFoundError:
            return False
        except ValueError:
            return True
        except OSError:
            if not self._files.local:
                raise
            return self._files.size(f"{key}/{DONE}") is not None
        return not isinstance(record, dict) or not is_whole(record)

    def finish(self, key: str, attempt: str, folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
        """Upload the files of `folder` as `attempt`, then write done.json last. Returns the full record."""
        files = {}
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            name, size = path.relative_to(folder).as_posix(), path.stat().st_size
            if size <= SMALL_BYTES:  # read once, for its digest and for the store
                data = path.read_bytes()
                files[name] = {"size": size, "sha256": hashlib.sha256(data).hexdigest()}
                self._files.write(f"{key}/{attempt}/{name}", data)
            else:
                files[name] = {"size": size, "sha256": file_digest(path)}
                self._files.upload(path, f"{key}/{attempt}/{name}")
        full = sealed({**record, "key": key, "attempt": attempt, "files": files})
        self._files.write_json(f"{key}/{DONE}", full)
        return full

    def load(self, key: str) -> Artifact:
        """The artifact of a finished stage. Each file is verified before its first use in this process."""
        record = self.done(key)
        if record is None:
            raise DamagedArtifactError(key, f"no readable {DONE} in {self._files.shown_place}/{key}")
        return self.artifact(record)

    def artifact(self, record: Mapping[str, Any]) -> Artifact:
        """The artifact of a stage whose record is at hand."""
        return Artifact(record["key"], record["metrics"], lambda name: self._fetch(record, name))

    def damage(self, record: Mapping[str, Any], *, contents: bool = True) -> str | None:
        """Why a finished stage's files are not what was written, or None. `contents=False` checks sizes only."""
        sizes = {name: self._files.size(_place(record, name)) for name in record["files"]}
        if (reason := _wrong_size(record, sizes)) is not None or not contents:
            return reason
        for name, expected in record["files"].items():
            if self._files.digest(_place(record, name)) != expected["sha256"]:
                return f"{name} {_OTHER_CONTENT}"
        return None

    def damages(self, records: Iterable[Mapping[str, Any]]) -> dict[str, str]:
        """What is wrong with the files of finished stages, by key. Of a store far away sizes only: what is fetched
        is hashed when it is used."""
        listed = list(records)
        if self._files.local or 2 * len(listed) < len(self._keys()):  # a list of all files would be longer
            found = self.each(lambda record: self.damage(record, contents=self._files.local), listed)
        else:
            sizes = self._files.all_sizes()
            found = [_wrong_size(one, {n: sizes.get(_place(one, n)) for n in one["files"]}) for one in listed]
        return {record["key"]: reason for record, reason in zip(listed, found, strict=True) if reason is not None}

    def invalidate(self, key: str) -> None:
        """Forget a finished stage (its files stay until `finish` names another attempt)."""
        self._files.delete(f"{key}/{DONE}")
        self._verified = {pair for pair in self._verified if pair[0] != key}

    def records(
        self, keys: Iterable[str] | None = None, *, at_hand: Mapping[str, dict[str, Any]] | None = None
    ) -> dict[str, dict[str, Any]]:
        """Records of the finished stages among `keys` (default: all in the store), by key.

        at_hand: records that were read before, which are not asked for again.
        """
        have = at_hand or {}
        names = list(keys) if keys is not None else self._keys()
        found = self._found(self.done, [key for key in names if key not in have])
        return {key: have[key] if key in have else found[key] for key in names if key in have or key in found}

    def damaged_records(self, keys: Iterable[str]) -> list[str]:
        """Those of the keys that have a `done.json` which is not what was written."""
        names = self.known(keys)
        return [key for key, bad in zip(names, self.each(self.has_damaged_record, names), strict=True) if bad]

    def _fetch(self, record: Mapping[str, Any], name: str) -> Path:
        """A file of this machine with the content that was written: the store's own, or the cache's."""
        key, attempt = record["key"], record["attempt"]
        if name not in record["files"]:
            raise KeyError(f"{key} has no file {name!r}; it has {sorted(record['files'])}")
        if self._cache is not None:
            return self._fetch_far(record, name, self._cache)
        local, digest = self._files.path(_place(record, name)), record["files"][name]["sha256"]
        if (key, f"{attempt}/{name}") not in self._verified:
            try:
                found = file_digest(local)
            except OSError as error:
                raise DamagedArtifactError(key, f"{name} cannot be read ({error})", attempt) from error
            if found != digest:
                raise DamagedArtifactError(key, f"{name} {_OTHER_CONTENT}", attempt)
            self._verified.add((key, f"{attempt}/{name}"))
        return local

    def _fetch_far(self, record: Mapping[str, Any], name: str, cache: FileCache) -> Path:
        """The same of a store far away. One that does not answer is an OSError, no damage."""
        key, attempt, about = record["key"], record["attempt"], record["files"][name]
        place = _place(record, name)

        def fetch(path: Path) -> None:
            try:
                self._files.download(place, path)
            except FileNotFoundError as error:
                if self._files.size(place) is not None:  # it is the cache's folder that has gone
                    raise
                raise DamagedArtifactError(key, f"{name} cannot be read ({error})", attempt) from error

        try:
            return cache.path(about["sha256"], about["size"], fetch)
        except OtherContentError as error:
            raise DamagedArtifactError(key, f"{name} {_OTHER_CONTENT}", attempt) from error


def _place(record: Mapping[str, Any], name: str) -> str:
    return f"{record['key']}/{record['attempt']}/{name}"


def _wrong_size(record: Mapping[str, Any], sizes: Mapping[str, int | None]) -> str | None:
    for name, expected in record["files"].items():
        if (size := sizes[name]) is None:
            return f"{name} is missing"
        if size != expected["size"]:
            return f"{name} has {size} bytes, {expected['size']} were written"
    return None
