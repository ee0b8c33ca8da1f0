"""Files that the MLflow mirror attaches to runs: tables as text, images of artifacts as PNG grids."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.artifact import Artifact
from tasks.data.stored_rows import split_rows

MAX_IMAGES = 64  # in one grid
LINE_IMAGES = 10  # beside one label
_TILE = 64  # smaller pictures are enlarged to about this many pixels

Images = npt.NDArray[np.uint8]
Load = Callable[[str], Artifact]


def csv_bytes(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """The rows under the union of their names; None is an empty cell."""
    out = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def markdown_bytes(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """The rows as a Markdown table; a value's interval stands beside it, empty columns are left out."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    shown = [name for name in names if not name.endswith(("_low", "_high"))]
    shown = [name for name in shown if any(row.get(name) is not None for row in rows)]
    lines = [shown, ["---"] * len(shown), *([_cell(row, name) for name in shown] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines).encode()


def yaml_bytes(content: Mapping[str, Any]) -> bytes:
    """Plain data as YAML."""
    import yaml

    return yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True).encode()


def images_png(load: Load, key: str, name: str = "images.safetensors") -> bytes:
    """The first images of an artifact in a square-like grid."""
    images = _tensors(load, key, name)["images"][:MAX_IMAGES]
    columns = max(1, int(np.ceil(np.sqrt(len(images)))))
    return _png([("", images[i : i + columns]) for i in range(0, len(images), columns)])


def over_time_png(load: Load, key: str, name: str) -> bytes:
    """A GAN's samples of the same latents while it learned, a line per step."""
    stored = _tensors(load, key, name)
    grids = zip(stored["steps"].tolist(), stored["over_time"], strict=True)
    return _png([(f"step {step}", grid[:LINE_IMAGES]) for step, grid in grids])


def inverted_png(load: Load, lines: Sequence[tuple[str, str]]) -> bytes:
    """For each (text, key of an attack) a line with its first images."""
    shown = [(text, _tensors(load, key, "images.safetensors")["images"]) for text, key in lines]
    return _png([(text, images[:LINE_IMAGES]) for text, images in shown])


def private_png(load: Load, lines: Sequence[tuple[str, str, int]]) -> bytes:
    """For each (text, key of a private split, label) a line with the label's private photographs."""
    shown = []
    for text, key, label in lines:
        images, labels = split_rows(load(key), load)
        shown.append((text, images.take(np.flatnonzero(labels == label)[:LINE_IMAGES])))
    return _png(shown)


def _cell(row: Mapping[str, Any], name: str) -> str:
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    interval = f" [{_number(low)}, {_number(high)}]" if low is not None and high is not None else ""
    return _number(row.get(name)) + interval


def _number(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|")


def _tensors(load: Load, key: str, name: str) -> dict[str, npt.NDArray[Any]]:
    from safetensors.numpy import load_file  # not safetensors.torch: a sync needs no torch

    return load_file(load(key).path(name))


def _png(lines: Sequence[tuple[str, Images]]) -> bytes:
    """Each line: its text, then its images, uint8 (n, c, s, s) with c = 1 or 3."""
    from PIL import Image, ImageDraw

    size = max((images.shape[-1] for _, images in lines), default=1)
    scale = max(1, _TILE // size)
    tile = size * scale + 2
    margin = max((8 * len(text) for text, _ in lines), default=0)
    columns = max((len(images) for _, images in lines), default=1)
    canvas = Image.new("RGB", (max(1, margin + tile * columns), max(1, tile * len(lines))), "white")
    draw = ImageDraw.Draw(canvas)
    for i, (text, images) in enumerate(lines):
        draw.text((2, i * tile + tile // 2 - 6), text, fill="black")
        for j, image in enumerate(images):
            pixels = np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0)
            picture = Image.fromarray(np.ascontiguousarray(pixels))
            shown = picture.resize((image.shape[2] * scale, image.shape[1] * scale), Image.Resampling.NEAREST)
            canvas.paste(shown, (margin + j * tile, i * tile))
    out = io.BytesIO()
    canvas.save(out, "PNG")
    return out.getvalue()
