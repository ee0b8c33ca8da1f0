"""What the children of benchmarks/preparation.py do: prepare shards, count on the way, or loop plainly."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.preparation_tree import JPEG
from grid.runner import peak_memory, run_stage
from tasks.data import inspection
from tasks.data.shard import Shard

SIZE = 64


def timed(told: Any, work: Any, arguments: Sequence[Any]) -> None:
    """Put into the queue `told` the seconds that `work` took, and the most bytes that this process ever did."""
    began = time.monotonic()
    work(*arguments)
    told.put({"seconds": time.monotonic() - began, "memory": float(peak_memory())})


def prepare_counted(shards: list[Shard], store: str, sources: dict[str, Path], decoded: Any, kill_at: int) -> None:
    """Prepare, counting into `decoded` every picture that is read; SIGKILL at the `kill_at`-th one."""
    read = inspection.read

    def counted(path: Path) -> Any:
        decoded.value += 1
        if decoded.value == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return read(path)

    inspection.read = counted
    prepare(shards, store, sources)


def prepare(shards: list[Shard], store: str, sources: dict[str, Path]) -> None:
    """A stage a shard, one after the other."""
    for shard in shards:
        outcome = run_stage(shard, store, sources)
        if outcome.error is not None:
            raise RuntimeError(f"a preparation that fails measures nothing: {outcome.error}")


def plain(root: Path) -> None:
    """What a script does: open, convert, resize, stack."""
    import numpy as np
    from PIL import Image

    images = []
    for path in sorted(root.rglob(f"*{JPEG}")):
        with Image.open(path) as image:
            images.append(np.asarray(image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)))
    np.stack(images)
