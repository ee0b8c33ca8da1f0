"""Figure 2: which image is shown, and what is said of it."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from analysis import report
from analysis.figure2 import PEOPLE, Shown, figure2, figure2_pictures, shown_images
from analysis.report import write_report
from grid.store import Store
from tests.analysis.conftest import flat, put


@pytest.fixture
def wanted(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "spec": {"paper": ["table1", "figure2"]}}


def greys(png: bytes) -> set[int]:
    """Grey values that fill at least half a tile."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    values, counts = np.unique(pixels[(pixels == pixels[:, :, :1]).all(axis=2)][:, 0], return_counts=True)
    return {int(value) for value, count in zip(values, counts, strict=True) if count > 3000} - {255, 236}


@pytest.mark.parametrize(
    ("asked", "answer"),
    [(None, False), ("figure2", True), ("table1", False), (["table3", "figure2"], True), ([], False)],
)
def test_only_a_spec_that_asks_gets_it(document: dict[str, Any], store: Store, asked: object, answer: bool) -> None:
    document["spec"] = {"paper": asked}
    assert bool(figure2(document, store)) is answer
    assert bool(shown_images(document, store)) is answer


def test_the_target_chooses_and_ties_go_to_the_first(wanted: dict[str, Any], store: Store) -> None:
    """Images 2 and 3 have the same p: the second and third of the evaluator's verdicts are of no interest."""
    tiles = {(tile.defense, tile.label): tile for tile in figure2(wanted, store)}
    assert len(tiles) == 6
    none = tiles["none", 3]
    assert (none.stage, none.image, none.target_p, none.rerun, none.seed) == ("gmi-none3", 2, 0.99, False, 0)
    assert (none.person, none.decoy, tiles["gan_id+replay", 3].decoy_person) == ("s4", None, "s22")
    assert (none.top1_evaluator, none.top1_second, none.p_evaluator, none.knn_sqdist) == (False, False, 0.5, 1.5)
    assert (tiles["gan_id+replay", 5].stage, tiles["l_pri", 3].image, tiles["l_pri", 3].p_evaluator) == (None,) * 3


def test_verdicts_are_of_the_shown_image(wanted: dict[str, Any], store: Store, tmp_path: Path) -> None:
    """Only image 2 is a hit, and the outcomes are in another order than the images."""
    from tests.analysis.conftest import outcomes

    table = outcomes(3, [0, 1, 0, 0], [1] * 4, [1, 0, 1, 1], [1] * 4) | {"image": [3, 2, 1, 0]}
    put(store, tmp_path / "more", "evaluate-none3", {}, tables={"outcomes.parquet": table})
    tile = figure2(wanted, store)[0]
    assert (tile.top1_evaluator, tile.top1_second) == (True, False)


def test_of_several_seeds_the_surest_image_is_shown(wanted: dict[str, Any], store: Store, tmp_path: Path) -> None:
    samples = {"samples.parquet": {"image": [0, 1], "loss": [0.0, 0.0], "target_p": [0.5, 0.995]}}
    put(store, tmp_path / "more", "gmi-again", {}, tables=samples, tensors={"images": flat(60, 70)})
    first = wanted["rows"][0]
    again = {**first["cells"][0], "seed": 1, "attack": "gmi-again"}
    wanted["rows"][0] = {**first, "cells": [again, *first["cells"]]}
    tile = figure2(wanted, store)[0]
    assert (tile.stage, tile.image, tile.seed) == ("gmi-again", 1, 1)
    assert shown_images(wanted, store)["gmi-again"] == [1]
    assert "gmi-none3" not in shown_images(wanted, store)


@pytest.mark.parametrize("counts", [True, False])
def test_the_run_that_counts_is_shown(wanted: dict[str, Any], store: Store, tmp_path: Path, counts: bool) -> None:
    cell = wanted["rows"][1]["cells"][0]
    cell["rerun"] = "rerun-x"
    samples = {"samples.parquet": {"image": [0, 1], "loss": [0.0, 0.0], "target_p": [0.7, 0.1]}}
    put(store, tmp_path / "more", "rerun-x", {}, tables=samples, tensors={"images": flat(61, 62)})
    record = store.done(cell["evaluate"])
    assert record is not None
    metrics = {**record["metrics"], "rerun": 1.0, "rerun_counts": float(counts)}
    store.finish(cell["evaluate"], "attempt", tmp_path / "scratch" / cell["evaluate"], {**record, "metrics": metrics})
    tile = figure2(wanted, store)[1]
    assert (tile.stage, tile.image, tile.rerun) == (("rerun-x", 0, True) if counts else (cell["attack"], 2, False))


def test_controls_are_left_out_and_the_people_are_few(wanted: dict[str, Any], store: Store) -> None:
    first = wanted["rows"][0]
    cells = [{**first["cells"][0], "label": label} for label in range(9)]
    wanted["rows"] = [{**first, "cells": cells}, {**first, "attack": "untrained", "control": True}]
    tiles = figure2(wanted, store)
    assert [tile.label for tile in tiles] == list(range(PEOPLE))
    assert {tile.attack for tile in tiles} == {"gmi"}


def test_attacks_and_defenses_are_in_the_specs_order(wanted: dict[str, Any], store: Store) -> None:
    more = [{**row, "attack": "ami"} for row in wanted["rows"]]
    wanted["rows"] = [*wanted["rows"], *more]
    places = [(tile.label, tile.attack, tile.defense) for tile in figure2(wanted, store)]
    defenses = ["none", "gan_id+replay", "l_pri"]
    assert places == [(label, attack, d) for label in (3, 5) for attack in ("gmi", "ami") for d in defenses]


def test_the_picture_shows_faces_and_what_was_inverted(wanted: dict[str, Any], store: Store) -> None:
    tiles = figure2(wanted, store)
    files = figure2_pictures(wanted, store, tiles)
    assert sorted(files) == ["figure2.png", "figure2.svg"]
    assert greys(files["figure2.png"]) == {30, 50, 99, 130, 150, 180}
    assert figure2_pictures(wanted, store, tiles) == files, "equal records, equal bytes"
    assert not re.search(rb"\d{4}-\d\d-\d\dT", files["figure2.svg"])


def test_without_private_photographs(wanted: dict[str, Any], store: Store) -> None:
    files = figure2_pictures(wanted, store, figure2(wanted, store), private=False)
    assert greys(files["figure2.png"]) == {99, 130, 150, 180}


def test_the_report_writes_it_and_the_page_has_it(wanted: dict[str, Any], store: Store, tmp_path: Path) -> None:
    files = write_report(wanted, store, tmp_path / "out")
    assert {"figure2.png", "figure2.svg", "figure2.csv"} <= files.keys()
    lines = list(csv.DictReader(io.StringIO(files["figure2.csv"].read_text())))
    assert (lines[0]["stage"], lines[0]["image"], lines[0]["target_p"]) == ("gmi-none3", "2", "0.99")
    assert (lines[2]["stage"], lines[2]["image"]) == ("", "")
    assert "figure2" in files["report.html"].read_text()


def test_a_report_chooses_its_images_once(
    wanted: dict[str, Any], store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def counted(document: dict[str, Any], _: Store) -> list[Shown]:
        asked.append(document["name"])
        return figure2(document, store)

    monkeypatch.setattr(report, "figure2", counted)
    write_report(wanted, store, tmp_path / "out")
    assert asked == ["demo"]


def test_nothing_inverted_is_no_picture(wanted: dict[str, Any], tmp_path: Path) -> None:
    empty = Store(str(tmp_path / "empty"))
    assert figure2_pictures(wanted, empty, figure2(wanted, empty)) == {}
