"""Utility against privacy: which rows are drawn, what the CSV says, and that names lie beside each other."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from PIL import Image

from analysis import privacy_utility_picture
from analysis.comparison import compare
from analysis.drawing import new_figure
from analysis.point_names import Box, place_names
from analysis.privacy_utility import points, privacy_utility_csv
from analysis.privacy_utility_picture import PANELS, privacy_utility_pictures
from analysis.records import read_records
from analysis.rows import ComparisonRow
from grid.store import Store

DEFENSES = ("none", "dp eps 8", "dp eps 2", "ad_mi through", "ad_mi stripped", "gan_d", "gan_id", "mid", "x", "y")


@pytest.fixture
def row(document: dict[str, Any], store: Store) -> ComparisonRow:
    return compare(read_records(document, store))[0]


def _made(
    row: ComparisonRow, defenses: tuple[str, ...], attacks: int = 1
) -> tuple[dict[str, Any], list[ComparisonRow]]:
    rows, about = [], []
    for attack in range(attacks):
        for i, defense in enumerate(defenses):
            own = {"defense": defense, "attack": f"a{attack}", "mc_all": 0.95 - 0.005 * i, "aa_top1": 0.04 * (i % 3)}
            rows.append(replace(row, **own))
            about.append({"undefended": defense == "none"})
    return {"rows": about}, rows


def test_two_defenses_are_no_comparison(document: dict[str, Any], store: Store, row: ComparisonRow) -> None:
    """The fixture's third defense was not run: it has no point and does not count."""
    assert points(document, compare(read_records(document, store))) == []
    assert points(*_made(row, DEFENSES[:2])) == []
    assert len(points(*_made(row, DEFENSES[:3]))) == 3


def test_controls_and_what_was_not_measured_are_left_out(row: ComparisonRow) -> None:
    document, rows = _made(row, DEFENSES[:5])
    document["rows"][1]["control"] = True
    rows[2] = replace(rows[2], mc_all=None)
    assert [point.row.defense for point in points(document, rows)] == ["none", *DEFENSES[3:5]]


def test_csv_has_a_line_per_point(row: ComparisonRow) -> None:
    lines = list(csv.DictReader(io.StringIO(privacy_utility_csv(points(*_made(row, DEFENSES, attacks=PANELS + 2))))))
    assert len(lines) == len(DEFENSES) * (PANELS + 2), "all attacks, though the picture stops at PANELS"
    assert (lines[0]["undefended"], lines[1]["undefended"]) == ("True", "False")
    assert (lines[1]["mc_all"], lines[1]["aa_top1"], lines[1]["mc_all_low"]) == ("0.945", "0.04", str(row.mc_all_low))
    assert lines[1]["target_confidence"] == str(row.target_confidence)


def _svg_texts(svg: bytes) -> str:
    """What is written in an SVG: matplotlib leaves each text as a comment beside its outlines."""
    return " ".join(text.decode() for text in re.findall(rb"<!-- (.*?) -->", svg))


@pytest.mark.parametrize("stalled", [(), (0,), (1,), (0, 2)])
def test_rows_of_attacks_that_did_not_converge_are_hollow(row: ComparisonRow, stalled: tuple[int, ...]) -> None:
    """As many white markers as rows, and a title that says what they are where there are any."""
    document, rows = _made(row, DEFENSES[:3])
    rows = [replace(r, target_confidence=0.79 if i in stalled else 0.8) for i, r in enumerate(rows)]
    svg = privacy_utility_pictures(points(document, rows), {})["privacy_utility.svg"]
    markers = re.findall(rb'<use [^>]*style="(?:fill: #([0-9a-f]{6}); )?fill-opacity: 0.9; stroke', svg)
    assert len(markers) == 3
    assert markers.count(b"ffffff") == len(stalled)
    said = "hollow: the attack did not converge (target conf. below 80.0%)" in _svg_texts(svg)
    assert said == bool(stalled)


def test_names_that_clash_as_files_are_kept_apart(row: ComparisonRow) -> None:
    document, rows = _made(row, DEFENSES[:3], attacks=2)
    rows = [replace(found, victim="a b" if i < 3 else "a/b", attack="a0") for i, found in enumerate(rows)]
    names = [name for name in privacy_utility_pictures(points(document, rows), {}) if name.endswith(".png")]
    assert names == ["privacy_utility-orl-a_b.png", "privacy_utility-orl-a_b_.png"]


