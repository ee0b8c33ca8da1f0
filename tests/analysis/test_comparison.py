from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from analysis.comparison import compare, compare_labels, rate
from analysis.intervals import cluster_bootstrap, crossed_bootstrap, wilson
from analysis.records import read_records
from analysis.rows import ComparisonRow, columns
from grid.store import Store
from tests.analysis.conftest import predictions, put
from tests.oracles import paired_formulas as by_hand

COLUMNS = [
    "dataset",
    "victim",
    "defense",
    "attack",
    "access",
    "output",
    "control",
    "selection",
    "labels",
    "seeds",
    "cells",
    "cells_missing",
    "images",
    "aa_top1",
    "aa_top1_low",
    "aa_top1_high",
    "aa_top5",
    "aa_top5_low",
    "aa_top5_high",
    "aa_top1_second",
    "aa_top1_second_low",
    "aa_top1_second_high",
    "aa_top5_second",
    "aa_top5_second_low",
    "aa_top5_second_high",
    "mc_all",
    "mc_all_low",
    "mc_all_high",
    "mc_target",
    "mc_target_low",
    "mc_target_high",
    "mc_target_images",
    "feat_mean_sqdist",
    "frechet_evaluator",
    "fid_inception",
    "knn_sqdist",
    "diversity",
    "target_confidence",
    "passes",
    "queries",
    "setup_queries",
    "reruns",
    "reruns_counted",
    "attack_seconds",
    "evaluator_accuracy",
    "second_accuracy",
]


@pytest.fixture
def rows(document: dict[str, Any], store: Store) -> list[ComparisonRow]:
    return compare(read_records(document, store))


def test_the_columns_are_fixed() -> None:
    assert list(columns(ComparisonRow)) == COLUMNS


def test_labels_are_pooled(rows: list[ComparisonRow]) -> None:
    none = rows[0]
    assert (none.labels, none.seeds, none.cells, none.cells_missing, none.images) == (2, 1, 2, 0, 8)
    assert none.aa_top1 == 3 / 8
    assert (none.aa_top1_low, none.aa_top1_high) == cluster_bootstrap({3: [1, 1, 0, 0], 5: [1, 0, 0, 0]})
    assert (none.aa_top1_second, none.aa_top5_second) == (1 / 8, 5 / 8)
    assert none.feat_mean_sqdist == 3.0
    assert none.knn_sqdist == 1.5
    assert none.target_confidence == pytest.approx(0.95)
    assert none.frechet_evaluator == 12.5
    assert (none.passes, none.queries, none.attack_seconds) == (200.0, 0.0, 20.0)
    assert none.evaluator_accuracy == 0.95


def test_where_all_labels_agree_the_interval_is_no_point(rows: list[ComparisonRow]) -> None:
    assert (rows[0].aa_top5, rows[0].aa_top5_low, rows[0].aa_top5_high) == (1.0, *wilson(8, 8))


def test_a_shared_victim_counts_each_label_once(rows: list[ComparisonRow]) -> None:
    none = rows[0]
    assert none.mc_all == 0.875
    assert (none.mc_target, none.mc_target_images) == (3 / 4, 4)
    assert (none.mc_target_low, none.mc_target_high) == cluster_bootstrap({3: [1.0, 1.0], 5: [1.0, 0.0]})


def test_seeds_that_share_a_victim_do_not_double_its_test_images(document: dict[str, Any], store: Store) -> None:
    first = document["rows"][0]
    first["cells"] = [{**cell, "seed": seed} for cell in first["cells"] for seed in (0, 1)]
    none = compare(read_records(document, store))[0]
    assert (none.seeds, none.cells, none.images, none.mc_target_images) == (2, 4, 16, 4)


def test_a_model_per_label_is_averaged(rows: list[ComparisonRow]) -> None:
    defended = rows[1]
    assert defended.mc_all == (0.75 + 0.5) / 2
    assert (defended.mc_target, defended.mc_target_images) == (3 / 4, 4)
    assert (defended.mc_target_low, defended.mc_target_high) == cluster_bootstrap({3: [1.0, 1.0], 5: [0.0, 1.0]})


def test_one_target_has_the_luck_of_its_test_images(rows: list[ComparisonRow]) -> None:
    """7 of 8 right: Wilson, however many labels share the target."""
    assert (rows[0].mc_all_low, rows[0].mc_all_high) == wilson(7, 8)


def test_a_target_per_label_draws_targets_and_test_images(rows: list[ComparisonRow]) -> None:
    right, wrong = [1.0] * 8, [1.0] * 4 + [0.0, 1.0] + [1.0] * 2
    hits = {"3": np.array([right]), "5": np.array([wrong])}
    assert (rows[1].mc_all_low, rows[1].mc_all_high) == crossed_bootstrap(hits)


