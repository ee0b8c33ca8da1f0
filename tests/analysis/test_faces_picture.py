from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from analysis.faces_picture import attack_grid, pictures
from analysis.panel_picture import TILE
from analysis.stored_images import best_by_target
from grid.store import Store
from tests.analysis.conftest import flat, put


def _greys(png: bytes) -> list[int]:
    """Grey values of solid TILE x TILE squares, row by row from left to right."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    grey = pixels[:, :, 0].astype(int)
    found, y = [], 0
    while y + TILE <= grey.shape[0]:
        x, hit = 0, False
        while x + TILE <= grey.shape[1]:
            square = grey[y : y + TILE, x : x + TILE]
            if square[0, 0] not in (255, 236) and (square == square[0, 0]).all():
                found.append(int(square[0, 0]))
                x, hit = x + TILE, True
            else:
                x += 1
        y += TILE if hit else 1
    return found


def test_rows_are_labels_and_columns_are_in_order(document: dict[str, Any], store: Store) -> None:
    found = pictures(document, store)
    assert list(found) == ["faces-gmi.png"]
    # private reference, decoy, before, after gan_id+replay (label 5 failed), after l_pri (not run: blank)
    assert _greys(found["faces-gmi.png"]) == [30, 99, 130, 180, 50, 99, 150]
    image = Image.open(io.BytesIO(found["faces-gmi.png"]))
    assert image.width > 5 * TILE
    assert image.height < 3.5 * TILE


def test_without_private_photographs(document: dict[str, Any], store: Store) -> None:
    png = pictures(document, store, private=False)["faces-gmi.png"]
    assert _greys(png) == [99, 130, 180, 99, 150]


def test_an_undefended_grid_has_no_decoy_column(document: dict[str, Any], store: Store) -> None:
    document["rows"] = document["rows"][:1]
    assert _greys(pictures(document, store)["faces-gmi.png"]) == [30, 130, 50, 150]


def test_a_decoy_who_is_nobody_is_shown_as_his_first_fake(
    document: dict[str, Any], store: Store, tmp_path: Path
) -> None:
    for label, grey in ((3, 71), (5, 75)):
        put(store, tmp_path / f"decoy{label}", f"synthetic_person-{label}", {}, tensors={"images": flat(grey, 5)})
    document["rows"] = document["rows"][:2]
    for cell in document["rows"][1]["cells"]:
        cell |= {"decoy": None, "decoy_person": None, "fakes_public": f"synthetic_person-{cell['label']}"}
    assert _greys(pictures(document, store, private=False)["faces-gmi.png"]) == [71, 130, 180, 75, 150]


def test_the_target_chooses_and_ties_go_to_the_first(store: Store) -> None:
    best = best_by_target(store, ["gmi-none3"])
    assert best is not None
    assert (best.shape, int(best[0, 0, 0])) == ((1, 32, 32), 130)
    assert best_by_target(store, ["gmi-nowhere"]) is None


def test_enlarging_is_by_nearest_neighbour(document: dict[str, Any], store: Store, tmp_path: Path) -> None:
    checks = np.indices((32, 32)).sum(0) % 2 * 200
    images = np.stack([checks] * 3)[None].astype(np.uint8)
    samples = {"samples.parquet": {"image": [0], "loss": [0.0], "target_p": [1.0]}}
    put(store, tmp_path / "more", "gmi-checks", {}, tables=samples, tensors={"images": images})
    document["rows"] = document["rows"][:1]
    document["rows"][0]["cells"] = [{**document["rows"][0]["cells"][0], "attack": "gmi-checks"}]
    pixels = np.asarray(Image.open(io.BytesIO(pictures(document, store, private=False)["faces-gmi.png"])))
    wanted = checks.repeat(4, 0).repeat(4, 1)
    windows = np.lib.stride_tricks.sliding_window_view(pixels[:, :, 0], (TILE, TILE))
    assert (windows[:, :, ::7, ::7] == wanted[::7, ::7]).all((2, 3)).any()


def test_controls_are_not_shown_and_several_victims_get_a_file_each(document: dict[str, Any], store: Store) -> None:
    first = document["rows"][0]
    document["rows"] += [{**first, "attack": "control", "control": True}, {**first, "victim": "vgg16/x"}]
    assert list(pictures(document, store)) == ["faces-orl-vgg16_bn-gmi.png", "faces-orl-vgg16_x-gmi.png"]


def test_names_that_clash_as_files_are_kept_apart(document: dict[str, Any], store: Store) -> None:
    first = document["rows"][0]
    document["rows"] = [{**first, "attack": "a b"}, {**first, "attack": "a/b"}]
    assert list(pictures(document, store)) == ["faces-a_b.png", "faces-a_b_.png"]


def test_nothing_inverted_gives_no_picture(document: dict[str, Any], tmp_path: Path) -> None:
    assert pictures(document, Store(str(tmp_path / "empty"))) == {}


def test_attacks_stand_side_by_side_where_there_are_three(document: dict[str, Any], store: Store) -> None:
    first = document["rows"][0]
    more = {"rows": [{**first, "attack": name} for name in map(str, range(9))]}
    (png,) = attack_grid({**document, **more}, store).values()
    (public,) = attack_grid({**document, **more}, store, private=False).values()
    with Image.open(io.BytesIO(png)) as shown, Image.open(io.BytesIO(public)) as without:
        assert shown.width > without.width
    assert attack_grid(document, store) == {}