def test_pictures_are_the_same_every_time_and_small(row: ComparisonRow) -> None:
    found = points(*_made(row, DEFENSES[:4], attacks=2))
    files = privacy_utility_pictures(found, {"orl": 0.05})
    assert sorted(files) == ["privacy_utility.png", "privacy_utility.svg"]
    assert privacy_utility_pictures(found, {"orl": 0.05}) == files
    assert privacy_utility_pictures(found, {}) != files, "the chance line"
    assert Image.open(io.BytesIO(files["privacy_utility.png"])).width < 1200


def test_no_more_panels_than_can_be_read(row: ComparisonRow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privacy_utility_picture, "PANELS", 2)
    few, many = (points(*_made(row, DEFENSES[:3], attacks=n)) for n in (2, 5))
    sizes = [Image.open(io.BytesIO(privacy_utility_pictures(f, {})["privacy_utility.png"])).size for f in (few, many)]
    assert sizes[0] == sizes[1]


def test_several_victims_get_a_file_each(row: ComparisonRow) -> None:
    document, rows = _made(row, DEFENSES[:3], attacks=2)
    rows[3:] = [replace(found, victim="vgg16/x", attack="a0") for found in rows[3:]]
    names = sorted(privacy_utility_pictures(points(document, rows), {}))
    assert [name for name in names if name.endswith(".png")] == [
        "privacy_utility-orl-vgg16_bn.png",
        "privacy_utility-orl-vgg16_x.png",
    ]


@pytest.mark.parametrize("spread", [0.0, 1.0, 20.0])
def test_names_do_not_lie_on_each_other(spread: float) -> None:
    """Ten points on one spot, nearly on one spot, and apart: every name is inside the panel and can be read."""
    figure = new_figure(width=5, height=4.2)
    axes = figure.subplots()
    axes.set(xlim=(50, 106), ylim=(-6, 80))
    figure.canvas.draw()
    generator = np.random.default_rng(0)
    places = [(90 - spread * float(generator.random()), 30 + spread * float(generator.normal())) for _ in DEFENSES]
    bars = [((x - 6, x + 4), (y - 10, y + 10)) for x, y in places]
    boxes = place_names(axes, places, DEFENSES, bars, ["black"] * len(DEFENSES))
    assert max(a.overlap(b) for a, b in combinations(boxes, 2)) == 0
    left, low, right, high = axes.bbox.extents
    assert all(left <= box.left and box.right <= right and low <= box.low and box.high <= high for box in boxes)


def test_a_name_keeps_off_points_that_have_none() -> None:
    """The first choice for a name lies at the upper right of its point; with a dot there it goes elsewhere."""
    figure = new_figure(width=5, height=4.2)
    axes = figure.subplots()
    axes.set(xlim=(0, 100), ylim=(0, 100))
    figure.canvas.draw()
    place = (50.0, 50.0)
    still = [((50.0, 50.0), (50.0, 50.0))]
    (first,) = place_names(axes, [place], ["gan_id"], still, ["black"])
    axes.texts[0].remove()
    dot = (first.left + first.right) / 2, (first.low + first.high) / 2
    (moved,) = place_names(axes, [place], ["gan_id"], still, ["black"], [axes.transData.inverted().transform(dot)])
    assert moved != first
    assert not (moved.left <= dot[0] <= moved.right and moved.low <= dot[1] <= moved.high)


def test_a_name_keeps_off_what_is_written_there_already() -> None:
    figure = new_figure(width=5, height=4.2)
    axes = figure.subplots()
    axes.set(xlim=(0, 100), ylim=(0, 100))
    figure.canvas.draw()
    place, still = (90.0, 2.0), [((90.0, 90.0), (2.0, 2.0))]
    (free,) = place_names(axes, [place], ["gan_id"], still, ["black"])
    axes.texts[0].remove()
    written = axes.text(*axes.transData.inverted().transform((free.left, free.low)), "good")
    (moved,) = place_names(axes, [place], ["gan_id"], still, ["black"])
    assert moved.overlap(Box(*written.get_window_extent().extents)) == 0
    assert free.overlap(Box(*written.get_window_extent().extents)) > 0
