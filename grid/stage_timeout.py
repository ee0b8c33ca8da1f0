"""A stage that runs for too long is stopped where it hangs: politely by a signal, else with its whole process."""

from __future__ import annotations

import faulthandler
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

GRACE = 15.0  # seconds from the signal until the process is ended, for code that never returns to Python
AGAIN = 10.0  # seconds until the signal comes again, should a stage have swallowed the error


class StageTimeoutError(BaseException):
    """Raised inside a stage whose time is over. No `Exception`, so that a stage does not swallow it."""


@contextmanager
def stopped_after(seconds: float | None, *, end_process: bool) -> Iterator[None]:
    """Raise StageTimeoutError in what runs inside when `seconds` are over.

    A signal interrupts Python, sleeping and waiting. What does not return to Python from C, or swallows the error,
    is ended with the process `GRACE` seconds later (`end_process`); where each thread hung is on its stderr then.
    Only a main thread can be interrupted; in another one, and for None, nothing is stopped.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    armed = True

    def ring(_number: int, _frame: FrameType | None) -> None:
        if armed:
            raise StageTimeoutError(f"ran longer than its {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
    if end_process:
        faulthandler.dump_traceback_later(seconds + GRACE, exit=True, file=sys.__stderr__ or sys.stderr)
    try:
        yield
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
        if end_process:
            faulthandler.cancel_dump_traceback_later()
