"""Committed records give figure 2 again: the images shown are kept, no photograph is, and no export undoes another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from analysis.figure2 import figure2, figure2_pictures, shown_images
from analysis.formats import csv
from grid.export import export_records, read_image
from grid.problems import SpecError
from grid.store import Store
from tasks.artifact import DamagedArtifactError
from tests.analysis.conftest import flat, put
from tests.analysis.test_figure2 import greys


@pytest.fixture
def wanted(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "spec": {"paper": "figure2"}}


def _files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def _export(document: dict[str, Any], store: Store, folder: Path) -> Store:
    export_records(document, f"grids/{document['name']}.json", store, folder, shown_images(document, store))
    return Store(str(folder))


def test_records_give_the_same_figure_without_a_photograph(
    wanted: dict[str, Any], store: Store, tmp_path: Path
) -> None:
    """Of each attack the one image shown is kept, of splits and all else no image; the CSV is the same."""
    records = _export(wanted, store, tmp_path / "records")
    assert {path.suffix for path in (tmp_path / "records").rglob("*") if path.is_file()} == {".json", ".parquet"}
    kept = sorted(path.parent.parent.name for path in (tmp_path / "records").rglob("shown.parquet"))
    assert kept == sorted(shown_images(wanted, store)) == ["gmi-gan_id+replay3", "gmi-none3", "gmi-none5"]
    read = records.read_document("grids/demo.json")
    assert read is not None
    tiles = figure2(read, records)
    assert csv(tiles) == csv(figure2(wanted, store))
    assert greys(figure2_pictures(read, records, tiles)["figure2.png"]) == {130, 150, 180}
    for tile in tiles:
        if tile.stage is not None and tile.image is not None:
            mine, theirs = (
                read_image(records.load(tile.stage), tile.image),
                read_image(store.load(tile.stage), tile.image),
            )
            assert mine.dtype == np.uint8
            assert (mine == theirs).all()
    assert pq.read_table(next((tmp_path / "records").rglob("gmi-none3/*/shown.parquet")))["image"].to_pylist() == [2]
    with pytest.raises(KeyError):
        read_image(records.load("gmi-none3"), 0)


def test_colour_survives(store: Store, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 8, 12), dtype=np.uint8)
    samples = {"samples.parquet": {"image": [0, 1, 2], "target_p": [0.1, 0.2, 0.3]}}
    put(store, tmp_path / "more", "gmi-colour", {}, tables=samples, tensors={"images": images})
    document = {"stages": {"gmi-colour": {}}, "rows": []}
    export_records(document, "grids/colour.json", store, tmp_path / "records", {"gmi-colour": [2, 0]})
    kept = Store(str(tmp_path / "records")).load("gmi-colour")
    assert (read_image(kept, 0) == images[0]).all()
    assert (read_image(kept, 2) == images[2]).all()


def test_photographs_are_never_exported(document: dict[str, Any], store: Store, tmp_path: Path) -> None:
    document["stages"]["orl_split-train"] = {}
    with pytest.raises(ValueError, match="orl_split-train is no attack"):
        export_records(document, "grids/demo.json", store, tmp_path / "records", {"orl_split-train": [0]})


def test_records_of_other_specs_are_as_before(document: dict[str, Any], store: Store, tmp_path: Path) -> None:
    export_records(document, "grids/demo.json", store, tmp_path / "plain")
    _export(document, store, tmp_path / "hooked")
    assert _files(tmp_path / "plain") == _files(tmp_path / "hooked")
    assert not list((tmp_path / "hooked").rglob("shown.parquet"))


@pytest.mark.parametrize("figure_first", [True, False])
def test_specs_that_share_stages_share_a_folder(
    document: dict[str, Any], wanted: dict[str, Any], store: Store, tmp_path: Path, figure_first: bool
) -> None:
    other = {**document, "name": "other"}
    for each in (wanted, other) if figure_first else (other, wanted):
        _export(each, store, tmp_path / "records")
    records = Store(str(tmp_path / "records"))
    assert greys(figure2_pictures(wanted, records, figure2(wanted, records))["figure2.png"]) == {130, 150, 180}
    for key, record in records.records().items():
        assert records.damage(record) is None, key
    once = _files(tmp_path / "records")
    _export(other, store, tmp_path / "records")
    _export(wanted, store, tmp_path / "records")
    assert _files(tmp_path / "records") == once


def test_records_are_exported_again_with_their_images(wanted: dict[str, Any], store: Store, tmp_path: Path) -> None:
    first = _export(wanted, store, tmp_path / "records")
    _export(wanted, first, tmp_path / "copy")
    assert _files(tmp_path / "copy") == _files(tmp_path / "records")


def test_another_run_of_a_shared_stage_brings_its_own_image(
    document: dict[str, Any], wanted: dict[str, Any], store: Store, tmp_path: Path
) -> None:
    """Exported by a spec without figure 2: the figure's image follows the new scores."""
    _export(wanted, store, tmp_path / "records")
    _run_again(store, tmp_path / "more", flat(5, 6, 88))
    records = _export(document, Store(store.location), tmp_path / "records")
    assert int(read_image(records.load("gmi-none3"), 2)[0, 0, 0]) == 88


def test_an_image_of_another_run_is_not_kept_beside_new_scores(
    document: dict[str, Any], wanted: dict[str, Any], store: Store, tmp_path: Path
) -> None:
    """Here the new run's images are gone, so the old picture would stand beside numbers that are not its own."""
    _export(wanted, store, tmp_path / "records")
    before = _files(tmp_path / "records")
    _run_again(store, tmp_path / "more", None)
    with pytest.raises(SpecError, match="gmi-none3 from another run"):
        _export(document, Store(store.location), tmp_path / "records")
    assert _files(tmp_path / "records")["gmi-none3/done.json"] == before["gmi-none3/done.json"]


def test_a_damaged_image_is_not_exported(wanted: dict[str, Any], store: Store, tmp_path: Path) -> None:
    path = tmp_path / "store/gmi-none3/attempt/images.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(DamagedArtifactError, match="gmi-none3"):
        _export(wanted, Store(store.location), tmp_path / "records")


def test_a_record_names_all_its_files(wanted: dict[str, Any], store: Store, tmp_path: Path) -> None:
    _export(wanted, store, tmp_path / "records")
    done = json.loads((tmp_path / "records/gmi-none3/done.json").read_text())
    assert sorted(done["files"]) == ["samples.parquet", "shown.parquet"]


def _run_again(store: Store, scratch: Path, images: np.ndarray | None) -> None:
    samples = {"samples.parquet": {"image": [0, 1, 2], "loss": [0.0] * 3, "target_p": [0.1, 0.2, 0.3]}}
    put(store, scratch, "gmi-none3", {}, tables=samples, tensors=None if images is None else {"images": images})
