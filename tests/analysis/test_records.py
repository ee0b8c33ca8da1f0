from __future__ import annotations

from pathlib import Path
from typing import Any

from analysis.records import OUTCOME_SCHEMA, read_records
from grid.store import Store


def test_outcomes_are_one_table_with_the_cell_columns(document: dict[str, Any], store: Store) -> None:
    table = read_records(document, store).outcomes.to_table()
    assert table.schema.names == OUTCOME_SCHEMA.names
    assert table.num_rows == 12
    assert set(table["defense"].to_pylist()) == {"none", "gan_id+replay"}
    assert set(table["label"].to_pylist()) == {3, 5}
    assert table.select(["row", "dataset", "victim", "attack", "seed"]).to_pylist()[0] == {
        "row": 0,
        "dataset": "orl",
        "victim": "vgg16_bn",
        "attack": "gmi",
        "seed": 0,
    }


def test_an_artifact_shared_by_two_rows_counts_in_both(document: dict[str, Any], store: Store) -> None:
    document["rows"].append({**document["rows"][0], "attack": "gmi again"})
    records = read_records(document, store)
    assert records.row_outcomes(0).num_rows == records.row_outcomes(3).num_rows == 8
    assert set(records.row_outcomes(3)["attack"].to_pylist()) == {"gmi again"}


def test_missing_cells_are_named_with_their_reason(document: dict[str, Any], store: Store) -> None:
    found = {(m.defense, m.label, m.stage): m for m in read_records(document, store).missing}
    failed = found["gan_id+replay", 5, "evaluate"]
    assert (failed.key, failed.reason) == ("evaluate-gan_id+replay5", "failed")
    assert failed.detail == "stage gmi-gan_id+replay5: ValueError: loss is nan"
    assert found["gan_id+replay", None, "distance"].reason == "not run"
    assert {key for key in found if key[0] == "l_pri"} == {
        ("l_pri", 3, "evaluate"),
        ("l_pri", 5, "evaluate"),
        ("l_pri", 3, "accuracy"),
        ("l_pri", 5, "accuracy"),
        ("l_pri", None, "distance"),
    }
    assert {m.reason for m in found.values() if m.defense == "l_pri"} == {"not run"}
    assert not [m for m in found.values() if m.defense == "none"]


def test_failures_of_the_grid_are_listed_with_their_log(document: dict[str, Any], store: Store) -> None:
    (failure,) = read_records(document, store).failures
    assert failure.key == "gmi-gan_id+replay5"
    assert failure.place.endswith("gmi-gan_id+replay5/failed.json")


def test_a_damaged_file_is_missing_not_a_crash(document: dict[str, Any], store: Store, tmp_path: Path) -> None:
    path = tmp_path / "store/evaluate-none3/attempt/outcomes.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    records = read_records(document, Store(str(tmp_path / "store")))
    (missing,) = [m for m in records.missing if m.key == "evaluate-none3"]
    assert missing.reason == "damaged"
    assert "sha256" in missing.detail
    assert records.row_outcomes(0).num_rows == 4


def test_a_damaged_record_is_missing_not_a_crash(document: dict[str, Any], store: Store, tmp_path: Path) -> None:
    (tmp_path / "store/accuracy-none/done.json").write_text("{}")
    records = read_records(document, store)
    assert [m.reason for m in records.missing if m.key == "accuracy-none"] == ["damaged", "damaged"]


def test_classes_are_the_labels_of_the_test_split(document: dict[str, Any], store: Store, tmp_path: Path) -> None:
    assert read_records(document, store).classes == {"orl": 4}
    assert read_records(document, Store(str(tmp_path / "empty"))).classes == {}


def test_an_empty_store_gives_an_empty_table(document: dict[str, Any], tmp_path: Path) -> None:
    records = read_records(document, Store(str(tmp_path / "empty")))
    assert records.outcomes.to_table().num_rows == 0
    assert len(records.missing) == 3 * (2 + 2 + 1)
