"""Run one stage: the same code in-process and in a Ray worker."""

from __future__ import annotations

import os
import platform
import resource
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from threadpoolctl import threadpool_limits

from grid.heartbeat import Heartbeat
from grid.last_words import stderr_place
from grid.limits import Loss
from grid.placement import needs_gpu
from grid.scratch import scratch_folder
from grid.stage_timeout import StageTimeoutError, stopped_after
from grid.store import Store
from grid.store_files import StoreError
from grid.store_patience import StoreAccessError, asked, away, held_on_to
from grid.store_record import new_attempt
from tasks.artifact import Artifact, DamagedArtifactError
from tasks.context import Context
from tasks.stage import ComputeStage, Stage

REVISION = "DECOYGRID_REVISION"
VERSIONED = (
    "decoygrid",
    "torch",
    "torchvision",
    "numpy",
    "ray",
    "pydantic",
    "safetensors",
    "pyarrow",
    "pytorch-fid",
)


class Outcome(NamedTuple):
    """How a stage ended: done (`record`), failed (`error`, one line), or an upstream artifact was damaged."""

    key: str
    record: Mapping[str, Any] | None = None
    error: str | None = None
    damaged: str | None = None  # key of the damaged upstream stage
    damaged_attempt: str | None = None
    paused: bool = False  # between two steps, by its context; the same stage run again goes on from there
    lost: Loss | None = None  # what ran it was lost (`error` says more); it may be tried again
    log: str = ""  # of a loss: what is known of the attempt


class PausedError(Exception):
    """Raised by a context to end a stage between two steps; it has saved the stage's state before."""


def run_stage(
    stage: Stage,
    store_uri: str,
    sources: Mapping[str, Path],
    *,
    make_context: Callable[..., Context] = Context,
    timeout: float | None = None,
    end_process: bool = False,
    about: Mapping[str, str] | None = None,
) -> Outcome:
    """Run `stage`, put its product into the store, and say how it ended. Raises nothing a stage raises.

    make_context: called as `Context` is; a context of another kind may watch the stage, or pause it.
    timeout: seconds after which it is stopped; if it cannot be, `end_process` allows to end this process.
    about: what else the attempt says of itself while it runs.
    """
    attempt = new_attempt()
    try:
        store = Store(store_uri)
    except StoreError as error:
        return Outcome(stage.key, error=str(error), lost="store")
    who: dict[str, Any] = {
        **(about or {}),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "attempt": attempt,
        "started": time.time(),
    }
    who["stderr"] = stderr_place()
    try:
        if (known := asked(lambda: store.done(stage.key))) is not None:  # by a worker lost later, or another driver
            return Outcome(stage.key, record=known)
        with (
            stopped_after(timeout, end_process=end_process),
            Heartbeat(store, stage.key, attempt, who),
            scratch_folder() as folder,
        ):
            record = _run(stage, store, attempt, folder, sources, make_context)
    except PausedError:
        return Outcome(stage.key, paused=True)
    except StageTimeoutError as error:
        return Outcome(stage.key, error=str(error), lost="timeout", log=traceback.format_exc())
    except (DamagedArtifactError, OSError) as error:
        reason = str(error) if isinstance(error, StoreAccessError) else away(store)
        if reason is not None:
            return Outcome(stage.key, error=reason, lost="store", log=traceback.format_exc())
        if isinstance(error, DamagedArtifactError):
            return Outcome(stage.key, error=str(error), damaged=error.key, damaged_attempt=error.attempt)
        return _failed(stage, store, error)
    except Exception as error:  # noqa: BLE001  a stage may fail in any way; the grid goes on without it
        return _failed(stage, store, error)
    return Outcome(stage.key, record=record)


def _failed(stage: Stage, store: Store, error: Exception) -> Outcome:
    """Called while `error` is handled: note it, with its traceback."""
    line = (f"{type(error).__name__}: {error}".splitlines() or [""])[0]
    with suppress(OSError):  # a full disk may be why it failed
        store.fail(stage.key, line, traceback.format_exc())
    return Outcome(stage.key, error=line)


