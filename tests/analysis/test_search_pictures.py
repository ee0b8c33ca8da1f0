"""Pictures of a search: what is drawn and what is not, the same bytes every time, nothing claimed where nothing was."""

from __future__ import annotations

import copy
import io
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from PIL import Image

from analysis.contour import LEAST, contour_pictures, why_no_contour
from analysis.parallel_coordinates import parallel_pictures
from analysis.pareto_plot import pareto_pictures
from analysis.search_parts import Search
from analysis.search_record import read_search
from tests.analysis.search_lab import known_front, record

Draw = Callable[[Search], dict[str, bytes]]
DRAWN: dict[str, Draw] = {
    "pareto": pareto_pictures,
    "parallel_coordinates": parallel_pictures,
    "contour": contour_pictures,
}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return record(40)


@cache
def drawn(name: str) -> dict[str, bytes]:
    """The pictures of `document`, drawn once for all tests."""
    return DRAWN[name](read_search(record(40)))


def words(svg: bytes) -> str:
    """The texts of an SVG in which letters are shapes: matplotlib leaves each in a comment."""
    return "\n".join(re.findall(r"<!-- (.*?) -->", svg.decode()))


@pytest.mark.parametrize("name", DRAWN)
def test_pictures_are_the_same_every_time(name: str, document: dict[str, Any]) -> None:
    files = drawn(name)
    assert sorted(files) == [f"{name}.png", f"{name}.svg"]
    assert DRAWN[name](read_search(copy.deepcopy(document))) == files
    assert b"<dc:date>" not in files[f"{name}.svg"]
    with Image.open(io.BytesIO(files[f"{name}.png"])) as picture:
        assert 600 < picture.width < 1600


@pytest.mark.parametrize("name", DRAWN)
def test_nothing_is_drawn_before_a_trial_has_finished(name: str, document: dict[str, Any]) -> None:
    running = {"state": "running", "curve": [], "metrics": {}, "steps": 0}
    trials = [trial | running for trial in document["trials"]]
    assert DRAWN[name](read_search(document | {"trials": trials, "picks": [], "front": []})) == {}


def test_pareto_names_its_counts_and_what_became_of_the_picks(document: dict[str, Any]) -> None:
    search = read_search(document)
    shown = words(drawn("pareto")["pareto.svg"])
    for text in (
        f"finished ({len(search.finished)})",
        f"stopped early ({len(search.by_state('stopped'))})",
        f"front of all 4 objectives ({len(search.front)})",
        "undefended",
        "confirmed (F_E, test split)",
    ):
        assert text in shown
    assert all(pick.name in shown and pick.trial in shown for pick in search.picks)
    plain = words(pareto_pictures(read_search(document | {"picks": [], "undefended": None}))["pareto.svg"])
    assert "undefended" not in plain
    assert "confirmed" not in plain


def test_rules_that_agree_share_their_mark(document: dict[str, Any]) -> None:
    same = [pick | {"trial": document["picks"][0]["trial"]} for pick in document["picks"]]
    shown = words(pareto_pictures(read_search(document | {"picks": same}))["pareto.svg"])
    assert f"max-privacy-at-drop=3 = knee ({same[0]['trial']})" in shown


def test_an_arrow_leads_from_the_search_to_what_was_confirmed(document: dict[str, Any]) -> None:
    unconfirmed = [pick | {"confirmed": None} for pick in document["picks"]]
    undefended = document["undefended"] | {"confirmed": None}
    bare = read_search(document | {"picks": unconfirmed, "undefended": undefended})
    pictures = drawn("pareto"), pareto_pictures(bare)
    arrows = [files["pareto.svg"].count(b"stroke-linecap: round") for files in pictures]
    assert arrows[0] > arrows[1]


