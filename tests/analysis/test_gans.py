"""The table and the pictures of a grid's GANs, from fabricated records."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from safetensors.numpy import save_file

from analysis.formats import csv as csv_of
from analysis.gans import SHOWN, TIMES, GANRow, gan_pictures, gan_rows, gans_markdown
from analysis.panel_picture import TILE
from analysis.records import read_records
from analysis.report import read_report, write_report
from grid.store import Store
from tests.analysis.conftest import flat
from tests.analysis.test_faces_picture import _greys as greys

QUALITY = {"frechet": 12.5, "density": 0.75, "coverage": 0.5, "samples": 500.0, "reference_images": 120.0}
PICTURES = ["gans-curves.png", "gans-over-time.png", "gans.png"]


def entry(name: str, structure: str = "wgan", role: str = "attacker", **changes: Any) -> dict[str, Any]:
    own = {"dataset": "orl", "structure": structure, "role": role, "seed": 0, "name": name}
    settings = {"gan": structure, "gan_steps": 1500, "gan_width": 32}
    keys = {"gan": f"{structure}-{name}".replace(" ", "_"), "quality": f"gan_quality-{name}".replace(" ", "_")}
    return {**own, "settings": settings, **keys, **changes}


def put(
    store: Store,
    scratch: Path,
    key: str,
    metrics: dict[str, float],
    *,
    samples: dict[str, np.ndarray] | None = None,
    curves: dict[str, list[float]] | None = None,
    seconds: float = 90.0,
) -> None:
    """Finish a stage with samples.safetensors, or with curves.parquet."""
    folder = scratch / key
    folder.mkdir(parents=True)
    if samples is not None:
        save_file(samples, folder / "samples.safetensors")
    if curves is not None:
        pq.write_table(pa.table(curves), folder / "curves.parquet")
    store.finish(key, "attempt", folder, {"kind": key.split("-")[0], "metrics": metrics, "seconds": seconds})


def samples(*times: int, final: int) -> dict[str, np.ndarray]:
    """36 samples in shades from `final` on, and a grid for each of `times` with that one shade."""
    images = flat(*(final + i % 20 for i in range(36)))
    grids = np.stack([flat(*[grey] * 36) for grey in times])
    return {"images": images, "over_time": grids, "steps": np.arange(1, len(times) + 1, dtype=np.int64)}


def curves(*steps: float) -> dict[str, list[float]]:
    return {"step": list(steps), **{name: [v / 7 for v in steps] for name in ("frechet", "density", "coverage")}}


@pytest.fixture
def grid(document: dict[str, Any], store: Store, tmp_path: Path) -> dict[str, Any]:
    """Two trained GANs that were measured, an untrained one, one that a user gave, and one that is not there."""
    scratch = tmp_path / "gans"
    ours, theirs = entry("defender wgan", role="defender"), entry("attacker wgan seed 1", seed=1)
    nothing = entry("attacker wgan untrained", settings={"gan": "wgan", "gan_steps": 0})
    brought = entry("attacker given", "given", settings={"gan": "given", "gan_structure": "wgan"})
    absent = entry("attacker dcgan", "dcgan")
    for gan, shade in ((ours, 40), (theirs, 70)):
        put(store, scratch, gan["gan"], {}, samples=samples(*range(201, 209), final=shade), seconds=150.0)
        put(store, scratch, gan["quality"], QUALITY, curves=curves(100, 200, 300))
    put(store, scratch, nothing["gan"], {}, samples=samples(120, final=120))
    put(store, scratch, nothing["quality"], {**QUALITY, "frechet": 99.0, "coverage": 0.0}, curves=curves(0))
    put(store, scratch, brought["gan"], {"target_queries": 640.0}, samples=samples(150, final=150))
    return {**document, "gans": [ours, theirs, nothing, brought, absent]}


def rows(grid: dict[str, Any], store: Store) -> dict[str, GANRow]:
    return {row.name: row for row in gan_rows(read_records(grid, store))}


def test_a_row_for_each_gan_in_order(grid: dict[str, Any], store: Store) -> None:
    found = gan_rows(read_records(grid, store))
    assert [row.name for row in found] == [gan["name"] for gan in grid["gans"]]
    assert found[0] == GANRow(
        dataset="orl",
        name="defender wgan",
        structure="wgan",
        role="defender",
        seed=0,
        steps=1500,
        frechet=12.5,
        density=0.75,
        coverage=0.5,
        samples=500,
        reference_images=120,
        target_queries=None,
        train_seconds=150.0,
    )


def test_what_was_not_measured_is_none(grid: dict[str, Any], store: Store) -> None:
    """Never a sentinel, and 0 is a number: of steps, and of coverage."""
    found = rows(grid, store)
    absent = found["attacker dcgan"]
    assert (absent.frechet, absent.density, absent.coverage, absent.samples, absent.train_seconds) == (None,) * 5
    assert (found["attacker given"].frechet, found["attacker given"].steps) == (None, None)
    assert found["attacker given"].target_queries == 640.0
    nothing = found["attacker wgan untrained"]
    assert (nothing.steps, nothing.coverage, nothing.frechet) == (0, 0.0, 99.0)


def test_the_csv_has_a_line_for_each_and_blanks_for_none(grid: dict[str, Any], store: Store) -> None:
    text = csv_of(gan_rows(read_records(grid, store)))
    lines = list(csv.DictReader(io.StringIO(text)))
    assert list(lines[0]) == list(GANRow.__slots__)
    assert [line["name"] for line in lines] == [gan["name"] for gan in grid["gans"]]
    assert (lines[0]["frechet"], lines[0]["samples"], lines[2]["coverage"], lines[2]["steps"]) == (
        "12.5",
        "500",
        "0.0",
        "0",
    )
    assert {lines[4][name] for name in ("frechet", "density", "coverage", "samples", "train_seconds")} == {""}
    assert not text.endswith("\n\n")
    assert "\r" not in text


def test_the_table_for_people(grid: dict[str, Any], store: Store) -> None:
    text = gans_markdown(gan_rows(read_records(grid, store)))
    header, rule, *lines = text.splitlines()
    assert {line.count("|") for line in (header, rule, *lines[:5])} == {9}
    assert "defender wgan" in lines[0]
    assert "12.5" in lines[0]
    assert "2.5 min" in lines[0]
    assert "–" in lines[4]
    assert "500 samples against 120 public images" in text
    assert "Naeem et al. 2020" in text


def test_a_table_of_which_nothing_was_measured(grid: dict[str, Any], tmp_path: Path) -> None:
    """Its last line must not end in a comma and a blank for the numbers of images that there were not."""
    text = gans_markdown(gan_rows(read_records(grid, Store(str(tmp_path / "empty")))))
    assert text.count("–") > 4
    assert ", ." not in text


def test_pictures_show_samples_in_the_tables_order(grid: dict[str, Any], store: Store) -> None:
    found = gan_pictures(grid, store)
    assert sorted(found) == PICTURES
    shown = greys(found["gans.png"])
    assert len(shown) == 4 * SHOWN, "the one that is not there has no line"
    assert shown == [shade + i for shade in (40, 70, 120, 150) for i in range(SHOWN)]


def test_over_time_the_last_grids_stand_to_the_right(grid: dict[str, Any], store: Store) -> None:
    """A GAN with one grid has blanks before it, so that each column is the same share of its training."""
    png = gan_pictures(grid, store)["gans-over-time.png"]
    assert greys(png) == [*range(201, 209), *range(201, 209), 120, 150]
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
    columns = [np.flatnonzero((pixels == grey).sum(axis=0) >= TILE) for grey in (208, 120, 201)]
    assert np.array_equal(columns[0], columns[1])
    assert columns[2].max() < columns[0].min()
    assert len(range(201, 209)) == TIMES


def test_curves_are_drawn_only_where_something_was_measured_twice(grid: dict[str, Any], store: Store) -> None:
    image = Image.open(io.BytesIO(gan_pictures(grid, store)["gans-curves.png"]))
    assert image.width > 3 * image.height / 2
    still = {**grid, "gans": grid["gans"][2:]}
    assert sorted(gan_pictures(still, store)) == ["gans-over-time.png", "gans.png"]


def test_pictures_are_the_same_the_second_time(grid: dict[str, Any], store: Store) -> None:
    assert gan_pictures(grid, store) == gan_pictures(grid, Store(store.location))


def test_gans_of_one_name_are_all_shown(grid: dict[str, Any], store: Store, tmp_path: Path) -> None:
    """Two datasets, or two victims, each have an `attacker wgan`."""
    twin = {
        **entry("defender wgan", role="defender"),
        "dataset": "faces",
        "gan": "wgan-twin",
        "quality": "gan_quality-t",
    }
    put(store, tmp_path / "twin", "wgan-twin", {}, samples=samples(90, final=90))
    put(store, tmp_path / "twin", "gan_quality-t", {**QUALITY, "frechet": 1.5}, curves=curves(5, 6))
    both = {**grid, "gans": [grid["gans"][0], twin]}
    assert [row.frechet for row in gan_rows(read_records(both, store))] == [12.5, 1.5]
    shown = greys(gan_pictures(both, store)["gans.png"])
    assert shown == [shade + i for shade in (40, 90) for i in range(SHOWN)]


def test_a_document_from_before_gans_were_measured(document: dict[str, Any], store: Store, tmp_path: Path) -> None:
    assert gan_rows(read_records(document, store)) == []
    assert gan_pictures(document, store) == {}
    assert not any(name.startswith("gans") for name in write_report(document, store, tmp_path / "out"))


def test_an_empty_store(grid: dict[str, Any], tmp_path: Path) -> None:
    empty = Store(str(tmp_path / "empty"))
    found = gan_rows(read_records(grid, empty))
    assert [row.name for row in found] == [gan["name"] for gan in grid["gans"]]
    assert all(row.frechet is None for row in found)
    assert gan_pictures(grid, empty) == {}
    assert len(csv_of(found).splitlines()) == 6


def test_records_without_files_still_give_the_table(grid: dict[str, Any], store: Store, tmp_path: Path) -> None:
    """Committed records have no images; a damaged file is as good as none."""
    whole = write_report(grid, store, tmp_path / "whole")
    assert {"gans.csv", "gans.md", *PICTURES} <= whole.keys()
    for path in (tmp_path / "store").rglob("*.safetensors"):
        path.write_bytes(b"damaged") if "dcgan" in str(path) else path.unlink()
    for path in (tmp_path / "store").rglob("curves.parquet"):
        path.write_bytes(b"damaged")
    bare = write_report(grid, Store(str(tmp_path / "store")), tmp_path / "bare")
    assert not set(PICTURES) & bare.keys()
    for name in ("gans.csv", "gans.md"):
        assert bare[name].read_bytes() == whole[name].read_bytes()


def test_a_gan_that_failed_is_named(grid: dict[str, Any], store: Store) -> None:
    """Even where every cell is there: else a blank line would be all that is said of it."""
    complete = {**grid, "rows": grid["rows"][:1], "stages": {}}
    assert read_report(complete, store).failures == ()
    failed = complete["gans"][4]["quality"]
    complete["stages"] = {failed: {"kind": "gan_quality", "name": "quality of attacker dcgan"}}
    store.fail(failed, "ValueError: finite features are needed", "Traceback ...")
    report = read_report(complete, store)
    assert [failure.key for failure in report.failures] == [failed]
    assert any("finite features are needed" in remark.text for remark in report.remarks)


def test_pictures_have_a_limit_and_the_table_has_not(grid: dict[str, Any], store: Store) -> None:
    from analysis.gans import MOST

    many = {**grid, "gans": [{**grid["gans"][0], "name": f"gan {i}"} for i in range(MOST + 3)]}
    assert len(gan_rows(read_records(many, store))) == MOST + 3
    assert len(greys(gan_pictures(many, store)["gans.png"])) == MOST * SHOWN
