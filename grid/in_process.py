"""The in-process executor: one stage at a time in this process; for debugging and for machines without Ray."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from grid.runner import Outcome, run_stage
from tasks.stage import Stage


class InProcessExecutor:
    """Runs a submitted stage when it is waited for."""

    def __init__(self, store_uri: str, sources: Mapping[str, Path]) -> None:
        self._store_uri, self._sources = store_uri, sources
        self._next: Stage | None = None
        self._timeout: float | None = None

    def room(self) -> bool:
        return self._next is None

    def submit(self, stage: Stage, *, timeout: float | None = None) -> None:
        self._next, self._timeout = stage, timeout

    def wait(self) -> list[Outcome]:
        stage, self._next = self._next, None
        if stage is None:
            return []
        return [run_stage(stage, self._store_uri, self._sources, timeout=self._timeout)]

    def close(self) -> None:
        self._next = None
