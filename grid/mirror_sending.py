"""Making an experiment show a list of runs while others write it too. Pure order of work; no mlflow here.

MLflow cannot find or create in one step, so two writers may make a run twice. What ends well all the same: of runs with
one key the smallest id stays, which every writer decides alike whatever else it has seen (the smallest of all is the
smallest of any part, so nobody ever removes it); a writer looks once more right before it makes a run, goes through
the runs in an order of its own, leaves to another what that one has just begun, and goes over all of it until the
experiment shows what it shall.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from grid.mirror_model import RunView
from tasks.artifact import DamagedArtifactError

KEY, DIGEST, SOURCE = "decoygrid.key", "decoygrid.digest", "decoygrid.source"
PARENT = "mlflow.parentRunId"
UNFINISHED = "unfinished"
ROUNDS = 8
PAUSE = 1.0  # seconds before what another writer has left is taken over; twice as long each time
Run = Any  # mlflow's


class ContestedError(Exception):
    """Another writer has changed the run meanwhile."""


class Client(Protocol):
    """What is asked of MLflow, in one experiment. Its failures are TrackingErrors, or ContestedError."""

    def runs(self) -> list[Run]: ...

    def newest(self, key: str, seen: Run | None) -> Run | None: ...

    def fill(self, view: RunView, run: Run | None, parent: str | None) -> str: ...

    def adopt(self, run: Run, parent: str) -> None: ...

    def drop(self, run: Run) -> None: ...


@dataclass
class Sending:
    """One writer's work: `run()` it once, then read what it did.

    settle: go over it until the experiment shows it all; otherwise once, since there will be another time.
    outcomes: 'created', 'updated' or 'unchanged' by key. removed: ids. damaged: by key, what could not be read.
    """

    client: Client
    views: Sequence[RunView]
    ours: tuple[str, ...]
    on_progress: Callable[[int, int], None] | None = None
    settle: bool = True
    outcomes: dict[str, str] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    damaged: dict[str, str] = field(default_factory=dict)
    _ids: dict[str, str] = field(default_factory=dict)
    _contest: str = ""

    def run(self) -> str | None:
        """Make the experiment show the views; returns why it does not, after ROUNDS rounds, or None.

        Raises what the client raises.
        """
        for number in range(ROUNDS):
            if self._contest:
                time.sleep(PAUSE * 2 ** (number - 1) * random.uniform(0.5, 1.0))
                self._contest = ""
            kept, surplus = survivors(self.client.runs(), {view.key for view in self.views}, self.ours)
            self._ids = {key: run.info.run_id for key, run in kept.items()}
            todo = [view for view in self.views if view.key not in self.damaged and not self._shows(kept, view)]
            if number == 0:
                self._tell(len(self.views) - len(todo))
            if not todo and not surplus:
                return None
            self._remove(surplus)
            self._send(todo, kept, tell=number == 0)
            if not self.settle:
                return None
        return f"others write the same runs all the time ({self._contest or 'they were changed each time'})"

    def _remove(self, surplus: Sequence[Run]) -> None:
        for run in surplus:
            try:
                self.client.drop(run)
                self.removed.add(run.info.run_id)
            except ContestedError as error:
                self._contest = str(error)

    def _shows(self, kept: Mapping[str, Run], view: RunView) -> bool:
        return shows(kept.get(view.key), view, self._parent(view))

    def _parent(self, view: RunView) -> str | None:
        return self._ids.get(view.parent) if view.parent else None

    def _send(self, todo: Sequence[RunView], kept: Mapping[str, Run], *, tell: bool) -> None:
        done = len(self.views) - len(todo)
        for level in levels(todo):
            random.shuffle(level)
            for view in level:
                try:
                    self._put(view, kept.get(view.key))
                except DamagedArtifactError as error:
                    self.damaged[view.key] = str(error)
                except ContestedError as error:
                    self._contest = str(error)
                done += 1
                if tell:
                    self._tell(done)

    def _put(self, view: RunView, seen: Run | None) -> None:
        """Make one run show its view, unless another writer has done it or is at it."""
        run, parent = self.client.newest(view.key, seen), self._parent(view)
        if run is not None:
            self._ids[view.key] = run.info.run_id
        if shows(run, view, parent):
            return
        if run is not None and parent is not None and shows(run, view, None):
            self.client.adopt(run, parent)
            self.outcomes.setdefault(view.key, "updated")
        elif begun_by_another(run, seen):
            self._contest = f"`{view.key}` is being written"
        else:
            self._ids[view.key] = self.client.fill(view, run, parent)
            self.outcomes.setdefault(view.key, "created" if run is None else "updated")

    def _tell(self, done: int) -> None:
        if self.on_progress is not None:
            self.on_progress(done, len(self.views))


def survivors(runs: Iterable[Run], keys: Collection[str], ours: tuple[str, ...]) -> tuple[dict[str, Run], list[Run]]:
    """(the run of each key, the surplus: doubles, and runs whose keys begin with `ours` and are not wanted).

    A run that is listed twice counts once: pages shift while others write.
    """
    kept: dict[str, Run] = {}
    surplus = []
    for _, run in sorted({run.info.run_id: run for run in runs}.items()):
        key = run.data.tags[KEY]
        if key in keys and key not in kept:
            kept[key] = run
        elif key in keys or key.startswith(ours):
            surplus.append(run)
    return kept, surplus


def shows(run: Run | None, view: RunView, parent: str | None) -> bool:
    """Whether the run is whole and shows the view, below this parent if there is one."""
    if run is None or run.data.tags.get(DIGEST) != view.digest:
        return False
    return parent is None or run.data.tags.get(PARENT) == parent


def begun_by_another(run: Run | None, seen: Run | None) -> bool:
    """Whether a run is unfinished that was not there, or was not unfinished, when we looked before."""
    if run is None or run.data.tags.get(DIGEST, UNFINISHED) != UNFINISHED:
        return False
    if seen is None or seen.info.run_id != run.info.run_id:
        return True
    return bool(seen.data.tags.get(DIGEST, UNFINISHED) != UNFINISHED)


def contradicts(run: Run, view: RunView) -> bool:
    """Whether the run shows what MLflow cannot change: another value of a param, or other metrics."""
    if any(view.params.get(name) != value for name, value in run.data.params.items()):
        return True
    return bool(run.data.metrics) and run.data.tags.get(SOURCE) != view.source


def levels(views: Sequence[RunView]) -> list[list[RunView]]:
    """The views by their depth below those that have no parent among them."""
    depth: dict[str, int] = {}
    found: list[list[RunView]] = []
    for view in views:  # parents stand before their children
        depth[view.key] = depth[view.parent] + 1 if view.parent in depth else 0
        while len(found) <= depth[view.key]:
            found.append([])
        found[depth[view.key]].append(view)
    return found
