"""The mirror while a grid runs: one thread that syncs now and then and never disturbs the grid."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from grid.mirror import sync
from grid.mirror_model import Row
from grid.mirror_place import TrackingError, public
from grid.store import Store

Progress = Callable[[int, int], None]
MOST_PAUSE = 600.0  # seconds between two tries to reach a server that is away
MOST_CLOSING = 600.0


class BackgroundMirror:
    """Owner of some MLflow runs. `notify()` asks for a sync; there is at most one in `interval` seconds.

    show(live, on_progress) makes MLflow show what there is; it is called in the mirror's thread. While that fails,
    the pauses double; where the server refuses, nothing is sent until the end, since it would refuse again.
    """

    def __init__(self, tracking_uri: str, show: Callable[[bool, Progress], None], interval: float = 30.0) -> None:
        self._uri, self._show, self._interval = tracking_uri, show, interval
        self._asked, self._closing = threading.Event(), threading.Event()
        self._error: TrackingError | None = None
        self._alive_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="mlflow-mirror", daemon=True)
        self._thread.start()

    def notify(self) -> None:
        """Something in the store changed. Returns at once."""
        self._asked.set()

    def close(self, timeout: float = 90.0) -> TrackingError | None:
        """Sync a last time and stop; returns why MLflow does not show it all, or None if it does.

        Waits as long as runs are being sent, but no longer than `timeout` seconds for a single one.
        """
        self._closing.set()
        self._asked.set()
        began = self._alive_at = time.monotonic()
        while self._thread.is_alive():
            self._thread.join(min(1.0, timeout))
            now = time.monotonic()
            if self._thread.is_alive() and (now - self._alive_at >= timeout or now - began >= MOST_CLOSING):
                return TrackingError(public(self._uri), f"not finished after {now - began:.0f} s")
        return self._error

    def _run(self) -> None:
        failed = 0
        while not self._closing.is_set():
            self._asked.wait()
            if self._closing.is_set():
                break
            self._asked.clear()
            began = time.monotonic()
            self._sync(live=True)
            if self._error is not None and self._error.refused:
                self._closing.wait()
                break
            failed = failed + 1 if self._error is not None else 0
            # drivers that began together, or lost the server together, do not come together
            pause = min(MOST_PAUSE, self._interval * 2 ** min(failed, 10)) * random.uniform(0.75, 1.25)
            self._closing.wait(max(0.0, pause - (time.monotonic() - began)))
        self._sync(live=False)

    def _sync(self, *, live: bool) -> None:
        self._error = None
        try:
            self._show(live, self._tell)
        except TrackingError as error:
            self._error = error
        except Exception as error:  # noqa: BLE001 - a thread's end: the work goes on, close() tells
            self._error = TrackingError(public(self._uri), f"the mirror failed: {type(error).__name__}: {error}")
            self._error.__cause__ = error

    def _tell(self, done: int, total: int) -> None:
        self._alive_at = time.monotonic()


class Mirror(BackgroundMirror):
    """Owner of a grid's MLflow runs.

    The callables are called in the mirror's thread before each sync; no document means nothing to show yet.
    """

    def __init__(
        self,
        documents: Callable[[], Mapping[str, Any] | None],
        store: Store,
        tracking_uri: str,
        make_rows: Callable[[], Sequence[Row]],
        *,
        attachments: Callable[[], Mapping[str, Path]] = dict,
        private_images: bool = False,
        interval: float = 30.0,
    ) -> None:
        self._documents, self._store, self._make_rows = documents, store, make_rows
        self._attachments, self._private_images = attachments, private_images
        super().__init__(tracking_uri, self._show_grid, interval)

    def _show_grid(self, live: bool, on_progress: Progress) -> None:
        document = self._documents()
        if document is None:
            return
        sync(
            document,
            self._store,
            self._uri,
            rows=self._make_rows(),
            attachments=self._attachments(),
            private_images=self._private_images,
            live=live,
            on_progress=on_progress,
        )