def test_pareto_says_what_bars_and_larger_dots_are(document: dict[str, Any]) -> None:
    shown = words(drawn("pareto")["pareto.svg"])
    assert "bars: 95% interval" in shown
    assert "larger" not in shown, "all lie apart"
    first = next(trial for trial in document["trials"] if trial["state"] == "finished")
    twice = document | {"trials": [*document["trials"], first | {"id": "again"}]}
    assert "larger: several trials in one place" in words(pareto_pictures(read_search(twice))["pareto.svg"])
    alone = document | {"trials": [first], "picks": [], "front": [first["id"]]}
    bare = words(pareto_pictures(read_search(alone))["pareto.svg"])
    assert "bars" not in bare, "no interval is drawn"


def test_a_rate_that_does_not_vary_has_one_tick_and_no_made_up_scale(document: dict[str, Any]) -> None:
    flat = copy.deepcopy(document)
    for trial in flat["trials"]:
        trial["metrics"]["aa_top1"] = 0.5
    search = read_search(flat)
    for name in ("parallel_coordinates", "contour"):
        shown = words(DRAWN[name](search)[f"{name}.svg"]).splitlines()
        assert "50, all" in shown, name
        assert not [text for text in shown if re.fullmatch(r"50\.[1-9]|51(\.0)?", text)], name


def test_parallel_coordinates_count_what_is_not_drawn(document: dict[str, Any]) -> None:
    failed = [trial for trial in document["trials"] if trial["state"] == "failed"]
    shown = words(drawn("parallel_coordinates")["parallel_coordinates.svg"])
    assert f"not drawn: failed ({len(failed)})" in shown
    others = [trial for trial in document["trials"] if trial["state"] != "failed"]
    assert "failed" not in words(
        parallel_pictures(read_search(document | {"trials": others}))["parallel_coordinates.svg"]
    )


def test_a_limit_on_the_loss_of_accuracy_is_drawn(document: dict[str, Any]) -> None:
    shown = words(pareto_pictures(read_search(document | {"max_drop": 3.0}))["pareto.svg"])
    assert "limit: 3 points below undefended" in shown


def test_parallel_axes_are_what_varies_with_its_scale() -> None:
    shown = words(drawn("parallel_coordinates")["parallel_coordinates.svg"]).splitlines()
    titles = ["alpha", "beta", "omega", "gamma", "lambda3", "MC all", "MC l_t", "AA top-1", "AA top-5"]
    assert [text for text in shown if text in titles] == titles
    assert "lr" not in shown, "constant"
    assert (shown.count("log"), shown.count("linear")) == (4, 1)
    assert (shown.count("%, high is good"), shown.count("%, low is good")) == (2, 2)


def test_parallel_axes_hold_words_and_whole_numbers(document: dict[str, Any]) -> None:
    wide = copy.deepcopy(document)
    wide["space"] |= {
        "lpri": {"kind": "choice", "values": ["detached", "unlikelihood", "ce"]},
        "rounds": {"kind": "randint", "low": 1, "high": 4},
        "fakes.count": {"kind": "choice", "values": [80, 20, 40]},
    }
    for i, trial in enumerate(wide["trials"]):
        trial["coefficients"] |= {"lpri": ["ce", "detached"][i % 2], "rounds": 1 + i % 3, "fakes.count": 20}
    shown = words(parallel_pictures(read_search(wide))["parallel_coordinates.svg"]).splitlines()
    ticks = shown[shown.index("AA top-5") :]  # titles come first, then the ticks of each axis
    assert ticks.index("ce") > ticks.index("unlikelihood") > ticks.index("detached"), "in the space's order"
    words_end = ticks.index("ce")
    assert ticks[words_end + 1 : words_end + 7] == ["1", "2", "3", "20", "40", "80"], "no 1.5 rounds; counts by size"


@pytest.mark.parametrize("trials", [40, 200])
def test_parallel_coordinates_do_not_grow_with_the_trials(trials: int) -> None:
    files = parallel_pictures(read_search(record(trials, asha=False)))
    with Image.open(io.BytesIO(files["parallel_coordinates.png"])) as picture:
        assert picture.size == (1369, 594)


