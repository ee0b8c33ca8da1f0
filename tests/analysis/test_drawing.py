"""Pictures depend on what is drawn alone: not on the reader's matplotlibrc, and not on who else draws."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest

from analysis.comparison import compare
from analysis.drawing import as_png, as_png_and_svg, default_style, file_stem, new_figure
from analysis.figure2 import figure2, figure2_pictures
from analysis.gans import gan_pictures
from analysis.levers import Lever, Point, levers_png
from analysis.paper_picture import paper_pictures
from analysis.paper_tables import table_2
from analysis.privacy_utility import Point as Place
from analysis.privacy_utility_picture import privacy_utility_pictures
from analysis.records import read_records
from grid.store import Store
from tests.analysis.paper_grid import celeba
from tests.analysis.test_gans import curves, entry, put

OTHER = {
    "font.family": "serif",
    "font.size": 14.0,
    "font.weight": "bold",
    "figure.facecolor": "0.8",
    "axes.facecolor": "0.9",
    "axes.prop_cycle": "cycler('color', ['r', 'g'])",
    "lines.linewidth": 4.0,
    "image.cmap": "gray",
    "savefig.bbox": "tight",
    "svg.fonttype": "none",
}
Draw = Callable[[], dict[str, bytes]]


@pytest.fixture
def drawers(document: dict[str, Any], store: Store, tmp_path: Path) -> dict[str, Draw]:
    """Everything in analysis that draws with matplotlib."""
    row = compare(read_records(document, store))[0]
    lever = Lever("orl", "vgg16_bn", "gmi", "steps", (Point(10, row), Point(20, replace(row, aa_top1=0.5))))
    places = [Place(replace(row, defense=name), name == "none") for name in ("none", "a", "b")]
    gan = entry("attacker wgan")
    put(store, tmp_path / "gans", gan["quality"], {}, curves=curves(100, 200, 300))
    shown = {**document, "spec": {"paper": "figure2"}, "gans": [gan]}
    grid = celeba()
    return {
        "levers": lambda: {"levers.png": levers_png([lever], 0.05)},
        "scatter": lambda: privacy_utility_pictures(places, {"orl": 0.05}),
        "figure 2": lambda: figure2_pictures(shown, store, figure2(shown, store)),
        "gans": lambda: gan_pictures(shown, store),
        "tables": lambda: paper_pictures([table_2(grid.document, grid.rows)]),
    }


@pytest.mark.parametrize("name", ["levers", "scatter", "figure 2", "gans", "tables"])
def test_a_matplotlibrc_changes_no_byte(drawers: dict[str, Draw], name: str) -> None:
    plain = drawers[name]()
    assert plain
    with matplotlib.rc_context(OTHER):
        assert drawers[name]() == plain
        assert matplotlib.rcParams["font.size"] == OTHER["font.size"], "the reader's settings come back"


def test_those_settings_do_change_what_is_drawn_without_care() -> None:
    """Else the test above would prove nothing."""

    def drawn() -> tuple[bytes, bytes]:
        figure = new_figure(width=2, height=2)
        figure.subplots().plot([0, 1])
        return as_png_and_svg(figure, "x")

    with default_style():
        plain = drawn()
    with matplotlib.rc_context(OTHER):
        assert not set(drawn()) & set(plain)


def test_building_and_saving_need_no_care_of_their_own() -> None:
    """Only what is drawn in between does."""

    def drawn() -> tuple[bytes, ...]:
        figures = [new_figure(width=2, height=2) for _ in range(2)]
        with default_style():
            for figure in figures:
                figure.subplots().plot([0, 1])
        return as_png(figures[0]), *as_png_and_svg(figures[1], "x")

    plain = drawn()
    with matplotlib.rc_context(OTHER):
        assert drawn() == plain


def test_the_png_is_the_same_with_and_without_an_svg() -> None:
    figures = [new_figure(width=2, height=2) for _ in range(2)]
    for figure in figures:
        figure.subplots().imshow(np.eye(3))
    assert as_png(figures[0]) == as_png_and_svg(figures[1], "x")[0]


def test_one_thread_draws_at_a_time() -> None:
    """Two at once would mix their settings up, and the reader's would be lost when they leave in the wrong order."""
    inside = threading.Event()

    def other() -> None:
        with default_style():
            inside.set()

    with matplotlib.rc_context(OTHER):
        thread = threading.Thread(target=other)
        with default_style(), default_style():
            thread.start()
            assert not inside.wait(0.2)
            assert matplotlib.rcParams["font.size"] == 10.0
        thread.join(10)
        assert inside.is_set()
        assert matplotlib.rcParams["font.size"] == OTHER["font.size"]


def test_the_backend_is_left_alone() -> None:
    before = matplotlib.rcParams._get("backend")  # asking as usual would choose one
    matplotlib.rcParams._set("backend", "svg")
    try:
        with default_style():
            assert matplotlib.rcParams._get("backend") == "svg"
        assert matplotlib.rcParams._get("backend") == "svg"
    finally:
        matplotlib.rcParams._set("backend", before)


def test_names_of_files_do_not_clash() -> None:
    assert file_stem("faces", "a b", "c/d+e") == "faces-a_b-c_d+e"
    assert file_stem("faces", "a/b", taken={"faces-a_b.png", "faces-a_b_.png"}) == "faces-a_b__"
