"""The mirror while a grid runs: one thread that syncs now and then and never disturbs the grid."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from grid.mirror import sync
from grid.mirror_model import Row
from grid.mirror_place import TrackingError, public
from grid.store import Store


class BackgroundMirror:
    """Owner of some MLflow runs. `notify()` asks for a sync; there is at most one in `interval` seconds.

    show(live) makes MLflow show what there is; it is called in the mirror's thread.
    """

    def __init__(self, tracking_uri: str, show: Callable[[bool], None], interval: float = 30.0) -> None:
        self._uri, self._show, self._interval = tracking_uri, show, interval
        self._asked, self._closing = threading.Event(), threading.Event()
        self._error: TrackingError | None = None
        self._thread = threading.Thread(target=self._run, name="mlflow-mirror", daemon=True)
        self._thread.start()

    def notify(self) -> None:
        """Something in the store changed. Returns at once."""
        self._asked.set()

    def close(self, timeout: float = 60.0) -> TrackingError | None:
        """Sync a last time and stop; returns why MLflow does not show it all, or None if it does."""
        self._closing.set()
        self._asked.set()
        self._thread.join(timeout)
        if self._thread.is_alive():
            return TrackingError(public(self._uri), f"not finished after {timeout:g} s")
        return self._error

    def _run(self) -> None:
        while not self._closing.is_set():
            self._asked.wait()
            if self._closing.is_set():
                break
            self._asked.clear()
            began = time.monotonic()
            self._sync(live=True)
            self._closing.wait(max(0.0, self._interval - (time.monotonic() - began)))
        self._sync(live=False)

    def _sync(self, *, live: bool) -> None:
        self._error = None
        try:
            self._show(live)
        except TrackingError as error:
            self._error = error
        except Exception as error:  # noqa: BLE001 - a thread's end: the work goes on, close() tells
            self._error = TrackingError(public(self._uri), f"the mirror failed: {type(error).__name__}: {error}")
            self._error.__cause__ = error


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

    def _show_grid(self, live: bool) -> None:
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
        )
