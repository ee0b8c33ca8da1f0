"""From a decoded picture to the pixels that are stored. Without torch, which who prepares millions does not need."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def square(image: Image.Image, size: int, channels: int) -> Image.Image:
    """The centre square of an image at `size` x `size`, bilinear with antialiasing, grey or colour."""
    if image.mode.startswith("I"):  # 16-bit grey; `convert` would cut everything above 255 to white
        image = Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8))
    converted = image.convert("L" if channels == 1 else "RGB")
    side = min(converted.size)
    left, top = (converted.width - side) // 2, (converted.height - side) // 2
    cropped = converted.crop((left, top, left + side, top + side))
    return cropped.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=None)


def pixels_of(image: Image.Image, size: int, channels: int) -> NDArray[np.uint8]:
    """The same as (channels, size, size) uint8."""
    pixels = np.asarray(square(image, size, channels)).reshape(size, size, channels)
    return pixels.transpose(2, 0, 1).copy()
