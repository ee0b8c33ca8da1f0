"""Many drivers on one MLflow server: what is there once all have sent the same grid, and the server fell meanwhile.

    python -m benchmarks.team_mirror --runs 500 --writers 8 --record FILE

A synthetic grid in a store; `mlflow server` over PostgreSQL with proxied artifacts (team_server.py); as many processes
as there are writers, each of which syncs the whole grid, from the same moment on. The server is killed (SIGKILL) when
a part of the runs is there, and started again; then the first writer is killed too, and does not come back. A writer
that MLflow turned away syncs again, as a person would. In the end one more sync has to find nothing to do, and what is
there is read from PostgreSQL and from the artifacts' folder, past MLflow, and compared with the store, to the digit.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from benchmarks.measured import check_writable, refuse, write_json
from benchmarks.team_checks import Database, checks
from benchmarks.team_server import TrackingServer, missing, postgres
from grid.mirror import TrackingError, sync
from grid.mirror_model import Grid
from grid.mirror_views import describe
from grid.problems import Problem, SpecError
from grid.runner import versions
from grid.store import Store
from tests.grid.mirrored import DEFENSES, FakeGrid, build, table

LONG = 3600.0  # seconds after which a writer does not sync again
KILL_AT = 0.3  # of the runs
AWAY = 3.0  # seconds between the server's death and its next start


@dataclass
class Outcome:
    """What happened. removed: doubles that the writers made and took away; tries: syncs of the writer with the most.

    server_mib: memory of `mlflow server` when all was there.
    """

    runs: int
    writers: int
    checks: dict[str, bool] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    removed: int = 0
    tries: int = 0
    server_mib: float = 0.0
    turned_away: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return all(self.checks.values())

    def report(self) -> str:
        """For a person."""
        lines = [
            f"{self.runs} runs, {self.writers} writers of the same grid, the server and a writer killed in between"
        ]
        lines += [f"{'ok    ' if good else 'FAILED'}  {name}" for name, good in self.checks.items()]
        lines += [f"{seconds:8.1f} s  {name}" for name, seconds in self.seconds.items()]
        lines.append(f"{self.removed:8d}    doubles made and removed; {self.tries} syncs of the writer with the most")
        lines.append(f"{self.server_mib:8.0f} MiB taken by the server")
        return "\n".join([*lines, *(f"a writer was told: {reason}" for reason in sorted(set(self.turned_away)))])


def sentence(record: Mapping[str, Any]) -> str:
    """What the docs say of a record, in a line."""
    seconds = record["seconds"]
    return (
        f"{record['runs']} runs, {record['writers']} writers, {record['cpus']} cores, which other work shared: each "
        f"run, param, point and artifact was there once, after {seconds['all writers, from their start']:.0f} s, of "
        f"which the server was away for {seconds['the server was away']:.0f} s; {record['removed']} doubles were made "
        f"and removed. The server, with one worker, took {record['server_mib']:.0f} MiB."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: 0 if every check holds, 1 if not, 2 on bad input or where PostgreSQL is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.team_mirror", description="Many writers of one grid.")
    parser.add_argument("--runs", type=int, default=500, help="about as many MLflow runs; default 500")
    parser.add_argument("--writers", type=int, default=8, help="processes; default 8")
    parser.add_argument("--record", type=Path, help="also write what was found into this JSON file")
    options = parser.parse_args(arguments)
    try:
        check_writable(options.record)
        for name, least in (("runs", 20), ("writers", 2)):
            if (given := getattr(options, name)) < least:
                raise SpecError([Problem(f"--{name} {given}", f"must be {least} or more")])
        if (reason := missing()) is not None:
            raise SpecError([Problem("benchmark", reason)])
    except SpecError as error:
        return refuse(error)
    with tempfile.TemporaryDirectory(prefix="decoygrid-team-") as folder:
        found = run_team(Path(folder), options.runs, options.writers)
    print(found.report())
    if options.record is not None:
        own = {name: metadata.version(name) for name in ("mlflow", "sqlalchemy")}
        about = {"benchmark": "team_mirror", **asdict(found), "versions": versions() | own}
        write_json(about, options.record)
    return 0 if found.good else 1


def run_team(folder: Path, runs: int, writers: int) -> Outcome:
    """Make the grid and the server, let the writers at it, kill, and look."""
    grid = _grid(folder, runs)
    views = describe(_view_of(grid))
    found = Outcome(len(views), writers)
    (folder / "document.json").write_text(json.dumps(grid.document))
    with postgres() as place, TrackingServer(place, folder) as server, Database(place) as database:
        began = time.monotonic()
        processes = _start(folder, grid.store.location, server.uri, writers)
        try:
            _until(lambda: database.active_runs() >= KILL_AT * len(views), processes)
            found.seconds["until the server was killed"] = time.monotonic() - began
            server.kill()
            killed = time.monotonic()
            time.sleep(AWAY)
            server.start()
            found.seconds["the server was away"] = time.monotonic() - killed
            os.kill(processes[0].pid or 0, signal.SIGKILL)
            for process in processes:
                process.join()
        finally:
            for process in processes:
                process.kill()
        found.seconds["all writers, from their start"] = time.monotonic() - began
        told = [json.loads(path.read_text()) for path in sorted(folder.glob("told-*.json"))]
        began = time.monotonic()
        last = sync(grid.document, grid.store, server.uri, rows=table(grid.document))
        found.seconds["one more sync, with nothing to do"] = time.monotonic() - began
        found.tries = max((one["tries"] for one in told), default=0)
        found.turned_away = [reason for one in told for reason in one["turned_away"]]
        found.server_mib = round(server.memory_mib(), 1)
        found.removed = database.deleted_runs()
        found.checks["every writer that lived has ended well"] = len(told) == writers - 1
        found.checks |= checks(database, server.artifacts, views)
        found.checks["one more sync finds nothing to do"] = last.unchanged == len(views) and not last.removed
    return found


def _grid(folder: Path, runs: int) -> FakeGrid:
    """A finished grid of about so many runs: the grid, 4 rows, 4 networks, and 7 runs a label."""
    labels = max(1, math.ceil((runs - 1 - len(DEFENSES) - 4) / (2 * len(DEFENSES) - 1)))
    return build(folder, defenses=tuple(DEFENSES), labels=range(labels))


def _view_of(grid: FakeGrid) -> Grid:
    records = grid.store.records(grid.document["stages"])
    return Grid(grid.document, records, grid.store.load, rows=tuple(table(grid.document)))


def _start(folder: Path, location: str, uri: str, writers: int) -> list[BaseProcess]:
    """The writers, at work. Their processes are forks of one that has imported mlflow, so they begin together."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mlflow", "grid.mirror", "tests.grid.mirrored"])
    processes: list[BaseProcess] = [
        context.Process(target=write, args=(folder, location, uri, number)) for number in range(writers)
    ]
    for process in processes:
        process.start()
    return processes


def write(folder: Path, location: str, uri: str, number: int) -> None:
    """One writer: sync until it is done, then tell."""
    document, store = json.loads((folder / "document.json").read_text()), Store(location)
    turned_away: list[str] = []
    end = time.monotonic() + LONG
    for tries in itertools.count(1):
        try:
            done = sync(document, store, uri, rows=table(document))
        except TrackingError as error:
            turned_away.append(error.reason)
            if time.monotonic() > end:
                return
            time.sleep(1.0)
        else:
            told: dict[str, Any] = {"tries": tries, "turned_away": turned_away, "done": asdict(done)}
            (folder / f"told-{number}.json").write_text(json.dumps(told))
            return


def _until(reached: Callable[[], bool], processes: Sequence[BaseProcess]) -> None:
    """Wait for it, as long as there is a writer."""
    while not reached():
        if not any(process.is_alive() for process in processes):
            raise RuntimeError("the writers ended before the server could be killed")
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
