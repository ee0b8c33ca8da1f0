"""Decode, crop, resize and store the pictures of a small split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import save_file

from tasks.data.picture_pixels import pixels_of

if TYPE_CHECKING:
    from tasks.data.split import Picture


def write_split(
    out: Path, chosen: Sequence[tuple[Picture, int]], *, people: Sequence[str], size: int, channels: int
) -> None:
    """Write images.safetensors (images uint8 (n, c, size, size), labels int64 (n,)) and index.parquet."""
    images = torch.empty(len(chosen), channels, size, size, dtype=torch.uint8)
    for i, (picture, _) in enumerate(chosen):
        with picture.open() as image:
            images[i] = torch.from_numpy(pixels_of(image, size, channels))
    labels = torch.tensor([label for _, label in chosen], dtype=torch.int64)
    save_file({"images": images, "labels": labels}, out / "images.safetensors")
    rows = {
        "picture": [picture.name for picture, _ in chosen],
        "person": [people[label] for _, label in chosen],
        "label": [label for _, label in chosen],
    }
    pq.write_table(pa.table(rows), out / "index.parquet")