def _colourful(png: bytes) -> float:
    """Share of pixels in the left panel that are no grey."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=int)
    left = pixels[50:-60, 100 : int(0.42 * pixels.shape[1])]
    return float((np.ptp(left, axis=2) > 20).mean())


def test_contour_claims_nothing_outside_of_the_trials() -> None:
    """All trials but three corners lie in one quarter: with the corners the surface fills more of the picture."""
    document = known_front()[0]
    square = contour_pictures(read_search(document))["contour.png"]
    triangle = copy.deepcopy(document)
    triangle["trials"] = [
        trial
        for trial in document["trials"]
        if np.log10(trial["coefficients"]["alpha"]) * 2 + np.log10(2 * trial["coefficients"]["lambda3"]) <= 1.01
    ]
    full, half = _colourful(square), _colourful(contour_pictures(read_search(triangle))["contour.png"])
    assert full > 0.75
    assert 0.3 * full < half < 0.7 * full


def test_the_surface_has_the_colours_of_its_trials() -> None:
    """AA falls with alpha, and dark is low: the left panel is bright at its left and dark at its right."""
    files = contour_pictures(read_search(known_front()[0]))
    pixels = np.asarray(Image.open(io.BytesIO(files["contour.png"])).convert("L"), dtype=float)
    first, last = pixels[150:400, 140:180].mean(), pixels[150:400, 430:470].mean()
    assert first > last + 60


def test_contour_takes_equal_products_for_one_place(document: dict[str, Any]) -> None:
    made = known_front()[0]
    twice = copy.deepcopy(made)
    for trial in copy.deepcopy(made["trials"]):
        trial["id"] = f"x{trial['id']}"
        settings = trial["coefficients"]
        settings["omega"], settings["lambda3"] = settings["omega"] * 4, settings["lambda3"] / 4
        twice["trials"].append(trial)
    title = b"40 finished trials"
    svg = [contour_pictures(read_search(own))["contour.svg"] for own in (made, twice)]
    assert title in svg[0]
    assert svg[0] == svg[1].replace(b"80 finished trials", title).replace(*_titles(svg[1], svg[0])), (
        "the same means in the same places"
    )


def _titles(new: bytes, old: bytes) -> tuple[bytes, bytes]:
    """The drawn letters of both titles: what stands in the SVG after the comment with the title, to its end."""
    marks = [re.search(rb"finished trials, interpolated.*?</g>\s*</g>", svg, re.DOTALL) for svg in (new, old)]
    assert marks[0] is not None
    assert marks[1] is not None
    return marks[0][0], marks[1][0]


def test_contour_says_why_there_is_none(document: dict[str, Any]) -> None:
    assert why_no_contour(read_search(document)) == ""
    fixed = copy.deepcopy(document)
    for trial in fixed["trials"]:
        trial["coefficients"]["alpha"] = 1.0
    assert "do not vary apart" in why_no_contour(read_search(fixed))
    line = copy.deepcopy(document)
    for trial in line["trials"]:
        trial["coefficients"] |= {"omega": 1.0, "lambda3": trial["coefficients"]["alpha"] ** 2}
    assert "do not vary apart" in why_no_contour(read_search(line))
    free = copy.deepcopy(document)
    for trial in free["trials"]:
        trial["coefficients"]["omega"] = 0.0
    assert f"alpha > 0 and omega x lambda3 > 0: 0; {LEAST} are needed" in why_no_contour(read_search(free))
    assert contour_pictures(read_search(free)) == {}
    for own in (fixed, line, free):
        assert pareto_pictures(read_search(own))


def test_trials_without_a_logarithm_are_counted(document: dict[str, Any]) -> None:
    some = copy.deepcopy(document)
    finished = [trial for trial in some["trials"] if trial["state"] == "finished"]
    finished[0]["coefficients"]["omega"] = 0.0
    shown = words(contour_pictures(read_search(some))["contour.svg"])
    assert f"{len(finished) - 1} finished trials" in shown
    assert "1 with a product or alpha of 0 are not shown" in shown
