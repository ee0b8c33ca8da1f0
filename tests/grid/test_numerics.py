"""Floating point within a stage, and behind it."""

from __future__ import annotations

import contextlib

import torch

from grid.runner import numerics_of
from tests.lab import Lab


def test_arithmetic_is_ieee_again_after_a_stage(lab: Lab) -> None:
    """Denormals are flushed within a stage, whatever ran before; and also where it fails, not behind it."""
    tiny = torch.tensor(1e-40)
    with contextlib.suppress(RuntimeError), numerics_of(lab.victim):
        assert (tiny * 1.0).item() == 0.0
        raise RuntimeError("failed")
    assert (tiny * 1.0).item() > 0.0
