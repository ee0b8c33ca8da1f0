"""Figure 2 on paper: a block for each person, attacks from top to bottom, defenses from left to right."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from analysis.drawing import as_png_and_svg, default_style, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from analysis.stored_images import Pixels

Place = tuple[str, str]  # attack, defense
_INCH = 0.75  # of a tile; all lengths below are in tiles
_STEP, _LINE_STEP = 1.1, 1.3  # from tile to tile, and from attack to attack with room for a note
_HEADING, _TITLE, _LINE, _MARGIN = 0.8, 0.5, 0.2, 0.1
_LETTER, _NAME = 0.1, 14  # width of a letter of an attack's name, and letters in a line of it
_CHARACTERS = 13  # of the caption, in a tile's width
_SHAPE = 1.4  # width by height that the blocks' arrangement aims at
_HIT, _FAINT, _BLANK = "#c0392b", "#777777", "#ececec"


class Block(NamedTuple):
    """One person: photographs by name, and for (attack, defense) the image shown (None: blank), a note, a hit."""

    heading: str
    photographs: Mapping[str, Pixels]
    attacks: tuple[str, ...]
    defenses: tuple[tuple[str, bool], ...]  # name, whether it is the undefended target
    images: Mapping[Place, Pixels | None]
    notes: Mapping[Place, str]
    hits: AbstractSet[Place]


class _Frame(NamedTuple):
    """What all blocks have in common: columns, and where they begin."""

    photographs: tuple[str, ...]
    stacked: bool  # photographs one beneath the other
    defenses: tuple[tuple[str, bool], ...]
    first: float  # left edge of the first defense, from the block's
    width: float
    height: float


@default_style()
def draw(title: str, blocks: Sequence[Block], caption: str) -> tuple[bytes, bytes]:
    """PNG and SVG. Images are enlarged without smoothing; columns are the same in every block."""
    frame = _frame(blocks)
    whole = [n for n in range(1, len(blocks) + 1) if len(blocks) % n == 0]
    across = min(whole, key=lambda n: abs(math.log(n * n * frame.width / (len(blocks) * frame.height) / _SHAPE)))
    down = len(blocks) // across
    width = max(across * frame.width, 6.0)
    lines = textwrap.wrap(caption, int(width * _CHARACTERS))
    height = _TITLE + down * frame.height + _LINE * (len(lines) + 1)
    figure = new_figure(width=width * _INCH, height=height * _INCH, constrained=False)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.text(_MARGIN, 0.15, title, va="top", fontsize=10, weight="bold")
    for place, block in enumerate(blocks):
        _block(axes, block, frame, place % across * frame.width, _TITLE + place // across * frame.height)
    axes.text(_MARGIN, height - _LINE * (len(lines) + 0.5), "\n".join(lines), va="top", fontsize=7, color=_FAINT)
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    return as_png_and_svg(figure, "figure2", dpi=120)


def _frame(blocks: Sequence[Block]) -> _Frame:
    photographs = tuple(dict.fromkeys(name for block in blocks for name in block.photographs))
    defenses = tuple(dict.fromkeys(found for block in blocks for found in block.defenses))
    stacked = min(len(block.attacks) for block in blocks) >= len(photographs)
    columns = min(1, len(photographs)) if stacked else len(photographs)
    letters = max(len(line) for block in blocks for name in block.attacks for line in textwrap.wrap(name, _NAME))
    first = _MARGIN + columns * _STEP + 0.15 + letters * _LETTER
    height = _HEADING + max(len(block.attacks) for block in blocks) * _LINE_STEP
    return _Frame(photographs, stacked, defenses, first, first + len(defenses) * _STEP + 0.2, height)


def _block(axes: Axes, block: Block, frame: _Frame, left: float, top: float) -> None:
    start, first = top + _HEADING, left + frame.first
    axes.plot([left + _MARGIN, left + frame.width - 0.2], [top, top], color="#bbbbbb", linewidth=0.6)
    axes.text(left + _MARGIN, top + 0.1, block.heading, va="top", fontsize=9, weight="bold")
    for order, name in enumerate(frame.photographs):
        if name in block.photographs:
            x = left + _MARGIN + (0 if frame.stacked else order * _STEP)
            y = start + (order * _LINE_STEP if frame.stacked else 0)
            _tile(axes, block.photographs[name], x, y)
            axes.text(x + 0.5, y + 1.03, name, ha="center", va="top", fontsize=7, color=_FAINT)
    for column, (defense, undefended) in enumerate(frame.defenses):
        name = "\n".join(textwrap.wrap(defense, 13)[:2]) + ("\n(original)" if undefended else "")
        axes.text(first + column * _STEP + 0.5, start - 0.06, name, ha="center", va="bottom", fontsize=7)
    for line, attack in enumerate(block.attacks):
        y = start + line * _LINE_STEP
        name = "\n".join(textwrap.wrap(attack, _NAME))
        axes.text(first - 0.1, y + 0.5, name, ha="right", va="center", fontsize=8)
        for column, (defense, _) in enumerate(frame.defenses):
            place, x = (attack, defense), first + column * _STEP
            _tile(axes, block.images.get(place), x, y, hit=place in block.hits)
            note = block.notes.get(place, "")
            axes.text(x + 0.5, y + 1.03, note, ha="center", va="top", fontsize=7, color=_FAINT)


def _tile(axes: Axes, image: Pixels | None, x: float, y: float, *, hit: bool = False) -> None:
    """An image (c, h, w) whose upper left corner is at (x, y), a tile wide; None is a blank tile."""
    from matplotlib.patches import Rectangle

    if image is None:
        axes.add_patch(Rectangle((x, y), 1, 1, facecolor=_BLANK, linewidth=0))
        axes.text(x + 0.5, y + 0.5, "–", ha="center", va="center", fontsize=9, color=_FAINT)
        return
    pixels = np.repeat(image, 3, axis=0) if image.shape[0] == 1 else image
    axes.imshow(pixels.transpose(1, 2, 0), extent=(x, x + 1, y + 1, y), interpolation="none", zorder=1)
    edge = (_HIT, 2.0) if hit else ("#999999", 0.4)
    axes.add_patch(Rectangle((x, y), 1, 1, fill=False, edgecolor=edge[0], linewidth=edge[1], zorder=2))
