"""Calls that may never come back, such as those of libraries that wait for a network: given up in time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class DeadlineError(Exception):
    """The call has not come back in time; it goes on, and nobody hears of it."""


def within(seconds: float, call: Callable[[], T]) -> T:
    """What the call returns or raises; DeadlineError if it does neither within so many seconds.

    It runs in a thread of its own, which does not keep the process from ending.
    """
    results: list[T] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(call())
        except Exception as error:  # noqa: BLE001  it is raised where the call was asked for
            errors.append(error)

    thread = threading.Thread(target=run, name="within a deadline", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise DeadlineError(f"no answer within {seconds:g} s")
    return results[0]
