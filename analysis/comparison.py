"""The comparison table: a row for each dataset, victim, defense and attack, labels and seeds pooled.

Fractions are in [0, 1]. What was not measured is None, never a sentinel number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analysis.intervals import cluster_bootstrap, crossed_bootstrap, pooled_mean, wilson
from analysis.records import ROW_COLUMNS, Records
from analysis.rows import ComparisonRow, LabelRow, Rate

Cell = Mapping[str, Any]

# name in the tables -> column of outcomes.parquet
RATES = {
    "aa_top1": "top1_evaluator",
    "aa_top5": "top5_evaluator",
    "aa_top1_second": "top1_second",
    "aa_top5_second": "top5_second",
}
# Of the set of a cell's images: averaged over the row's cells, each with the same weight.
CELL_METRICS = ("feat_mean_sqdist", "knn_sqdist", "diversity", "target_confidence")
COST_METRICS = ("passes", "queries")
ROW_METRICS = ("frechet_evaluator", "fid_inception")


def compare(records: Records) -> list[ComparisonRow]:
    """The comparison table in the document's order. Rows without any finished cell are kept, with None."""
    return [_compare_row(records, i, row) for i, row in enumerate(records.document["rows"])]


def compare_labels(records: Records) -> list[LabelRow]:
    """The same by protected label (seeds pooled): which person is exposed."""
    found = []
    for i, row in enumerate(records.document["rows"]):
        outcomes = records.row_outcomes(i)
        for label in sorted({cell["label"] for cell in row["cells"]}):
            cells = [cell for cell in row["cells"] if cell["label"] == label]
            found.append(_label_row(records, row, cells, outcomes.filter(pc.field("label") == label)))
    return found


def _compare_row(records: Records, position: int, row: Mapping[str, Any]) -> ComparisonRow:
    cells = row["cells"]
    outcomes = records.row_outcomes(position)
    target, target_images = target_accuracy(records, cells)
    stage = records.stages.get(row.get("distance") or "")
    distances: dict[str, Any] = {name: _finite(stage["metrics"].get(name) if stage else None) for name in ROW_METRICS}
    return ComparisonRow(
        **_names(records, row),
        access=str(row.get("access", "")),
        output=str(row.get("output", "")),
        control=bool(row.get("control")),
        selection=str(row.get("selection", "")),
        labels=len({cell["label"] for cell in cells}),
        **_counts(records, cells, outcomes),
        **_named_rates(outcomes),
        **overall_accuracy(records, cells).named("mc_all"),
        **target.named("mc_target"),
        mc_target_images=target_images,
        **_mean_metrics(records, [cell["evaluate"] for cell in cells], CELL_METRICS),
        **_costs(records, cells),
        **distances,
        reruns=_count(records, cells, "rerun"),
        reruns_counted=_count(records, cells, "rerun_counts"),
        evaluator_accuracy=_judge_accuracy(records, cells, "evaluator_accuracy"),
        second_accuracy=_judge_accuracy(records, cells, "second_accuracy"),
    )


def _label_row(records: Records, row: Mapping[str, Any], cells: list[Cell], outcomes: pa.Table) -> LabelRow:
    target, target_images = target_accuracy(records, cells)
    return LabelRow(
        **_names(records, row),
        label=cells[0]["label"],
        person=_joined(cell.get("person") for cell in cells),
        decoy_person=_joined(cell.get("decoy_person") for cell in cells),
        **_counts(records, cells, outcomes),
        **_named_rates(outcomes),
        **target.named("mc_target"),
        mc_target_images=target_images,
        target_confidence=_mean_metric(records, [cell["evaluate"] for cell in cells], "target_confidence"),
    )


def rate(outcomes: pa.Table, column: str) -> Rate:
    """Share of attack images with `column` true, images of all labels pooled. None if any image lacks it.

    Interval: see `pooled_rate`.
    """
    if not len(outcomes) or outcomes[column].null_count:
        return Rate()
    by_label: dict[int, list[float]] = {}
    for label, hit in zip(outcomes["label"].to_pylist(), outcomes[column].to_pylist(), strict=True):
        by_label.setdefault(label, []).append(float(hit))
    return pooled_rate(by_label)


def pooled_rate(by_label: Mapping[int, list[float]]) -> Rate:
    """Share of hits, labels pooled.

    Interval: bootstrap clustered by label, since a label's images share one person and often one model, and
    succeed or fail together. Where that is a point (all labels agree, so 0 of 160 would read as certain) and for
    a single label: Wilson over the images.
    """
    value = pooled_mean(by_label)
    if len(by_label) > 1:
        low, high = cluster_bootstrap(by_label)
        if low < high:
            return Rate(value, low, high)
    hits = [hit for hits in by_label.values() for hit in hits]
    return Rate(value, *wilson(int(sum(hits)), len(hits)))


