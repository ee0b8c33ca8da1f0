"""Stages that bring trouble to whatever runs them, a set number of times, and count their attempts in a folder."""

from __future__ import annotations

import itertools
import os
import signal
import time
from pathlib import Path
from typing import ClassVar, Literal

from tasks.context import Context
from tasks.stage import Group, Metrics, Stage


class Trouble(Stage):
    """Does what it is told in its first `times` attempts; then sums up its parents, as a toy does."""

    kind: ClassVar = "trouble"
    group: ClassVar[Group] = "finetune"

    number: int
    folder: str
    does: Literal["nothing", "kills", "hangs", "sticks", "sleeps"] = "nothing"
    times: int = 1000
    seconds: float = 0.0
    parents: tuple[Stage, ...] = ()

    def run(self, ctx: Context) -> Metrics:
        attempt = self.attempts(self.folder) + 1
        (Path(self.folder) / f"{self.number}-{attempt}-{os.getpid()}").touch()
        if attempt <= self.times:
            self._trouble()
        total = self.number + sum(int(ctx.load(p).path("sum.txt").read_text()) for p in self.parents)
        (ctx.out / "sum.txt").write_text(str(total))
        return {"sum": float(total)}

    def attempts(self, folder: str) -> int:
        """How often it was begun."""
        return len(list(Path(folder).glob(f"{self.number}-*")))

    def _trouble(self) -> None:
        if self.does == "kills":
            os.write(2, f"the last words of {self.number}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)
        if self.does == "hangs":
            time.sleep(1000)
        if self.does == "sticks":
            sum(itertools.repeat(1))  # in C for ever, with the interpreter's lock: no Python runs here again
        if self.does == "sleeps":
            time.sleep(self.seconds)
