"""The content-addressed store: `<root>/<key>/<attempt>/files` and, written last, `<root>/<key>/done.json`.

Any `pyarrow.fs` URI. No rename is assumed: writers write under an attempt of their own, so two drivers on one
store never harm each other, and `done.json` names the attempt that counts. It carries a digest of itself and
the size and sha256 of every file, so that a damaged artifact is found and computed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from grid.store_cache import CacheError, FileCache, cache_of_environment
from grid.store_checkpoints import CHECKPOINTS, StoredCheckpoints
from grid.store_files import StoreError, StoreFiles
from grid.store_uri import help_for
from tasks.artifact import Artifact, DamagedArtifactError
from tasks.data.manifest import file_digest

T = TypeVar("T")
R = TypeVar("R")
DONE = "done.json"
FAILED = "failed.json"
RUNNING = "running"
HEARTBEAT_SECONDS = 10.0
SMALL_BYTES = 1 << 16
LOCAL_REQUESTS, FAR_REQUESTS = 8, 32  # at a time
_HAS_PROC = Path("/proc/self").exists()
_HEARTBEAT_LOST = 4 * HEARTBEAT_SECONDS


class Store:
    """Finished, failed and running stages at one URI. Cheap to make; safe to make in every process."""

    def __init__(self, uri: str) -> None:
        self._files = StoreFiles(uri)
        self._verified: set[tuple[str, str]] = set()
        self._cache: FileCache | None = None
        if not self._files.local:
            try:
                self._cache = cache_of_environment()
            except CacheError as error:
                raise StoreError(f"--store {self._files.shown}: {error}") from error

    @property
    def location(self) -> str:
        """The root as a person would type it, absolute for folders."""
        return self._files.root if self._files.local else self._files.uri

    def check_readable(self) -> None:
        """Raise StoreError if the root is there and cannot be listed."""
        try:
            with self._files.impatient():
                self._files.check_bucket()
                self._files.names()
        except OSError as error:
            raise StoreError(f"--store {self._files.shown}: cannot be read ({_reason(error)}){self._help}") from error

    def check_writable(self) -> None:
        """Raise StoreError unless a file can be written, read and deleted below the root."""
        probe = f".probe-{uuid.uuid4().hex[:8]}"
        try:
            with self._files.impatient():
                self._files.write(probe, b"probe")
                if self._files.read(probe) != b"probe":
                    raise OSError("what was written does not read back")
                self._files.delete(probe)
        except OSError as error:
            reason = _reason(error)
            raise StoreError(f"--store {self._files.shown}: cannot be written ({reason}){self._help}") from error

    @property
    def local(self) -> bool:
        """Whether it is a folder of this machine."""
        return self._files.local

    @property
    def _help(self) -> str:
        return "" if self.local else f"; {help_for(self._files.uri)}"

    # --- finished stages -------------------------------------------------------------------------------

    def done(self, key: str) -> dict[str, Any] | None:
        """The record of a finished stage, or None if there is none (or it is unreadable, which is the same)."""
        record = self._files.read_json(f"{key}/{DONE}")
        if record is None or record.get("digest") != _self_digest(record):
            return None
        return record

    def has_damaged_record(self, key: str) -> bool:
        """Whether a `done.json` is there that is not what was written."""
        return self.done(key) is None and self._files.size(f"{key}/{DONE}") is not None

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
        full = {**record, "key": key, "attempt": attempt, "files": files}
        full["digest"] = _self_digest(full)
        self._files.write_json(f"{key}/{DONE}", full)
        with contextlib.suppress(OSError):  # it is done; another driver may be tidying up as well
            self._files.delete(f"{key}/{FAILED}")
            self._files.delete_folder(f"{key}/{CHECKPOINTS}")
        return full

    def load(self, key: str) -> Artifact:
        """The artifact of a finished stage. Each file is verified before its first use in this process."""
        record = self.done(key)
        if record is None:
            raise DamagedArtifactError(key, f"no readable {DONE} in {self.location}/{key}")
        return Artifact(key, record["metrics"], lambda name: self._fetch(record, name))

    def damage(self, record: Mapping[str, Any], *, contents: bool = True) -> str | None:
        """Why a finished stage's files are not what was written, or None. `contents=False` checks sizes only."""
        for name, expected in record["files"].items():
            path = f"{record['key']}/{record['attempt']}/{name}"
            size = self._files.size(path)
            if size is None:
                return f"{name} is missing"
            if size != expected["size"]:
                return f"{name} has {size} bytes, {expected['size']} were written"
            if contents and self._files.digest(path) != expected["sha256"]:
                return f"{name} has other content than was written (sha256 differs)"
        return None

    def invalidate(self, key: str) -> None:
        """Forget a finished stage (its files stay until `finish` names another attempt)."""
        self._files.delete(f"{key}/{DONE}")
        self._verified = {pair for pair in self._verified if pair[0] != key}

    def records(self, keys: Iterable[str] | None = None) -> dict[str, dict[str, Any]]:
        """Records of the finished stages among `keys` (default: all in the store), by key."""
        names = list(keys) if keys is not None else self._keys()
        found = self._each(self.done, names)
        return {key: record for key, record in zip(names, found, strict=True) if record is not None}

    def damaged_records(self, keys: Iterable[str]) -> list[str]:
        """Those of the keys that have a `done.json` which is not what was written."""
        names = list(keys)
        return [key for key, bad in zip(names, self._each(self.has_damaged_record, names), strict=True) if bad]

    def damages(self, records: Iterable[Mapping[str, Any]]) -> dict[str, str]:
        """What is wrong with the files of finished stages, by key. Of a store far away sizes only: what is fetched
        is hashed when it is used."""
        listed = list(records)
        found = self._each(lambda record: self.damage(record, contents=self.local), listed)
        return {record["key"]: reason for record, reason in zip(listed, found, strict=True) if reason is not None}

    def _each(self, ask: Callable[[T], R], things: list[T]) -> list[R]:
        """Answers in order, several requests at a time."""
        with ThreadPoolExecutor(LOCAL_REQUESTS if self.local else FAR_REQUESTS) as pool:
            return list(pool.map(ask, things))

    def find(self, beginning: str) -> list[str]:
        """Keys that begin so."""
        return [key for key in self._keys() if key.startswith(beginning)]

    # --- failed and running ----------------------------------------------------------------------------

    def fail(self, key: str, error: str, log: str) -> None:
        """Note that a stage failed: one line, and the traceback for its author."""
        self._files.write_json(f"{key}/{FAILED}", {"error": error, "log": log, "time": time.time()})

    def failure(self, key: str) -> dict[str, Any] | None:
        """{error, log, time} of the last failure, or None."""
        return self._files.read_json(f"{key}/{FAILED}")

    def failure_place(self, key: str) -> str:
        """Where a person finds the log of a failed stage."""
        return f"{self._files.root if self.local else self._files.shown}/{key}/{FAILED}"

    def beat(self, key: str, attempt: str, who: Mapping[str, Any]) -> None:
        """Say that an attempt is alive; see `running`."""
        self._files.write(f"{key}/{RUNNING}/{attempt}.json", json.dumps({**who, "beat": time.time()}).encode())

    def end_beat(self, key: str, attempt: str) -> None:
        """The attempt is over, well or not."""
        self._files.delete(f"{key}/{RUNNING}/{attempt}.json")

    def running(self, key: str) -> dict[str, Any] | None:
        """Who works on a stage now: the youngest attempt whose last beat is recent, or None."""
        now = time.time()
        alive = [beat for beat in self.beats(key) if now - beat["beat"] < _HEARTBEAT_LOST and not _is_gone(beat)]
        return max(alive, key=lambda beat: float(beat["beat"]), default=None)

    def beats(self, key: str) -> list[dict[str, Any]]:
        """The last beat of each attempt that has not ended its beat: it runs, or it was killed."""
        folder = f"{key}/{RUNNING}"
        found = (self._files.read_json(f"{folder}/{name}") for name in self._files.names(folder))
        return [beat for beat in found if beat]

    def checkpoints(self, key: str, attempt: str) -> StoredCheckpoints:
        """Where an attempt saves its training state and finds that of a killed one."""
        return StoredCheckpoints(self._files, key, attempt)

    def drop_checkpoints(self, key: str) -> None:
        """Remove the training state of a stage that nobody will take up again."""
        with contextlib.suppress(OSError):
            self._files.delete_folder(f"{key}/{CHECKPOINTS}")

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

    # --- reading files ---------------------------------------------------------------------------------------

    def _fetch(self, record: Mapping[str, Any], name: str) -> Path:
        key, attempt = record["key"], record["attempt"]
        if name not in record["files"]:
            raise KeyError(f"{key} has no file {name!r}; it has {sorted(record['files'])}")
        stored = f"{key}/{attempt}/{name}"
        about = record["files"][name]
        if self._cache is not None:
            return self._fetch_far(record, name, stored, self._cache)
        local = self._files.path(stored)
        if (key, f"{attempt}/{name}") in self._verified:
            return local
        try:
            digest = file_digest(local)
        except OSError as error:
            raise DamagedArtifactError(key, f"{name} cannot be read ({error})", attempt) from error
        if digest != about["sha256"]:
            raise DamagedArtifactError(key, f"{name} has other content than was written (sha256 differs)", attempt)
        self._verified.add((key, f"{attempt}/{name}"))
        return local

    def _fetch_far(self, record: Mapping[str, Any], name: str, stored: str, cache: FileCache) -> Path:
        """A file of a store far away, in the cache. A store that does not answer is an OSError, no damage."""
        key, attempt, about = record["key"], record["attempt"], record["files"][name]
        try:
            local = cache.path(about["sha256"], about["size"], lambda path: self._files.download(stored, path))
        except FileNotFoundError as error:
            raise DamagedArtifactError(key, f"{name} cannot be read ({error})", attempt) from error
        if (key, f"{attempt}/{name}") in self._verified:
            return local
        if file_digest(local) != about["sha256"]:
            cache.forget(about["sha256"])
            raise DamagedArtifactError(key, f"{name} has other content than was written (sha256 differs)", attempt)
        self._verified.add((key, f"{attempt}/{name}"))
        return local

    def _keys(self) -> list[str]:
        return [name for name in self._files.names(folders=True) if "-" in name]


