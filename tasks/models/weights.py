"""Weights files as users bring them: what does not fit, all of it at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file


def misfits(expected: Mapping[str, torch.Tensor], path: Path, what: str) -> list[str]:
    """Names and shapes in which a safetensors file differs from `expected`, and values that are no numbers."""
    wanted = {name: tuple(t.shape) for name, t in expected.items()}
    with safe_open(path, framework="pt") as file:
        found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    problems = [f"{name} is missing" for name in sorted(wanted.keys() - found.keys())]
    problems += [f"{name} is not in {what}" for name in sorted(found.keys() - wanted.keys())]
    for name in sorted(wanted.keys() & found.keys()):
        if wanted[name] != found[name]:
            problems.append(f"{name} has shape {found[name]} where {what} needs {wanted[name]}")
    if not problems:
        weights = load_file(path)
        problems = [f"{name} holds NaN or infinity" for name, t in weights.items() if not bool(t.isfinite().all())]
    return problems
