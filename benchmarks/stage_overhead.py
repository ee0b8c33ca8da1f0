"""What the executor adds to stages: many that write one small file, against bare Ray tasks that write the same file.

    python -m benchmarks.stage_overhead
    python -m benchmarks.stage_overhead --stages 200 --stages 1000

Both run on one cluster whose workers are warm. Ours goes the way of `decoygrid run`: reconciler, executor, a stage in a
worker, its artifact with sha256 and done.json in the store. The bare tasks are all submitted at once. Printed, for
each count: seconds a stage by both, their ratio, what the driver's memory grew by at its most, and how long it takes to
find that all is done, every file read and hashed. `--record FILE` keeps it as JSON, and `--from FILE` prints such a
record again.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from benchmarks.measured import NotMeasuredError, run_command
from benchmarks.stage_record import KIND, Figures, Record
from grid.costs import Costs
from grid.problems import Problem, SpecError
from grid.ray_executor import RayExecutor, connect
from grid.reconcile import Progress, Reconciler, missing_stages
from grid.runner import Outcome, git_revision, versions
from grid.store import Store
from tasks.context import Context
from tasks.stage import Group, Metrics, Stage

CONTENT = b"0123456789abcdef" * 16
COUNTS = (1000, 10000)
MOST = 1_000_000


class OneFile(Stage):
    """Writes one small file."""

    kind: ClassVar = "one_file"
    group: ClassVar[Group] = "data"

    label: int

    def run(self, ctx: Context) -> Metrics:
        (ctx.out / "file.bin").write_bytes(CONTENT)
        return {"bytes": float(len(CONTENT))}


class ManyFiles:
    """A plan of so many stages."""

    def __init__(self, count: int) -> None:
        self._stages: dict[str, Stage] = {stage.key: stage for stage in (OneFile(label=n) for n in range(count))}
        self.names = {key: f"file {number}" for number, key in enumerate(self._stages)}

    def stages(self) -> dict[str, Stage]:
        return self._stages


class Silent:
    """An observer that shows nothing."""

    def begin(self, total: int, done: int, eta: float | None) -> None: ...

    def submitted(self, key: str, name: str) -> None: ...

    def ended(self, outcome: Outcome, name: str, progress: Progress) -> None: ...

    def said(self, text: str) -> None: ...


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: 0 if the aims are met, 1 if not, 2 on bad input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stage_overhead", description="What a stage costs.")
    parser.add_argument("--stages", type=int, action="append", help="how many; can be repeated; default 1000 and 10000")
    return run_command(parser, arguments, KIND, _prepared)


def _prepared(options: argparse.Namespace) -> Callable[[], Record]:
    counts = _checked(options.stages or list(COUNTS))

    def work() -> Record:
        try:
            connect("local")
        except ConnectionError as error:
            raise NotMeasuredError(f"Ray does not start here: {error}") from error
        return Record(tuple(measure(count) for count in counts))

    return work


def measure(count: int) -> Figures:
    """Both ways with `count` stages, on the cluster that this process has joined."""
    with tempfile.TemporaryDirectory(prefix="decoygrid-stages-") as folder:
        (Path(folder) / "bare").mkdir()
        _warm(folder)
        bare = _bare(count, f"{folder}/bare")
        store, plan = Store(f"{folder}/store"), ManyFiles(count)
        before, began = _resident(), time.monotonic()
        _reset_peak()
        executor = RayExecutor(store.location, {})
        result = Reconciler(plan, store, executor, Silent(), Costs()).run(plan.stages(), {})
        ours, grown = time.monotonic() - began, _peak() - before
        executor.close()
        if not result.complete:
            raise RuntimeError(f"stages that fail measure nothing: {list(result.failed.items())[:3]}")
        began = time.monotonic()
        missing, _, _ = missing_stages(ManyFiles(count), store, verify=True)
        found = time.monotonic() - began
        if missing:
            raise RuntimeError(f"{len(missing)} of {count} stages were not found to be done")
    print(f"{count} stages: {1000 * ours / count:.2f} ms against {1000 * bare / count:.2f} ms each", file=sys.stderr)
    return Figures(count, ours, bare, grown / 2**20, found)


def _warm(folder: str) -> None:
    """Let every worker start and import, by both kinds of task."""
    import ray

    cpus = int(ray.cluster_resources()["CPU"])
    sleepy = ray.remote(_import_all)
    ray.get([sleepy.remote() for _ in range(2 * cpus)])
    plan, store = ManyFiles(8 * cpus), Store(f"{folder}/warm")
    executor = RayExecutor(store.location, {})
    Reconciler(plan, store, executor, Silent(), Costs()).run(plan.stages(), {})
    executor.close()


def _import_all() -> None:
    git_revision(), versions()
    time.sleep(1.0)


def _bare(count: int, folder: str) -> float:
    """Seconds that as many bare tasks take, all submitted at once."""
    import ray

    task = ray.remote(_write)
    began = time.monotonic()
    ray.get([task.remote(f"{folder}/{number}.bin") for number in range(count)])
    return time.monotonic() - began


def _write(path: str) -> None:
    Path(path).write_bytes(CONTENT)


def _resident() -> int:
    """Bytes of memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def _reset_peak() -> None:
    """Let the kernel count the peak of memory from here on."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """Bytes of memory that this process had at its most since then."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def _checked(counts: Sequence[int]) -> Sequence[int]:
    bad = [count for count in counts if not 10 <= count <= MOST]
    if bad:
        raise SpecError([Problem("--stages", f"must be from 10 to {MOST}, got {count}") for count in bad])
    return counts


if __name__ == "__main__":
    # The stages' class has to be that of this module as workers import it, not that of `__main__`.
    from benchmarks.stage_overhead import main as run

    sys.exit(run())
