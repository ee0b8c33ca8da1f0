"""Names beside points such that they do not lie on each other: greedy, and the same every time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE = 8  # points
_RINGS = (9, 18, 30, 44, 60, 78, 98, 120)  # pixels (at 100 dpi) from the point
_ANGLES = (30, -30, 150, -150, 0, 180, 60, -60, 120, -120, 90, -90)
_LEADER = 16  # from this distance on a line says whose name it is
_AIR = 2.0
Place = tuple[float, float]
Ends = tuple[tuple[float, float], tuple[float, float]]


class Box(NamedTuple):
    """A rectangle in pixels."""

    left: float
    low: float
    right: float
    high: float

    def overlap(self, other: Box) -> float:
        """Common area."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.high, other.high) - max(self.low, other.low)
        return max(0.0, width) * max(0.0, height)


def place_names(
    axes: Axes,
    places: Sequence[Place],
    names: Sequence[str],
    bars: Sequence[Ends],
    colours: Sequence[str],
    avoid: Sequence[Place] = (),
) -> list[Box]:
    """Write each name near its point where it covers least: other texts first, then points, then bars.

    places, bars: points and the ends of their error bars in data coordinates; colours: of the names; avoid: further
    points, without names. The layout has to be drawn. Returns the names' boxes in pixels. A name away from its point
    gets a thin line to it.
    """
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    scale = axes.figure.dpi / 72
    to_pixels = axes.transData.transform
    dots: list[Place] = [(float(x), float(y)) for x, y in map(to_pixels, places)]
    unnamed: list[Place] = [(float(x), float(y)) for x, y in map(to_pixels, avoid)]
    marks = [Box(x - 6, y - 6, x + 6, y + 6) for x, y in [*dots, *unnamed]]
    lines = [box for place, ends in zip(places, bars, strict=True) for box in _bar_boxes(to_pixels, place, ends)]
    frame = Box(*axes.bbox.extents)
    taken = [Box(*text.get_window_extent().extents) for text in axes.texts]
    there = len(taken)
    for name, dot, place, colour in zip(names, dots, places, colours, strict=True):
        width = TextPath((0, 0), name, size=_SIZE, prop=FontProperties()).get_extents().width * scale
        size = (width + 2 * _AIR, 1.25 * _SIZE * scale)
        costs = [(_cost(box, away, taken, marks, lines, frame), box, away) for box, away in _candidates(dot, size)]
        _, box, away = min(costs, key=lambda found: found[0])
        taken.append(box)
        middle = ((box.left + box.right) / 2 - dot[0], (box.low + box.high) / 2 - dot[1])
        arrow = {"arrowstyle": "-", "linewidth": 0.5, "color": "grey", "shrinkA": 0, "shrinkB": 3}
        axes.annotate(
            name,
            place,
            xytext=(middle[0] / scale, middle[1] / scale),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=_SIZE,
            color=colour,
            arrowprops=arrow if away >= _LEADER else None,
            zorder=5,
        )
    return taken[there:]


def _candidates(dot: Place, size: Place) -> Iterator[tuple[Box, float]]:
    """Boxes around a point, the nearest first, and how far away each is."""
    for ring in _RINGS:
        for angle in _ANGLES:
            x, y = dot[0] + ring * math.cos(math.radians(angle)), dot[1] + ring * math.sin(math.radians(angle))
            left = x if abs(angle) < 90 else x - size[0] if abs(angle) > 90 else x - size[0] / 2
            low = y if angle in (90, 60, 120) else y - size[1] if angle in (-90, -60, -120) else y - size[1] / 2
            yield Box(left, low, left + size[0], low + size[1]), float(ring)


def _cost(box: Box, away: float, taken: Sequence[Box], marks: Sequence[Box], lines: Sequence[Box], frame: Box) -> float:
    outside = (box.right - box.left) * (box.high - box.low) - box.overlap(frame)
    return (
        away / 10
        + 5.0 * outside
        + 2.0 * sum(box.overlap(other) for other in taken)
        + 0.5 * sum(box.overlap(other) for other in marks)
        + 0.25 * sum(box.overlap(other) for other in lines)
    )


def _bar_boxes(to_pixels: Callable[[Place], Any], place: Place, ends: Ends) -> list[Box]:
    """The two error bars of a point as thin boxes."""
    (left, right), (low, high) = ends
    x0, y = map(float, to_pixels((left, place[1])))
    x1, _ = map(float, to_pixels((right, place[1])))
    x, y0 = map(float, to_pixels((place[0], low)))
    _, y1 = map(float, to_pixels((place[0], high)))
    return [Box(x0, y - 1, x1, y + 1), Box(x - 1, y0, x + 1, y1)]
