"""What a store knows of stages that are not done: who runs them, how they failed, where training has got to."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from grid.heartbeat import is_alive
from grid.store_batch import Batch
from grid.store_checkpoints import CHECKPOINTS, StoredCheckpoints

FAILED = "failed.json"
RUNNING = "running"


class Attempts(Batch):
    """`<key>/failed.json`, `<key>/running/<attempt>.json` and `<key>/checkpoints`."""

    def fail(self, key: str, error: str, log: str) -> None:
        """Note that a stage failed: one line, and the traceback for its author."""
        self._files.write_json(f"{key}/{FAILED}", {"error": error, "log": log, "time": time.time()})

    def failure(self, key: str) -> dict[str, Any] | None:
        """{error, log, time} of the last failure, or None."""
        return self._files.read_json(f"{key}/{FAILED}")

    def failures(self, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The last failures of those of the keys that have failed, by key."""
        return self._found(self.failure, keys)

    def failure_place(self, key: str) -> str:
        """Where a person finds the log of a failed stage."""
        return f"{self._files.shown_place}/{key}/{FAILED}"

    def beat(self, key: str, attempt: str, who: Mapping[str, Any]) -> None:
        """Say that an attempt is alive; see `running`."""
        self._files.write(f"{key}/{RUNNING}/{attempt}.json", json.dumps({**who, "beat": time.time()}).encode())

    def end_beat(self, key: str, attempt: str) -> None:
        """The attempt is over, well or not."""
        self._files.delete(f"{key}/{RUNNING}/{attempt}.json")

    def running(self, key: str) -> dict[str, Any] | None:
        """Who works on a stage now: the youngest attempt whose last beat is recent, or None."""
        now = time.time()
        alive = [beat for beat in self.beats(key) if is_alive(beat, now)]
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

    def forget_attempts(self, key: str) -> None:
        """A stage is done: no failure counts, and no training state is needed."""
        with contextlib.suppress(OSError):  # another driver may be tidying up as well
            self._files.delete(f"{key}/{FAILED}")
            self._files.delete_folder(f"{key}/{CHECKPOINTS}")
