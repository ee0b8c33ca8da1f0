"""The content-addressed store: `<root>/<key>/<attempt>/files` and, written last, `<root>/<key>/done.json`.

Any `pyarrow.fs` URI. No rename is assumed: writers write under an attempt of their own, so two drivers on one
store never harm each other, and `done.json` names the attempt that counts. It carries a digest of itself and
the size and sha256 of every file, so that a damaged artifact is found and computed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import socket
import tempfile
import threading
import time
import uuid
import weakref
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs

from tasks.artifact import Artifact, DamagedArtifactError
from tasks.data.manifest import file_digest

DONE = "done.json"
FAILED = "failed.json"
RUNNING = "running"
CHECKPOINTS = "checkpoints"
HEARTBEAT_SECONDS = 10.0
_HAS_PROC = Path("/proc/self").exists()
_HEARTBEAT_LOST = 4 * HEARTBEAT_SECONDS


class StoreError(Exception):
    """The store cannot be used as asked; the message names the place and the reason."""


class Store:
    """Finished, failed and running stages at one URI. Cheap to make; safe to make in every process."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        if not uri.strip():
            raise StoreError("--store: is empty; give a folder or a URI")
        try:
            if "://" in uri:
                self._fs, self._root = pafs.FileSystem.from_uri(uri)
            else:
                self._fs, self._root = pafs.LocalFileSystem(), str(Path(uri).expanduser().resolve())
        except Exception as error:
            raise StoreError(f"--store {uri}: not a folder or a URI that pyarrow.fs can open ({error})") from error
        self._local = isinstance(self._fs, pafs.LocalFileSystem)
        self._verified: set[tuple[str, str]] = set()
        self._cache: Path | None = None
        if not self._local:
            self._cache = Path(tempfile.mkdtemp(prefix="decoygrid-"))
            weakref.finalize(self, shutil.rmtree, self._cache, ignore_errors=True)

    @property
    def location(self) -> str:
        """The root as a person would type it, absolute for folders."""
        return self._root if self._local else self.uri

    def check_readable(self) -> None:
        """Raise StoreError if the root is there and cannot be listed."""
        try:
            self._fs.get_file_info(pafs.FileSelector(self._root, allow_not_found=True))
        except OSError as error:
            raise StoreError(f"--store {self.uri}: cannot be read ({error})") from error

    def check_writable(self) -> None:
        """Raise StoreError unless a file can be written, read and deleted below the root."""
        probe = f"{self._root}/.probe-{uuid.uuid4().hex[:8]}"
        try:
            self._fs.create_dir(self._root, recursive=True)
            self._write(probe, b"probe")
            if self._read(probe) != b"probe":
                raise OSError("what was written does not read back")
            self._fs.delete_file(probe)
        except OSError as error:
            raise StoreError(f"--store {self.uri}: cannot be written ({error})") from error

    # --- finished stages -------------------------------------------------------------------------------

    def done(self, key: str) -> dict[str, Any] | None:
        """The record of a finished stage, or None if there is none (or it is unreadable, which is the same)."""
        record = self._read_json(f"{key}/{DONE}")
        if record is None or record.get("digest") != _self_digest(record):
            return None
        return record

    def has_damaged_record(self, key: str) -> bool:
        """Whether a `done.json` is there that is not what was written."""
        return self.done(key) is None and self._exists(f"{key}/{DONE}")

    def finish(self, key: str, attempt: str, folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
        """Upload the files of `folder` as `attempt`, then write done.json last. Returns the full record."""
        files = {}
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            name = path.relative_to(folder).as_posix()
            files[name] = {"size": path.stat().st_size, "sha256": file_digest(path)}
            self._make_dir(f"{key}/{attempt}/{name}".rsplit("/", 1)[0])
            pafs.copy_files(str(path), f"{self._root}/{key}/{attempt}/{name}", destination_filesystem=self._fs)
        full = {**record, "key": key, "attempt": attempt, "files": files}
        full["digest"] = _self_digest(full)
        self._write_json(f"{key}/{DONE}", full)
        with contextlib.suppress(OSError):  # it is done; another driver may be tidying up as well
            self._delete(f"{key}/{FAILED}")
            self._delete_dir(f"{key}/{CHECKPOINTS}")
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
            path = f"{self._root}/{record['key']}/{record['attempt']}/{name}"
            info = self._fs.get_file_info(path)
            if info.type != pafs.FileType.File:
                return f"{name} is missing"
            if info.size != expected["size"]:
                return f"{name} has {info.size} bytes, {expected['size']} were written"
            if contents and self._digest(path) != expected["sha256"]:
                return f"{name} has other content than was written (sha256 differs)"
        return None

    def invalidate(self, key: str) -> None:
        """Forget a finished stage (its files stay until `finish` names another attempt)."""
        self._delete(f"{key}/{DONE}")
        self._verified = {pair for pair in self._verified if pair[0] != key}

    def records(self, keys: Iterable[str] | None = None) -> dict[str, dict[str, Any]]:
        """Records of the finished stages among `keys` (default: all in the store), by key."""
        names = list(keys) if keys is not None else self._list_keys()
        with ThreadPoolExecutor(8) as pool:
            found = pool.map(self.done, names)
        return {key: record for key, record in zip(names, found, strict=True) if record is not None}

    def find(self, beginning: str) -> list[str]:
        """Keys that begin so."""
        return [key for key in self._list_keys() if key.startswith(beginning)]

    # --- failed and running ----------------------------------------------------------------------------

    def fail(self, key: str, error: str, log: str) -> None:
        """Note that a stage failed: one line, and the traceback for its author."""
        self._write_json(f"{key}/{FAILED}", {"error": error, "log": log, "time": time.time()})

    def failure(self, key: str) -> dict[str, Any] | None:
        """{error, log, time} of the last failure, or None."""
        return self._read_json(f"{key}/{FAILED}")

    def failure_place(self, key: str) -> str:
        """Where a person finds the log of a failed stage."""
        return f"{self.location}/{key}/{FAILED}"

    def beat(self, key: str, attempt: str, who: Mapping[str, Any]) -> None:
        """Say that an attempt is alive; see `running`."""
        self._write_json(f"{key}/{RUNNING}/{attempt}.json", {**who, "beat": time.time()})

    def end_beat(self, key: str, attempt: str) -> None:
        """The attempt is over, well or not."""
        self._delete(f"{key}/{RUNNING}/{attempt}.json")

    def running(self, key: str) -> dict[str, Any] | None:
        """Who works on a stage now: the youngest attempt whose last beat is recent, or None."""
        selector = pafs.FileSelector(f"{self._root}/{key}/{RUNNING}", allow_not_found=True)
        beats = [self._read_json(f"{key}/{RUNNING}/{info.base_name}") for info in self._fs.get_file_info(selector)]
        alive = [beat for beat in beats if beat and time.time() - beat["beat"] < _HEARTBEAT_LOST and not _is_gone(beat)]
        return max(alive, key=lambda beat: float(beat["beat"]), default=None)

    def checkpoints(self, key: str, attempt: str) -> StoredCheckpoints:
        """Where an attempt saves its training state and finds that of a killed one."""
        return StoredCheckpoints(self, key, attempt)

    def drop_checkpoints(self, key: str) -> None:
        """Remove the training state of a stage that nobody will take up again."""
        with contextlib.suppress(OSError):
            self._delete_dir(f"{key}/{CHECKPOINTS}")

    # --- named documents beside the stages (the cells of a grid) ------------------------------------------

    def write_document(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON document below the root."""
        self._write_json(name, content)

    def read_document(self, name: str) -> dict[str, Any] | None:
        """Read a JSON document, or None."""
        return self._read_json(name)

    def documents(self, folder: str) -> list[str]:
        """Names of the documents below a folder of the root."""
        infos = self._fs.get_file_info(pafs.FileSelector(f"{self._root}/{folder}", allow_not_found=True))
        return sorted(f"{folder}/{i.base_name}" for i in infos if i.base_name.endswith(".json"))

    # --- file system ---------------------------------------------------------------------------------------

    def _fetch(self, record: Mapping[str, Any], name: str) -> Path:
        key, attempt = record["key"], record["attempt"]
        if name not in record["files"]:
            raise KeyError(f"{key} has no file {name!r}; it has {sorted(record['files'])}")
        remote = f"{self._root}/{key}/{attempt}/{name}"
        local = Path(remote) if self._cache is None else self._cache / key / attempt / name
        if (key, f"{attempt}/{name}") in self._verified:
            return local
        try:
            if self._cache is not None:
                local.parent.mkdir(parents=True, exist_ok=True)
                pafs.copy_files(remote, str(local), source_filesystem=self._fs)
            digest = file_digest(local)
        except OSError as error:
            raise DamagedArtifactError(key, f"{name} cannot be read ({error})", attempt) from error
        if digest != record["files"][name]["sha256"]:
            raise DamagedArtifactError(key, f"{name} has other content than was written (sha256 differs)", attempt)
        self._verified.add((key, f"{attempt}/{name}"))
        return local

    def _digest(self, path: str) -> str:
        if self._local:
            return file_digest(Path(path))
        with self._fs.open_input_stream(path) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def _list_keys(self) -> list[str]:
        infos = self._fs.get_file_info(pafs.FileSelector(self._root, allow_not_found=True))
        return sorted(
            info.base_name for info in infos if info.type == pafs.FileType.Directory and "-" in info.base_name
        )

    def _exists(self, name: str) -> bool:
        return bool(self._fs.get_file_info(f"{self._root}/{name}").type == pafs.FileType.File)

    def _make_dir(self, name: str) -> None:
        self._fs.create_dir(f"{self._root}/{name}", recursive=True)

    def _write(self, path: str, data: bytes) -> None:
        with self._fs.open_output_stream(path) as stream:
            stream.write(data)

    def _read(self, path: str) -> bytes:
        with self._fs.open_input_stream(path) as stream:
            data: bytes = stream.read()
        return data

    def _write_json(self, name: str, content: Mapping[str, Any]) -> None:
        self._make_dir(name.rsplit("/", 1)[0])
        self._write(f"{self._root}/{name}", json.dumps(content, indent=1, sort_keys=True, allow_nan=True).encode())

    def _read_json(self, name: str) -> dict[str, Any] | None:
        try:
            content = json.loads(self._read(f"{self._root}/{name}"))
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None

    def _delete(self, name: str) -> None:
        try:
            self._fs.delete_file(f"{self._root}/{name}")
        except FileNotFoundError:
            return

    def _delete_dir(self, name: str) -> None:
        try:
            self._fs.delete_dir(f"{self._root}/{name}")
        except FileNotFoundError:
            return


class StoredCheckpoints:
    """Checkpoints of one stage: `<key>/checkpoints/<step>-<attempt>.safetensors` and, last, its `.json`."""

    def __init__(self, store: Store, key: str, attempt: str) -> None:
        self._store, self._key, self._attempt = store, key, attempt
        self._previous: str | None = None

    def write(self, step: int, data: bytes) -> None:
        """Write the state, then its digest, then remove this attempt's previous one."""
        name = f"{self._key}/{CHECKPOINTS}/{step:09d}-{self._attempt}"
        self._store._make_dir(f"{self._key}/{CHECKPOINTS}")
        self._store._write(f"{self._store._root}/{name}.safetensors", data)
        seal = {"sha256": hashlib.sha256(data).hexdigest(), "step": step}
        self._store._write_json(f"{name}.json", seal)
        if self._previous is not None and self._previous != name:
            self._store._delete(f"{self._previous}.json")
            self._store._delete(f"{self._previous}.safetensors")
        self._previous = name

    def read(self) -> bytes | None:
        """The furthest checkpoint that is whole, of whichever attempt, or None."""
        folder = f"{self._store._root}/{self._key}/{CHECKPOINTS}"
        infos = self._store._fs.get_file_info(pafs.FileSelector(folder, allow_not_found=True))
        for name in sorted((i.base_name for i in infos if i.base_name.endswith(".json")), reverse=True):
            stem = f"{self._key}/{CHECKPOINTS}/{name.removesuffix('.json')}"
            seal = self._store._read_json(f"{stem}.json")
            try:
                data = self._store._read(f"{self._store._root}/{stem}.safetensors")
            except FileNotFoundError:
                continue
            if seal and hashlib.sha256(data).hexdigest() == seal.get("sha256"):
                return data
        return None


class Heartbeat:
    """Context manager: says every ten seconds that an attempt is alive, from a thread of its own."""

    def __init__(self, store: Store, key: str, attempt: str, who: Mapping[str, Any]) -> None:
        self._store, self._key, self._attempt, self._who = store, key, attempt, who
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Heartbeat:
        self._store.beat(self._key, self._attempt, self._who)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            self._store.end_beat(self._key, self._attempt)

    def _run(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(OSError):  # the work goes on without a heartbeat
                self._store.beat(self._key, self._attempt, self._who)


def _is_gone(beat: Mapping[str, Any]) -> bool:
    """Whether the process that beat ran on this host and is no more (it was killed)."""
    return beat.get("host") == socket.gethostname() and not Path(f"/proc/{beat.get('pid')}").exists() and _HAS_PROC


def new_attempt() -> str:
    """A name that no other attempt has."""
    return uuid.uuid4().hex[:12]


def _self_digest(record: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in record.items() if name != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, allow_nan=True).encode()).hexdigest()
