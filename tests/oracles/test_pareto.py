"""grid/search_front.py against definitions in fractions, and what a front, its volume and its knee are for."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from grid.search_front import Direction, front_of, hypervolume, knee
from tests.oracles import pareto_formulas as by_hand
from tests.oracles.shapes import quick

Case = tuple[list[tuple[Fraction, ...]], list[Direction]]


@st.composite
def cases(draw: DrawFn, most: int = 8, least_objectives: int = 1) -> Case:
    """Points whose coordinates are eighths, so that many tie and floats are exact; any directions."""
    objectives = draw(st.integers(least_objectives, 4))
    directions: list[Direction] = draw(
        st.lists(st.sampled_from(["max", "min"]), min_size=objectives, max_size=objectives)
    )
    coordinate = st.integers(-8, 8).map(lambda n: Fraction(n, 8))
    point = st.tuples(*[coordinate] * objectives)
    return draw(st.lists(point, min_size=1, max_size=most)), directions


def floats(points: list[tuple[Fraction, ...]]) -> list[list[float]]:
    return [[float(value) for value in point] for point in points]


@quick
@given(case=cases(most=12))
def test_front_is_what_nothing_dominates(case: Case) -> None:
    points, directions = case
    found = front_of(floats(points), directions)
    assert found == by_hand.front(points, directions)
    assert found, "a finite set has a front"


@quick
@given(case=cases(), reference=st.integers(-8, 8))
def test_hypervolume_is_the_volume_of_the_union(case: Case, reference: int) -> None:
    points, directions = case
    limit = [Fraction(reference, 8)] * len(directions)
    expected = by_hand.hypervolume(points, limit, directions)
    assert hypervolume(floats(points), [float(value) for value in limit], directions) == float(expected)


@quick
@given(case=cases(), data=st.data())
def test_hypervolume_is_that_of_the_front_and_in_no_order(case: Case, data: st.DataObject) -> None:
    points, directions = case
    reference = [-2.0 if way == "max" else 2.0 for way in directions]
    whole = hypervolume(floats(points), reference, directions)
    front = [floats(points)[i] for i in front_of(floats(points), directions)]
    assert hypervolume(front, reference, directions) == whole
    assert hypervolume(data.draw(st.permutations(floats(points))), reference, directions) == whole
    assert whole > 0


def test_hypervolume_known_values() -> None:
    assert hypervolume([[0.5, 0.5]], [0, 1], ["max", "min"]) == 0.25
    assert hypervolume([[1, 2], [2, 1]], [3, 3], ["min", "min"]) == 3
    assert hypervolume([[1, 1, 1, 0], [0, 0, 0, 1]], [0] * 4, ["max"] * 4) == 0, "flat boxes hold nothing"
    assert hypervolume([[1, 1, 1, 0.5]], [0] * 4, ["max"] * 4) == 0.5
    assert hypervolume([], [0, 0], ["max", "max"]) == 0
    quarter = [[math.sin(i / 4000 * math.pi / 2), math.cos(i / 4000 * math.pi / 2)] for i in range(4001)]
    assert hypervolume(quarter, [0, 0], ["max", "max"]) == pytest.approx(math.pi / 4, abs=1e-3)


def test_hypervolume_says_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match="1 to 4 objectives, but got 5"):
        hypervolume([[1] * 5], [0] * 5, ["max"] * 5)
    with pytest.raises(ValueError, match=r"shorter|longer"):
        hypervolume([[1, 2]], [0], ["max"])


@quick
@given(case=cases(most=10, least_objectives=2))
def test_knee_lies_farthest_below_the_plane_of_the_extremes(case: Case) -> None:
    points, directions = case
    front = [points[i] for i in by_hand.front(points, directions)]
    found = points[knee(floats(points), directions)]
    assert found in front
    if all(len(set(column)) > 1 for column in zip(*front, strict=True)):
        depths = [by_hand.depth_below_extremes(point, front, directions) for point in front]
        assert by_hand.depth_below_extremes(found, front, directions) == pytest.approx(max(depths), abs=1e-9)


def test_knee_is_where_the_curve_bends() -> None:
    bend = [[0.99, 0.48], [0.98, 0.30], [0.96, 0.08], [0.70, 0.05], [0.30, 0.02]]  # MC all, AA top-1
    assert knee(bend, ["max", "min"]) == 2
    assert knee([[0.97, 0.1], *bend[:2], *bend[3:]], ["max", "min"]) == 0
    stretched = [[100 * mc + 7, 3 * aa] for mc, aa in bend]
    assert knee(stretched, ["max", "min"]) == 2, "units do not matter"


def test_knee_of_a_straight_front_is_its_middle_and_of_one_point_itself() -> None:
    assert knee([[0, 0], [1, 1], [2, 2], [3, 3], [4, 4]], ["max", "min"]) == 2
    assert knee([[0.5, 0.5]], ["max", "min"]) == 0
    assert knee([[0.5, 0.5, 1.0], [0.6, 0.5, 1.0]], ["max", "min", "max"]) == 1
    with pytest.raises(ValueError, match="at least one"):
        knee([], ["max"])
