"""Which device and precision `numerics: auto` means on this machine, without loading torch."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from tasks.stage import Numerics


def resolve_numerics(wanted: str) -> Numerics:
    """`auto` is cuda_fp32 where an NVIDIA driver has a GPU, else cpu_fp32.

    It is decided where the plan is made, since it is part of every key; for a cluster whose head has no GPU
    write `numerics: cuda_fp32` in the spec.
    """
    if wanted != "auto":
        return cast(Numerics, wanted)
    return "cuda_fp32" if has_gpu() else "cpu_fp32"


def has_gpu() -> bool:
    """Whether an NVIDIA driver has a GPU on this machine."""
    return any(Path("/proc/driver/nvidia/gpus").glob("*"))
