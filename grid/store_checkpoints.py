"""Training states in the store, from which another attempt goes on after one was killed."""

from __future__ import annotations

import hashlib

from grid.store_files import StoreFiles

CHECKPOINTS = "checkpoints"


class StoredCheckpoints:
    """Checkpoints of one stage: `<key>/checkpoints/<step>-<attempt>.safetensors` and, last, its `.json`."""

    def __init__(self, files: StoreFiles, key: str, attempt: str) -> None:
        self._files, self._folder, self._attempt = files, f"{key}/{CHECKPOINTS}", attempt
        self._previous: str | None = None

    def write(self, step: int, data: bytes) -> None:
        """Write the state, then its digest, then remove this attempt's previous one."""
        name = f"{self._folder}/{step:09d}-{self._attempt}"
        self._files.write(f"{name}.safetensors", data)
        self._files.write_json(f"{name}.json", {"sha256": hashlib.sha256(data).hexdigest(), "step": step})
        if self._previous is not None and self._previous != name:
            self._files.delete(f"{self._previous}.json")
            self._files.delete(f"{self._previous}.safetensors")
        self._previous = name

    def read(self, step: int | None = None) -> bytes | None:
        """The furthest checkpoint that is whole, of whichever attempt, or None; with `step`, one of that very step."""
        beginning = "" if step is None else f"{step:09d}-"
        for name in sorted(self._files.names(self._folder), reverse=True):
            if not name.endswith(".json") or not name.startswith(beginning):
                continue
            stem = f"{self._folder}/{name.removesuffix('.json')}"
            seal = self._files.read_json(f"{stem}.json")
            try:
                data = self._files.read(f"{stem}.safetensors")
            except FileNotFoundError:
                continue
            if seal and hashlib.sha256(data).hexdigest() == seal.get("sha256"):
                return data
        return None
