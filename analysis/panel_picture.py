"""A sheet of small images: a title, headings, and a line of tiles for each name."""

from __future__ import annotations

import io
import itertools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

    from analysis.stored_images import Pixels

TILE = 128  # pixels per side aimed at; images are enlarged by a whole factor
_GAP, _MARGIN, _FONT = 8, 16, 15
_LINE = _FONT + 6
_INK, _FAINT, _PAPER, _BLANK = (25, 25, 25), (120, 120, 120), (255, 255, 255), (236, 236, 236)


class Panel(NamedTuple):
    """One picture's content: a row of tiles for each label; None is a blank tile."""

    title: str
    headings: list[str]
    names: list[str]
    tiles: list[list[Pixels | None]]
    tile: int = TILE  # pixels per side aimed at


def draw(panel: Panel, note: str) -> bytes:
    """PNG of a panel; note: a line below it. It is drawn by Pillow, so no setting of matplotlib matters."""
    from PIL import Image, ImageDraw

    font, small = _font(_FONT), _font(_FONT - 2)
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    sides = [max(tile.shape[1:]) for line in panel.tiles for tile in line if tile is not None]
    side = max(pixels * max(1, panel.tile // pixels) for pixels in sides)
    left = _MARGIN + max(_width(measure, name, font) for name in panel.names) + 2 * _GAP
    starts = [left]
    for heading in panel.headings:
        starts.append(starts[-1] + max(side, _width(measure, heading, font)) + _GAP)
    headed = max((heading.count("\n") + 1 for heading in panel.headings if heading), default=0)
    top = _MARGIN + (2 + headed) * _LINE  # title, a line of air, the headings
    lines = [top + row * (side + _GAP) for row in range(len(panel.tiles) + 1)]
    needed = max(_width(measure, panel.title, font), _width(measure, note, small)) + _MARGIN
    sheet = Image.new("RGB", (max(starts[-1], needed) + _MARGIN, lines[-1] + _FONT + _MARGIN), _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN, _MARGIN), panel.title, fill=_INK, font=font)
    pen.text((_MARGIN, lines[-1]), note, fill=_FAINT, font=small)
    middles = [(x + after - _GAP) // 2 for x, after in itertools.pairwise(starts)]
    for middle, heading in zip(middles, panel.headings, strict=True):
        at = (middle, top - _GAP)
        pen.multiline_text(at, heading, fill=_INK, font=font, anchor="md", align="center")
    for y, name, line in zip(lines, panel.names, panel.tiles, strict=False):
        pen.multiline_text((_MARGIN, y + side // 2), name, fill=_INK, font=font, anchor="lm")
        for middle, tile in zip(middles, line, strict=True):
            _place(sheet, pen, tile, (middle - side // 2, y), side)
    out = io.BytesIO()
    sheet.save(out, "PNG")
    return out.getvalue()


def _place(sheet: Image.Image, pen: ImageDraw.ImageDraw, tile: Pixels | None, at: tuple[int, int], side: int) -> None:
    """Paste one image at `at`, enlarged by a whole factor (nearest neighbour), or a blank tile."""
    from PIL import Image

    if tile is None:
        pen.rectangle((*at, at[0] + side - 1, at[1] + side - 1), fill=_BLANK)
        pen.text((at[0] + side // 2, at[1] + side // 2), "–", fill=_FAINT, font=_font(_FONT), anchor="mm")
        return
    pixels = tile[0] if tile.shape[0] == 1 else tile.transpose(1, 2, 0)
    factor = max(1, side // max(tile.shape[1:]))
    image = Image.fromarray(np.ascontiguousarray(pixels))
    enlarged = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    sheet.paste(enlarged, at)


def _width(pen: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont) -> int:
    return max(int(pen.textlength(line, font=font)) + 1 for line in text.split("\n"))


def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib: one font on every machine, with more than Latin letters."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)
