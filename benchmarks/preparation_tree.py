"""A tree of small JPEGs in the layout of VGG-Face2, each with its own content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

JPEG = ".jpg"
SIDE, COARSE = 112, 5  # pixels of a picture; of the noise that it is a smooth version of


def write_tree(data: Path, people: int, each: int) -> Path:
    """data/vggface2/train/n000002/0001_01.jpg and so on: `each` pictures of so many people. Returns data/vggface2."""
    root = data / "vggface2"
    for person in range(people):
        folder = root / "train" / f"n{person + 2:06d}"
        folder.mkdir(parents=True)
        draws = np.random.default_rng(person)
        for index in range(each):
            coarse = draws.integers(0, 256, (COARSE, COARSE, 3), dtype=np.uint8)
            picture = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            picture.save(folder / f"{index + 1:04d}_01{JPEG}", quality=90)
    return root