class Heartbeat:
    """Context manager: says every ten seconds that an attempt is alive, from the one such thread of this process."""

    _alive: ClassVar[set[Heartbeat]] = set()
    _changed: ClassVar[threading.Condition] = threading.Condition()
    _thread: ClassVar[threading.Thread | None] = None
    _wakes: ClassVar[float] = 0.0

    def __init__(self, store: Store, key: str, attempt: str, who: Mapping[str, Any]) -> None:
        self._store, self._key, self._attempt, self._who = store, key, attempt, who
        self._busy, self._over, self._last = threading.Lock(), False, 0.0

    def __enter__(self) -> Heartbeat:
        self._beat()
        with Heartbeat._changed:
            Heartbeat._alive.add(self)
            if Heartbeat._thread is None or not Heartbeat._thread.is_alive():
                Heartbeat._thread = threading.Thread(target=Heartbeat._run, name="heartbeat", daemon=True)
                Heartbeat._thread.start()
            elif Heartbeat._wakes > self._last + HEARTBEAT_SECONDS:
                Heartbeat._changed.notify()
        return self

    def __exit__(self, *_: object) -> None:
        with Heartbeat._changed:
            Heartbeat._alive.discard(self)
        with self._busy, contextlib.suppress(OSError):
            self._over = True
            self._store.end_beat(self._key, self._attempt)

    def _beat(self) -> None:
        with self._busy, contextlib.suppress(OSError):  # the work goes on without a heartbeat
            if not self._over:
                self._last = time.monotonic()
                self._store.beat(self._key, self._attempt, self._who)

    @classmethod
    def _run(cls) -> None:
        while True:
            with cls._changed:
                next_beat = min((one._last for one in cls._alive), default=time.monotonic()) + HEARTBEAT_SECONDS
                cls._wakes = next_beat
                cls._changed.wait(max(0.0, next_beat - time.monotonic()))
                due = [one for one in cls._alive if time.monotonic() - one._last >= HEARTBEAT_SECONDS]
            for one in due:
                one._beat()


def _is_gone(beat: Mapping[str, Any]) -> bool:
    """Whether the process that beat ran on this host and is no more (it was killed)."""
    return beat.get("host") == socket.gethostname() and not Path(f"/proc/{beat.get('pid')}").exists() and _HAS_PROC


def _reason(error: OSError) -> str:
    """What went wrong, in a line."""
    return " ".join(str(error).split())[:400]


def new_attempt() -> str:
    """A name that no other attempt has."""
    return uuid.uuid4().hex[:12]


def _self_digest(record: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in record.items() if name != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, allow_nan=True).encode()).hexdigest()
