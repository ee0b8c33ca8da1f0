"""What is known of an attempt whose process is gone: who it was, for how long, and the end of what it said."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grid.store import Store

TAIL_BYTES = 8000


def stderr_place() -> str | None:
    """The file that this process's stderr goes to; None if it is no file."""
    try:
        path = Path("/proc/self/fd/2").readlink()
    except OSError:
        return None
    return str(path) if path.is_file() else None


def youngest_attempt(store: Store, key: str) -> Mapping[str, Any] | None:
    """The attempt at a stage that started last and has not said that it is over."""
    return max(store.beats(key), key=lambda beat: float(beat.get("started", 0.0)), default=None)


def last_words(attempt: Mapping[str, Any] | None) -> str:
    """A log for a person: host, process, time, and the tail of its stderr, or where that lies."""
    if attempt is None:
        return "nothing is known of the attempt: it had not begun, or it ran on a node that is gone"
    began = float(attempt.get("started", 0.0))
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(began))
    ran = max(0.0, float(attempt.get("beat", began)) - began)
    host, place = attempt.get("host"), attempt.get("stderr")
    head = f"process {attempt.get('pid')} on {host}, began {when}, was seen to run for {ran:.0f} s"
    if not place:
        return head
    if host != socket.gethostname() or not Path(place).is_file():
        return f"{head}\nits stderr: {host}:{place}"
    with Path(place).open("rb") as stream:
        stream.seek(max(0, Path(place).stat().st_size - TAIL_BYTES))
        tail = stream.read().decode(errors="replace")
    return f"{head}\nits stderr, {host}:{place}, ends so:\n{tail}"
