"""Waiting for a store that is away for a moment, instead of failing what only could not be written."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

from grid.store import Store
from grid.store_files import StoreError

T = TypeVar("T")
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds; each pause is twice the one before
WORKER_SECONDS = 60.0  # how long a worker holds on to a finished stage that it cannot store


def patience() -> float:
    """How long a grid waits for its store, in seconds: DECOYGRID_STORE_PATIENCE, else ten minutes."""
    try:
        return max(0.0, float(os.environ.get("DECOYGRID_STORE_PATIENCE", "600")))
    except ValueError:
        return 600.0


def away(store: Store) -> str | None:
    """Why the store cannot be used now, or None if it can: a file is written, read and deleted."""
    try:
        store.check_writable()
    except (StoreError, OSError) as error:
        return str(error)
    return None


def wait_until_back(store: Store, seconds: float) -> tuple[str | None, float]:
    """Wait, with longer and longer pauses. Returns (why it is still away or None, how long it took)."""
    began, pause = time.monotonic(), FIRST_PAUSE
    while (reason := away(store)) is not None:
        left = seconds - (time.monotonic() - began)
        if left <= 0:
            break
        time.sleep(min(pause, left))
        pause = min(2 * pause, LONGEST_PAUSE)
    return reason, time.monotonic() - began


class StoreAccessError(OSError):
    """The store did not do what a stage asked of it; the stage itself is not to blame."""


def asked(action: Callable[[], T]) -> T:
    """Do what reads from the store; its OSError becomes a StoreAccessError."""
    try:
        return action()
    except OSError as error:
        raise StoreAccessError(str(error)) from error


def held_on_to(action: Callable[[], T]) -> T:
    """Do what writes to the store; on an OSError again after a pause, for a minute at most."""
    deadline, pause = time.monotonic() + min(WORKER_SECONDS, patience()), FIRST_PAUSE
    while True:
        try:
            return action()
        except OSError as error:
            if time.monotonic() + pause > deadline:
                raise StoreAccessError(str(error)) from error
            time.sleep(pause)
            pause *= 2
