"""What `doctor` looks at on one machine. Runs here and, as a task, on every node of a cluster."""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from grid.numerics import has_gpu
from grid.store import Store
from grid.store_files import StoreError

PACKAGES = ("decoygrid", "ray", "torch", "torchvision", "numpy", "pyarrow", "pydantic", "opacus")
_COUNT_GPUS = """
import json, torch
count = torch.cuda.device_count()
error = None
try:
    for i in range(count):
        torch.ones(1, device=f"cuda:{i}").sum().item()
    if not count:
        error = f"torch {torch.__version__} sees none (built for CUDA {torch.version.cuda})"
except Exception as problem:
    error = f"{type(problem).__name__}: {str(problem).splitlines()[0]}"
print(json.dumps({"count": count, "error": error}))
"""


@dataclass(frozen=True)
class NodeFacts:
    """One machine. Sizes are bytes; `None` is not looked at, or not there."""

    name: str
    python: str
    versions: dict[str, str | None]
    driver_gpus: int
    torch_gpus: int | None
    gpu_error: str | None
    store_error: str | None
    disk: dict[str, int]
    shared_memory: int | None
    time: float = 0.0
    ray_gpus: float | None = None
    object_store: float | None = None
    skew: float | None = None  # seconds that its clock is ahead of the driver's
    skew_error: float = 0.0  # as much as that may be off
    head: bool = False
    silent: str | None = None  # why nothing is known of it


def examine(store_uri: str | None, marker: str | None = None, *, gpus: float | None = None) -> NodeFacts:
    """Look at this machine. marker: a document that another machine has put into the store.

    gpus: how many Ray counts on it; torch is asked (in a process of its own) if that or the driver says any.
    """
    driver = len(list(Path("/proc/driver/nvidia/gpus").glob("*"))) if has_gpu() else 0
    seen = _torch_gpus() if driver or gpus else {"count": None, "error": None}
    return NodeFacts(
        name=socket.gethostname(),
        python=platform.python_version(),
        versions={name: _version(name) for name in PACKAGES},
        driver_gpus=driver,
        torch_gpus=seen["count"],
        gpu_error=seen["error"],
        store_error=store_problem(store_uri, marker) if store_uri is not None else None,
        disk={place: shutil.disk_usage(place).free for place in _places()},
        shared_memory=_shared_memory(),
    )


def store_problem(uri: str, marker: str | None = None) -> str | None:
    """Why the store cannot be used from here, or None. Writes a small file and removes it."""
    try:
        store = Store(uri)
        store.check_writable()
        if marker is not None and store.read_document(marker) is None:
            return "does not show what another node has just written: not the same place on all nodes"
    except (StoreError, OSError) as error:
        return str(error)
    return None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _torch_gpus() -> dict[str, Any]:
    """GPUs that torch can really use; all of the machine's, where Ray hides those that a task did not ask for."""
    environment = {key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
    command = [sys.executable, "-W", "ignore", "-c", _COUNT_GPUS]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError) as error:
        return {"count": 0, "error": f"torch could not be asked ({type(error).__name__})"}
    return found


def _places() -> list[str]:
    """Where stages and Ray write while they work."""
    places = [tempfile.gettempdir(), os.environ.get("RAY_TMPDIR", "/tmp/ray")]  # noqa: S108  Ray's own choice
    return list(dict.fromkeys(place for place in places if Path(place).is_dir()))


def _shared_memory() -> int | None:
    return shutil.disk_usage("/dev/shm").total if Path("/dev/shm").is_dir() else None  # noqa: S108  the kernel's
