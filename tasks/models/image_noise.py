"""Random numbers that belong to an image: the same for the same pixels, whichever others share the batch."""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def image_noise(images: torch.Tensor, count: int, seed: int) -> torch.Tensor:
    """N(0, 1) (n, count) float32 on the device of `images` (n, c, s, s).

    Row i is a function of (seed, the pixels of image i as float32) and nothing else: NumPy's Philox under a digest
    of both. An image that differs in one pixel, however little, has another draw. No gradient comes back.
    """
    pixels = images.detach().to("cpu", torch.float32).contiguous() + 0.0  # -0.0 and 0.0 are one pixel
    rows = [_draw(hashlib.sha256(f"{seed}/".encode() + image.numpy().tobytes()).digest(), count) for image in pixels]
    return torch.from_numpy(np.stack(rows)).to(images.device)


def _draw(digest: bytes, count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    generator = np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "big")))
    return generator.standard_normal(count, dtype=np.float32)
