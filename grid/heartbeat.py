"""Says that an attempt at a stage is alive, and tells by what was said last whether one still is."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

HEARTBEAT_SECONDS = 10.0
HEARTBEAT_LOST = 4 * HEARTBEAT_SECONDS
_HAS_PROC = Path("/proc/self").exists()


class Beats(Protocol):
    """Where beats are kept; a `Store`."""

    def beat(self, key: str, attempt: str, who: Mapping[str, Any]) -> None: ...

    def end_beat(self, key: str, attempt: str) -> None: ...


class Heartbeat:
    """Context manager: says every ten seconds that an attempt is alive, from the one such thread of this process."""

    _alive: ClassVar[set[Heartbeat]] = set()
    _changed: ClassVar[threading.Condition] = threading.Condition()
    _thread: ClassVar[threading.Thread | None] = None
    _wakes: ClassVar[float] = 0.0

    def __init__(self, store: Beats, key: str, attempt: str, who: Mapping[str, Any]) -> None:
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


def is_alive(beat: Mapping[str, Any], now: float) -> bool:
    """Whether an attempt's last beat is recent, and its process, if it ran on this host, is still there."""
    if now - float(beat["beat"]) >= HEARTBEAT_LOST:
        return False
    was_here = beat.get("host") == socket.gethostname()
    return not (_HAS_PROC and was_here and not Path(f"/proc/{beat.get('pid')}").exists())
