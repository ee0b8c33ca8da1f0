"""The real ORL faces, end to end: spec, stages, tables, picture, records, and the same table from the records."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from grid.store import Store
from tests.analysis import search_lab
from tests.grid.specs import NETWORKS

pytestmark = pytest.mark.slow

SMALL = ["--set", "budget=smoke", *(part for change in NETWORKS for part in ("--set", change))]
SPEC = ["grid/specs/orl_demo.yaml", *SMALL, "--set", "labels=[0, 4]"]
REPOSITORY = Path(__file__).parents[1]


def decoygrid(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "grid", *arguments], cwd=REPOSITORY, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_from_photographs_to_table_picture_and_records(tmp_path: Path) -> None:
    store, out, records = (str(tmp_path / name) for name in ("store", "out", "records"))
    place = ["--store", store, "--tracking", "none", "--out", out, "--in-process", "--json"]
    first = json.loads(decoygrid("run", *SPEC, *place))
    assert first["complete"]
    assert len(first["stages"]["computed"]) == first["stages"]["total"]
    with (tmp_path / "out" / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["defense"] for row in rows] == ["none", "gan_id", "gan_id+replay", "l_pri only"]
    for row in rows:
        assert (row["labels"], row["cells_missing"]) == ("2", "0")
        assert 0 <= float(row["aa_top1_low"]) <= float(row["aa_top1"]) <= float(row["aa_top1_high"]) <= 1
        assert float(row["passes"]) > 0
    with Image.open(tmp_path / "out" / "faces-gmi.png") as picture:
        assert min(picture.size) > 200
    search = search_lab.record(12) | {"experiment": "orl_demo", "name": "mine", "picks": [], "undefended": None}
    del search["measured_by"]
    Store(store).write_document("searches/mine.json", search)
    second = json.loads(decoygrid("run", *SPEC, *place))
    assert second["stages"]["computed"] == []
    assert "mine: 12 trials" in (tmp_path / "out" / "table.md").read_text(), (
        "a grid's page says what its spec's searches found"
    )
    assert second["rows"] == first["rows"]
    decoygrid("report", *SPEC, "--store", store, "--export", records)
    names = {path.suffix for path in Path(records).rglob("*") if path.is_file()}
    assert names == {".json", ".parquet"}, "no weights, no images"
    from_store = decoygrid("report", *SPEC, "--store", store, "--format", "markdown")
    assert decoygrid("report", *SPEC, "--records", records, "--format", "markdown") == from_store


def test_one_flipped_byte_is_found_said_and_repaired(tmp_path: Path) -> None:
    store = tmp_path / "store"
    spec = ["orl_demo", *SMALL, "--set", "labels=[0]", "--set", "defenses=[none]"]
    place = ["--store", str(store), "--tracking", "none", "--out", str(tmp_path / "out"), "--in-process"]
    decoygrid("run", *spec, *place)
    weights = next(store.glob("wgan-*/*/generator.safetensors"))
    damaged = bytearray(weights.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    weights.write_bytes(bytes(damaged))
    said = decoygrid("run", *spec, *place)
    assert "is damaged: generator.safetensors has other content than was written" in said
    assert "1 computed" in said
