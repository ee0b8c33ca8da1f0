"""Preparing a dataset: pictures a second beside a plain loop, memory as the tree doubles, and a killed preparation.

    python -m benchmarks.preparation
    python -m benchmarks.preparation --pictures 200000 --labels 1000

Writes a tree of small JPEGs in the layout of VGG-Face2 and prepares it as `decoygrid run` does: a stage a shard, one
after the other in one process. The plain loop, before and after it on the same files, opens, resizes and stacks each
picture in memory. Then half of the people are prepared alone, and at last a preparation is killed (SIGKILL) when it
has decoded five eighths of the pictures, and run again. `--record FILE` keeps the figures as JSON, `--from FILE`
prints such a record again.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measured import run_command
from benchmarks.preparation_record import KIND, Figures
from benchmarks.preparation_tree import write_tree
from benchmarks.preparation_work import SIZE, plain, prepare, prepare_counted, timed
from grid.problems import Problem, SpecError
from grid.store import Store
from tasks.data.dataset import Catalogue
from tasks.data.shard import Shard
from tasks.data.vggface2 import VggFace2

PICTURES, LABELS = 50_000, 1_000
LEAST_EACH, MOST = 4, 10_000_000  # pictures of a label; of the tree
KILL = 5  # eighths of the pictures, after which a preparation is killed
_FRESH = multiprocessing.get_context("forkserver")  # a child's memory is its own, and its start is quick
# Whatever this module imports, but not itself: it is its children's `__main__`, which must not be there before.
_FRESH.set_forkserver_preload(["benchmarks.preparation_work", "benchmarks.preparation_record", "tasks.data.vggface2"])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: 0 if the aims are met, 1 if not, 2 on bad input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.preparation", description="What preparing costs.")
    parser.add_argument("--pictures", type=int, default=PICTURES, help=f"of the tree; default {PICTURES:,}")
    parser.add_argument("--labels", type=int, default=LABELS, help=f"people in it; default {LABELS:,}")
    return run_command(parser, arguments, KIND, _prepared)


def _prepared(options: argparse.Namespace) -> Callable[[], Figures]:
    _check(options.pictures, options.labels)
    return lambda: measure(options.pictures, options.labels)


def measure(pictures: int, labels: int) -> Figures:
    """All of it, below a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="decoygrid-preparation-") as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        _say(f"writing {pictures:,} JPEGs of {labels:,} people")
        root = write_tree(folder / "data", labels, pictures // labels)
        began = time.monotonic()
        shards, catalogue = _planned(folder / "data", labels)
        look = time.monotonic() - began
        _say(f"looked at while planning: {look:.1f} s; {len(shards)} shards")
        loops = [_in_child(plain, root)]
        ours = _in_child(prepare, shards, str(folder / "all"), dict(catalogue.sources))
        loops.append(_in_child(plain, root))
        few, about = _planned(folder / "data", labels // 2)
        _in_child(prepare, few, str(folder / "half"), dict(about.sources))
        done, decoded = _killed(shards, folder / "killed", dict(catalogue.sources))
        return Figures(
            pictures=sum(catalogue.pictures.values()),
            labels=labels,
            shards=len(shards),
            ours=ours["seconds"],
            plain=sum(run["seconds"] for run in loops) / len(loops),
            look=look,
            plain_memory=max(run["memory"] for run in loops),
            memory=_peak(Store(str(folder / "all"))),
            memory_of_half=_peak(Store(str(folder / "half"))),
            done_when_killed=done,
            decoded_in_all=decoded,
            most_of_a_shard=max(sum(catalogue.pictures[person] for person in shard.people) for shard in shards),
        )


def _planned(data: Path, labels: int) -> tuple[list[Shard], Catalogue]:
    """The shards of a victim's people and of as many public ones, and the catalogue that they are from."""
    private = labels // 2
    fields: dict[str, Any] = {"labels": private, "public": labels - private, "min_pictures": LEAST_EACH}
    dataset = VggFace2(root=str(data), size=SIZE, partial=True, **fields)
    catalogue = dataset.catalogue(data)
    everybody = (*catalogue.private, *catalogue.public)
    split = dataset.split(catalogue, everybody, "all", "judge")
    return [stage for stage in split.upstream if isinstance(stage, Shard)], catalogue


def _killed(shards: list[Shard], store: Path, sources: dict[str, Path]) -> tuple[int, int]:
    """(shards that were done when a preparation was killed, pictures decoded by it and by the one that went on)."""
    decoded = _FRESH.Value("q", 0)
    pictures = sum(len(list(sources[shard.manifest].glob(f"train/{p}/*"))) for shard in shards for p in shard.people)
    first = _FRESH.Process(target=prepare_counted, args=(shards, str(store), sources, decoded, KILL * pictures // 8))
    first.start()
    first.join()
    if first.exitcode != -signal.SIGKILL:
        raise RuntimeError(f"a preparation was to be killed and ended with {first.exitcode=}")
    done = len(Store(str(store)).records(shard.key for shard in shards))
    again = _FRESH.Process(target=prepare_counted, args=(shards, str(store), sources, decoded, -1))
    again.start()
    again.join()
    if again.exitcode or len(Store(str(store)).records(shard.key for shard in shards)) != len(shards):
        raise RuntimeError(f"a preparation that goes on is to end well, not with {again.exitcode=}")
    return done, int(decoded.value)


def _in_child(work: Any, *arguments: Any) -> dict[str, float]:
    """Seconds of some work in a process of its own, without its start, and the most bytes that the process took."""
    told = _FRESH.Queue()
    child = _FRESH.Process(target=timed, args=(told, work, arguments))
    child.start()
    child.join()
    if child.exitcode:
        raise RuntimeError(f"{work.__name__} ended with {child.exitcode=}")
    found: dict[str, float] = told.get()
    _say(f"{work.__name__}: {found['seconds']:.1f} s")
    return found


def _peak(store: Store) -> float:
    """Bytes of the stage that took most."""
    return max(float(record["peak_memory_bytes"]) for record in store.records().values())


def _check(pictures: int, labels: int) -> None:
    problems = []
    if not 12 <= labels <= MOST // LEAST_EACH:
        problems.append(Problem("--labels", f"must be from 12 to {MOST // LEAST_EACH:,}, got {labels}"))
    elif not LEAST_EACH * labels <= pictures <= MOST:
        text = f"must be from {LEAST_EACH * labels:,} ({LEAST_EACH} a label) to {MOST:,}, got {pictures}"
        problems.append(Problem("--pictures", text))
    if problems:
        raise SpecError(problems)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
