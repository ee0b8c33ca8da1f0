"""The project's one pixel range: images are float in [-1, 1], stored as uint8; models own their normalisation."""

from __future__ import annotations

import torch


def to_float(images: torch.Tensor) -> torch.Tensor:
    """uint8 (n, c, h, w) in 0..255 -> float32 in [-1, 1]."""
    return images.to(torch.float32).div_(127.5).sub_(1.0)


def to_uint8(images: torch.Tensor) -> torch.Tensor:
    """float (n, c, h, w) in [-1, 1] -> uint8 in 0..255, rounded; the inverse of `to_float` on its image."""
    return images.add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8)