def overall_accuracy(records: Records, cells: list[Cell]) -> Rate:
    """MC(all): mean over the row's distinct targets, each on all test images, and a 95% interval.

    What could have come out otherwise are the test images and, where there are several, the targets. One target
    (an undefended row, or `protect: joint`, of one seed): Wilson over its test images. Several: both drawn anew
    (`crossed_bootstrap`), targets clustered by label where each label has a target of its own, else by seed;
    with few of them too narrow. Where all agree on every image: Wilson over the images. None where targets were
    tested on different images, or where what each said is unknown.
    """
    value = _mean_metric(records, dict.fromkeys(cell["accuracy"] for cell in cells), "mc_all")
    users: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell["accuracy"] in records.predictions:
            users.setdefault(cell["accuracy"], []).append(cell)
    tables = {key: records.predictions[key] for key in users}
    pictures = {tuple(table["picture"].to_pylist()) for table in tables.values()}
    if value is None or len(pictures) != 1 or not (tested := len(next(iter(pictures)))):
        return Rate(value)
    apart = all(len({cell["label"] for cell in own}) == 1 for own in users.values())
    by_label = apart and len({cell["label"] for cell in cells}) > 1
    hits: dict[int, list[Any]] = {}
    for key, own in users.items():
        hits.setdefault(own[0]["label" if by_label else "seed"], []).append(tables[key]["correct"].to_numpy())
    if len(hits) > 1:
        low, high = crossed_bootstrap({name: np.stack(found) for name, found in hits.items()})
        if low < high:
            return Rate(value, low, high)
    return Rate(value, *wilson(round(value * tested), tested))


def target_accuracy(records: Records, cells: Iterable[Cell]) -> tuple[Rate, int]:
    """MC(l_t): accuracy on the test images of the protected labels, and their number; interval: see `pooled_rate`.

    With `protect: single` every label is tested on a model of its own, and its images share that model's luck as an
    attack's images do: labels are what is drawn. A model that several cells share counts each of its labels once.
    """
    pairs = sorted({(cell["accuracy"], cell["label"]) for cell in cells if cell["accuracy"] in records.predictions})
    by_label: dict[int, list[float]] = {}
    for key, label in pairs:
        table = records.predictions[key]
        hits = table.filter(pc.field("label") == label)["correct"].to_pylist()
        by_label.setdefault(label, []).extend(float(hit) for hit in hits)
    images = sum(len(hits) for hits in by_label.values())
    return (pooled_rate(by_label) if images else Rate()), images


def _names(records: Records, row: Mapping[str, Any]) -> dict[str, Any]:
    """The row's four names; a control that is named like the row it controls is told apart."""
    names = {name: row[name] for name in ROW_COLUMNS}
    alike = [other for other in records.document["rows"] if all(other[name] == row[name] for name in ROW_COLUMNS)]
    return names | ({"attack": f"{row['attack']} (control)"} if row.get("control") and len(alike) > 1 else {})


def _counts(records: Records, cells: list[Cell], outcomes: pa.Table) -> dict[str, Any]:
    missing = [c for c in cells if c["evaluate"] not in records.stages or c["accuracy"] not in records.stages]
    return {
        "seeds": len({cell["seed"] for cell in cells}),
        "cells": len(cells),
        "cells_missing": len(missing),
        "images": len(outcomes),
    }


def _named_rates(outcomes: pa.Table) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, column in RATES.items():
        found |= rate(outcomes, column).named(name)
    return found


def _judge_accuracy(records: Records, cells: list[Cell], name: str) -> float | None:
    """An evaluator's own accuracy on the test split, on which its verdicts stand."""
    return _mean_metric(records, sorted({cell[name] for cell in cells if cell.get(name)}), "mc_all")


def _costs(records: Records, cells: list[Cell]) -> dict[str, Any]:
    """What an attack on a cell cost, its rerun included; means over cells."""
    done = [
        [records.stages[key] for key in (cell["attack"], cell.get("rerun")) if key and key in records.stages]
        for cell in cells
        if cell["attack"] in records.stages
    ]
    costs = {name: _mean(_total(s["metrics"].get(name) for s in stages) for stages in done) for name in COST_METRICS}
    costs["setup_queries"] = _mean(stages[0]["metrics"].get("setup_queries") for stages in done)  # paid once
    return {**costs, "attack_seconds": _mean(_total(s.get("seconds") for s in stages) for stages in done)}


def _total(values: Iterable[Any]) -> float | None:
    known = [number for number in map(_finite, values) if number is not None]
    return math.fsum(known) if known else None


def _count(records: Records, cells: list[Cell], name: str) -> int:
    """In how many cells the evaluation says `name`."""
    keys = [cell["evaluate"] for cell in cells if cell["evaluate"] in records.stages]
    return sum(records.stages[key]["metrics"].get(name, 0.0) > 0 for key in keys)


def _mean_metrics(records: Records, keys: list[str], names: Iterable[str]) -> dict[str, Any]:
    return {name: _mean_metric(records, keys, name) for name in names}


def _mean_metric(records: Records, keys: Iterable[str], name: str) -> float | None:
    return _mean(records.stages[key]["metrics"].get(name) for key in keys if key in records.stages)


def _mean(values: Iterable[Any]) -> float | None:
    known = [number for number in map(_finite, values) if number is not None]
    return math.fsum(known) / len(known) if known else None


def _finite(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _joined(names: Iterable[str | None]) -> str:
    return " ".join(sorted({name for name in names if name}))
