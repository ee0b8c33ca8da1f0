"""Several objectives at once: who dominates whom, the volume that a front wins, and its knee. Pure functions.

A point is a sequence of objectives; `directions` says for each whether more (max) or less (min) is better.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Direction = Literal["max", "min"]
Values = Sequence[float]
MOST = 4  # objectives of an exact hypervolume


def front_of(points: Sequence[Values], directions: Sequence[Direction]) -> list[int]:
    """Positions of the points that no other dominates, in order. Equal points are all on the front.

    a dominates b if it is nowhere worse and somewhere better (Pareto order). n points, f of them on the front: O(n f),
    since whoever dominates comes before in lexicographic order, and is dominated only if somebody on the front does.
    """
    costs = [_cost(point, directions) for point in points]
    front: list[tuple[float, ...]] = []
    for cost in sorted(set(costs)):
        if not any(_dominates(other, cost) for other in front):
            front.append(cost)
    on_front = set(front)
    return [i for i, cost in enumerate(costs) if cost in on_front]


def hypervolume(points: Sequence[Values], reference: Values, directions: Sequence[Direction]) -> float:
    """The volume of all that some point dominates and that itself dominates `reference`; exact, 1 to 4 objectives.

    The S-metric of Zitzler and Thiele 1998, by slicing objectives (While et al. 2006): between neighbouring values
    of the last objective the cross-section is constant, a hypervolume of one dimension less. Points that are not
    better than the reference in every objective add nothing. Raises ValueError on more objectives, or on lengths
    that differ.
    """
    if not 1 <= len(directions) <= MOST:
        raise ValueError(f"hypervolume is exact for 1 to {MOST} objectives, but got {len(directions)}")
    limit = _cost(reference, directions)
    costs = [_cost(point, directions) for point in points]
    inside = {cost for cost in costs if all(c < r for c, r in zip(cost, limit, strict=True))}
    return _volume(sorted(inside), limit)


def knee(points: Sequence[Values], directions: Sequence[Direction]) -> int:
    """Position of the front's knee: the point farthest below the plane through the front's extremes.

    Each objective is scaled over the front to 0 (its best value there) and 1 (its worst); the knee has the least
    sum. That is the largest bulge of Das 1999 with the extremes at their nominal places, and the least Manhattan
    distance to the ideal of Chiu et al. 2016: beyond it, a share of one objective's range costs more than that share
    of the others'. Equal sums: the more even point, then the first. Dominated points are never the knee. An
    objective that does not vary on the front does not count. Raises ValueError without points.
    """
    if not points:
        raise ValueError("a knee needs at least one point")
    front = front_of(points, directions)
    costs = [_cost(points[place], directions) for place in front]
    low = [min(column) for column in zip(*costs, strict=True)]
    spread = [max(column) - min(column) for column in zip(*costs, strict=True)]

    def rank(order: int) -> tuple[float, float, int]:
        scaled = [
            (c - best) / width if width else 0.0 for c, best, width in zip(costs[order], low, spread, strict=True)
        ]
        return round(sum(scaled), 12), round(sum(value * value for value in scaled), 12), order

    return front[min(range(len(front)), key=rank)]


def _cost(point: Values, directions: Sequence[Direction]) -> tuple[float, ...]:
    """The point with every objective turned so that less is better."""
    return tuple(-value if way == "max" else value for value, way in zip(point, directions, strict=True))


def _dominates(one: Values, other: Values) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)


def _volume(costs: Sequence[tuple[float, ...]], limit: tuple[float, ...]) -> float:
    """Hypervolume of costs (less is better), all of them below the limit."""
    if not costs:
        return 0.0
    if len(limit) == 1:
        return limit[0] - min(cost[0] for cost in costs)
    if len(limit) == 2:
        return _area(sorted(costs), limit)
    ordered = sorted(costs, key=lambda cost: cost[-1])
    ends = [*(cost[-1] for cost in ordered[1:]), limit[-1]]
    section: list[tuple[float, ...]] = []  # undominated cross-sections of what begins at or below this slice
    total = 0.0
    for cost, end in zip(ordered, ends, strict=True):
        flat = cost[:-1]
        if not any(all(a <= b for a, b in zip(other, flat, strict=True)) for other in section):
            section = [other for other in section if not _dominates(flat, other)] + [flat]
        if end > cost[-1]:
            total += (end - cost[-1]) * _volume(section, limit[:-1])
    return total


def _area(ordered: Sequence[tuple[float, ...]], limit: tuple[float, ...]) -> float:
    """The staircase's area: a strip for each point that lies lower than all to its left."""
    total, lowest = 0.0, limit[1]
    for x, y in ordered:
        if y < lowest:
            total += (limit[0] - x) * (lowest - y)
            lowest = y
    return total
