"""Live progress of a grid: a display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from grid.reconcile import Progress
from grid.runner import Outcome


class Display(Protocol):
    """An observer that can be closed."""

    def begin(self, total: int, done: int, eta: float | None) -> None: ...

    def submitted(self, key: str, name: str) -> None: ...

    def ended(self, outcome: Outcome, name: str, progress: Progress) -> None: ...

    def said(self, text: str) -> None: ...

    def close(self) -> None: ...


def make_display(console: Console, slots: int) -> Display:
    """A live display if the console is a terminal, lines if not; `slots` stages run at a time."""
    return LiveDisplay(console, slots) if console.is_terminal else LineDisplay(console, slots)


def duration(seconds: float) -> str:
    """`45 s`, `3 min 05 s`, `2 h 10 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class LineDisplay:
    """One line per finished stage: done/total, what it was, how long it took, time left."""

    def __init__(self, console: Console, slots: int) -> None:
        self._console, self._slots = console, slots

    def begin(self, total: int, done: int, eta: float | None) -> None:
        left = f", about {duration(eta / self._slots)}" if eta else ""
        self._say(f"{total} stages: {done} done, {total - done} to run{left}")

    def submitted(self, key: str, name: str) -> None:
        return

    def ended(self, outcome: Outcome, name: str, progress: Progress) -> None:
        if outcome.damaged is not None:
            self._say(f"[{progress.done}/{progress.total}] {name} waits: {outcome.error}")
        elif outcome.error is not None:
            self._say(f"[{progress.done}/{progress.total}] FAILED {name}: {outcome.error}")
        elif outcome.record is not None:
            self._say(
                f"[{progress.done}/{progress.total}] {name}, {outcome.record['seconds']:.1f} s{self._left(progress)}"
            )

    def said(self, text: str) -> None:
        self._say(text)

    def close(self) -> None:
        return

    def _left(self, progress: Progress) -> str:
        return f" ({duration(progress.seconds_left / self._slots)} left)" if progress.seconds_left else ""

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class LiveDisplay:
    """A bar with done/total and ETA, and a line for each stage that runs."""

    def __init__(self, console: Console, slots: int) -> None:
        self._console, self._slots = console, slots
        self._running: dict[str, tuple[str, float]] = {}
        self._progress = Progress(0)
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=2, transient=True)

    def begin(self, total: int, done: int, eta: float | None) -> None:
        self._progress = Progress(total, done, seconds_left=eta)
        self._live.start()

    def submitted(self, key: str, name: str) -> None:
        self._running[key] = (name, time.monotonic())

    def ended(self, outcome: Outcome, name: str, progress: Progress) -> None:
        self._running.pop(outcome.key, None)
        self._progress = progress
        if outcome.error is not None and outcome.damaged is None:
            self._console.print(Text(f"FAILED {name}: {outcome.error}", style="red"))

    def said(self, text: str) -> None:
        self._console.print(Text(text, style="yellow"))

    def close(self) -> None:
        self._live.stop()

    def _render(self) -> Group:
        p = self._progress
        left = f"about {duration(p.seconds_left / self._slots)} left" if p.seconds_left else ""
        bar = Table.grid(padding=(0, 1))
        bad = f"{p.failed} failed, {p.blocked} blocked" if p.failed else ""
        bar.add_row(ProgressBar(p.total or 1, p.done, width=40), f"{p.done}/{p.total} stages", left, bad)
        running = Table.grid(padding=(0, 1))
        for name, since in list(self._running.values()):
            running.add_row("  ", name, duration(time.monotonic() - since))
        return Group(bar, running)
