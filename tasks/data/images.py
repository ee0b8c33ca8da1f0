"""Decode, crop, resize and store pictures; read a stored split back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from safetensors.torch import save_file

from tasks.artifact import Artifact
from tasks.data.pixels import to_float

if TYPE_CHECKING:
    from tasks.data.split import Picture


def square(image: Image.Image, size: int, channels: int) -> Image.Image:
    """The centre square of an image at `size` x `size`, bilinear with antialiasing, grey or colour."""
    if image.mode.startswith("I"):  # 16-bit grey; `convert` would cut everything above 255 to white
        image = Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8))
    converted = image.convert("L" if channels == 1 else "RGB")
    side = min(converted.size)
    left, top = (converted.width - side) // 2, (converted.height - side) // 2
    cropped = converted.crop((left, top, left + side, top + side))
    return cropped.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=None)


def write_split(
    out: Path, chosen: Sequence[tuple[Picture, int]], *, people: Sequence[str], size: int, channels: int
) -> None:
    """Write images.safetensors (images uint8 (n, c, size, size), labels int64 (n,)) and index.parquet."""
    images = torch.empty(len(chosen), channels, size, size, dtype=torch.uint8)
    for i, (picture, _) in enumerate(chosen):
        with picture.open() as image:
            pixels = np.asarray(square(image, size, channels)).reshape(size, size, channels)
        images[i] = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
    labels = torch.tensor([label for _, label in chosen], dtype=torch.int64)
    save_file({"images": images, "labels": labels}, out / "images.safetensors")
    rows = {
        "picture": [picture.name for picture, _ in chosen],
        "person": [people[label] for _, label in chosen],
        "label": [label for _, label in chosen],
    }
    pq.write_table(pa.table(rows), out / "index.parquet")


def read_split(artifact: Artifact) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (n, c, s, s) float in [-1, 1] and labels (n,) int64."""
    stored = artifact.tensors("images.safetensors")
    return to_float(stored["images"]), stored["labels"]