def _run(
    stage: Stage,
    store: Store,
    attempt: str,
    folder: Path,
    sources: Mapping[str, Path],
    make_context: Callable[..., Context],
) -> dict[str, Any]:
    started, clock = time.time(), time.monotonic()
    _reset_peak_memory(stage)
    ctx = make_context(
        stage,
        folder,
        lambda upstream: _load(store, upstream.key),
        sources=sources,
        checkpoints=store.checkpoints(stage.key, attempt),
        checkpoint_seconds=float(os.environ.get("DECOYGRID_CHECKPOINT_SECONDS", "20")),
    )
    with numerics_of(stage):
        metrics = stage.run(ctx)
    if ctx.curves:
        _write_curves(ctx.curves, folder / "curves.parquet")
    record = {
        "kind": stage.kind,
        "version": stage.version,
        "group": stage.group,
        "config": stage.config,
        "upstream": [parent.key for parent in stage.upstream],
        "metrics": {name: float(value) for name, value in metrics.items()},
        "notes": ctx.notes,
        "git": git_revision(),
        "versions": versions(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": started,
        "ended": time.time(),
        "seconds": time.monotonic() - clock,
        "resumed_from_step": ctx.resumed_from,
        "peak_memory_bytes": peak_memory(),
        **({"peak_gpu_memory_bytes": _peak_gpu_memory()} if needs_gpu(stage) else {}),
        "cuda_visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }
    return held_on_to(lambda: store.finish(stage.key, attempt, folder, record))


def _load(store: Store, key: str) -> Artifact:
    """An upstream artifact, whose files are read when they are asked for."""
    artifact = asked(lambda: store.load(key))
    return Artifact(key, artifact.metrics, lambda name: asked(lambda: artifact.path(name)))


@contextmanager
def numerics_of(stage: Stage) -> Iterator[None]:
    """Make floating point depend on the stage's fields alone: threads, precision, deterministic kernels."""
    if not isinstance(stage, ComputeStage):
        yield
        return
    import torch

    torch.set_num_threads(stage.threads)
    torch.set_flush_denormal(True)  # squared gradients of an overfit victim are denormal, which is slow
    if stage.numerics != "cpu_fp32":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    amp = torch.autocast("cuda", torch.bfloat16, enabled=stage.numerics == "cuda_amp")
    try:
        with amp, threadpool_limits(stage.threads):  # numpy's and scipy's BLAS follow no torch setting
            yield
    finally:
        torch.set_flush_denormal(False)  # what runs in this process afterwards has IEEE arithmetic again


def _write_curves(curves: list[dict[str, float]], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = list(dict.fromkeys(name for point in curves for name in point))
    pq.write_table(pa.table({name: [point.get(name) for point in curves] for name in names}), path)


@cache
def git_revision() -> str | None:
    """Revision of the code, with `+changes` if the tree differs from it; None outside a checkout.

    A submitted job runs a copy without git and is told the revision that it was made from.
    """
    if shipped := os.environ.get(REVISION):
        return shipped
    folder = Path(__file__).resolve().parent
    try:
        revision = _git(folder, "rev-parse", "HEAD")
        return revision + ("+changes" if _git(folder, "status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)  # noqa: S603, S607
    return done.stdout.strip()


@cache
def versions() -> dict[str, str]:
    """Python and the packages that decide results."""
    found = {"python": platform.python_version()}
    for name in VERSIONED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _peak_gpu_memory() -> int | None:
    """The most that tensors took of the GPU; None without one. What the allocator keeps in reserve is no need."""
    import torch

    return int(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else None


def _reset_peak_memory(stage: Stage) -> None:
    """Let the kernel count this stage's peak, not the process's (Linux; elsewhere the process's stands)."""
    if needs_gpu(stage):
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # what an earlier stage left in reserve is not this one's
            torch.cuda.reset_peak_memory_stats()
    if sys.platform == "linux":
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return


def peak_memory() -> int:
    """The most bytes that this process has taken, or since `_reset_peak_memory`."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
