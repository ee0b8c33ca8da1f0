"""Fronts by their definition, hypervolume by inclusion and exclusion in fractions, the knee by its picture."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction

Point = Sequence[Fraction]


def dominates(one: Point, other: Point, directions: Sequence[str]) -> bool:
    """Nowhere worse and somewhere better."""
    better = [a > b if way == "max" else a < b for a, b, way in zip(one, other, directions, strict=True)]
    worse = [a < b if way == "max" else a > b for a, b, way in zip(one, other, directions, strict=True)]
    return any(better) and not any(worse)


def front(points: Sequence[Point], directions: Sequence[str]) -> list[int]:
    """Every point against every other."""
    return [i for i, p in enumerate(points) if not any(dominates(q, p, directions) for q in points)]


def hypervolume(points: Sequence[Point], reference: Point, directions: Sequence[str]) -> Fraction:
    """Volume of a union of boxes: the sum over all subsets of (-1)^(size + 1) times the volume of their overlap.

    A point's box reaches from the point to the reference; an overlap's from the worst of its points.
    """
    total = Fraction()
    for size in range(1, len(points) + 1):
        for subset in itertools.combinations(points, size):
            volume = Fraction(1)
            for column, limit, way in zip(zip(*subset, strict=True), reference, directions, strict=True):
                length = min(column) - limit if way == "max" else limit - max(column)
                volume *= max(Fraction(), length)
            total += (-1) ** (size + 1) * volume
    return total


def depth_below_extremes(point: Point, others: Sequence[Point], directions: Sequence[str]) -> float:
    """Distance of a point from the plane through the corners where one objective is worst and the rest are best.

    In the unit cube of the front, with the best at the origin: the plane is x_1 + ... + x_k = 1. Positive: towards
    the best. Needs objectives that all vary.
    """
    scaled = []
    for value, column, way in zip(point, zip(*others, strict=True), directions, strict=True):
        best, worst = (max(column), min(column)) if way == "max" else (min(column), max(column))
        scaled.append((value - best) / (worst - best))
    return float((1 - sum(scaled)) / Fraction(1)) / math.sqrt(len(scaled))