def test_seeds_of_a_shared_target_are_its_clusters(document: dict[str, Any], store: Store, tmp_path: Path) -> None:
    """Both labels use a seed's target: two models, not four, and all right means Wilson and not certainty."""
    for seed, wrong in ((0, {}), (1, {7: [0, 0]}), (2, {})):
        tables = {"predictions.parquet": predictions(wrong)}
        put(store, tmp_path / "more", f"accuracy-seed{seed}", {"mc_all": 1.0 - 0.25 * bool(wrong)}, tables=tables)
    first = document["rows"][0]
    cells = [{**cell, "seed": s, "accuracy": f"accuracy-seed{s}"} for cell in first["cells"] for s in (0, 1)]
    first["cells"] = cells
    row = compare(read_records(document, store))[0]
    hits = {"0": np.ones((1, 8)), "1": np.array([[1.0] * 6 + [0.0] * 2])}
    assert (row.mc_all, row.mc_all_low, row.mc_all_high) == (0.875, *crossed_bootstrap(hits))
    first["cells"] = [{**cell, "accuracy": f"accuracy-seed{2 * cell['seed']}"} for cell in cells]
    row = compare(read_records(document, store))[0]
    assert (row.mc_all, row.mc_all_low, row.mc_all_high) == (1.0, *wilson(8, 8))


def test_targets_tested_on_different_images_have_no_common_interval(
    document: dict[str, Any], store: Store, tmp_path: Path
) -> None:
    table = predictions({}) | {"picture": [f"other/{i}.pgm" for i in range(8)]}
    put(store, tmp_path / "more", "accuracy-other", {"mc_all": 1.0}, tables={"predictions.parquet": table})
    document["rows"][0]["cells"][1]["accuracy"] = "accuracy-other"
    row = compare(read_records(document, store))[0]
    assert (row.mc_all, row.mc_all_low, row.mc_all_high) == ((0.875 + 1.0) / 2, None, None)


def test_the_crossed_bootstrap_equals_loops_and_shares_its_pictures() -> None:
    generator = np.random.default_rng(2)
    models = {name: (generator.random((n, 12)) < p).astype(float) for name, n, p in (("a", 2, 0.9), ("b", 1, 0.5))}
    slow = by_hand.crossed_bootstrap({name: found.tolist() for name, found in models.items()}, 0.9, 50, 3)
    assert crossed_bootstrap(models, 0.9, 50, 3) == pytest.approx(slow)
    alike = (generator.random((1, 40)) < 0.7).astype(float)
    low, high = crossed_bootstrap({"a": alike, "b": alike})
    assert high - low > 0.2, "two copies of one model know no more than one of them: pictures are drawn once for both"
    with pytest.raises(ValueError, match="at least 2 clusters"):
        crossed_bootstrap({"a": alike})


def test_one_label_left_gets_wilson(rows: list[ComparisonRow]) -> None:
    defended = rows[1]
    assert (defended.cells_missing, defended.images) == (1, 4)
    assert (defended.aa_top5, defended.aa_top5_low, defended.aa_top5_high) == (1 / 4, *wilson(1, 4))
    assert (defended.aa_top1, defended.aa_top1_low) == (0.0, 0.0)


def test_what_was_not_measured_is_none(rows: list[ComparisonRow]) -> None:
    assert (rows[0].fid_inception, rows[0].diversity, rows[1].knn_sqdist) == (None, None, None)
    known = {"mc_target_images", "evaluator_accuracy", "reruns", "reruns_counted"}
    unmeasured = {name: getattr(rows[2], name) for name in COLUMNS[13:] if name not in known}
    assert unmeasured == dict.fromkeys(unmeasured)
    assert (rows[2].cells, rows[2].cells_missing, rows[2].images, rows[2].mc_target_images) == (2, 2, 0, 0)


def test_nan_is_not_a_number_to_print(document: dict[str, Any], store: Store, tmp_path: Path) -> None:
    record = store.done("distance-none")
    assert record is not None
    empty = tmp_path / "nothing"
    empty.mkdir()
    store.finish("distance-none", "attempt", empty, {**record, "metrics": {"frechet_evaluator": float("nan")}})
    assert compare(read_records(document, store))[0].frechet_evaluator is None


def test_rate_without_a_second_evaluator_is_none() -> None:
    table = pa.table({"label": [3, 5], "top1_second": pa.array([None, None], pa.bool_())})
    assert rate(table, "top1_second") == (None, None, None)


def test_a_control_is_not_mistaken_for_its_row(document: dict[str, Any], store: Store) -> None:
    document["rows"].append({**document["rows"][0], "control": True})
    rows = compare(read_records(document, store))
    assert [row.attack for row in rows] == ["gmi", "gmi", "gmi", "gmi (control)"]
    document["rows"][3]["attack"] = "gmi_untrained"
    assert compare(read_records(document, store))[3].attack == "gmi_untrained"


def test_labels_have_their_own_table(document: dict[str, Any], store: Store) -> None:
    found = {(row.defense, row.label): row for row in compare_labels(read_records(document, store))}
    assert len(found) == 6
    none = found["none", 3]
    assert (none.person, none.decoy_person, none.images) == ("s4", "", 4)
    assert (none.aa_top1, none.aa_top1_low, none.aa_top1_high) == (2 / 4, *wilson(2, 4))
    assert (none.mc_target, none.mc_target_images) == (1.0, 2)
    assert (found["none", 5].mc_target, found["gan_id+replay", 3].decoy_person) == (0.5, "s22")
    assert (found["gan_id+replay", 5].aa_top1, found["gan_id+replay", 5].cells_missing) == (None, 1)
