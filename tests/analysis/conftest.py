"""A tiny grid on a real Store: two labels, an undefended row, a half-finished one and one not run at all.

Numbers are chosen so that every pooled value can be worked out by hand in the tests.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from grid.store import Store

SIZE = 32
LABELS = (3, 5)
TEST_LABELS = (0, 3, 5, 7)
Bits = list[int]


def put(
    store: Store,
    scratch: Path,
    key: str,
    metrics: dict[str, float],
    *,
    tables: dict[str, dict[str, Any]] | None = None,
    tensors: dict[str, np.ndarray] | None = None,
    **record: Any,
) -> None:
    """Finish the stage `key` with Parquet tables and an images.safetensors."""
    folder = scratch / key
    folder.mkdir(parents=True)
    for name, columns in (tables or {}).items():
        pq.write_table(pa.table(columns), folder / name)
    if tensors:
        save_file(tensors, folder / "images.safetensors")
    base = {
        "kind": key.split("-")[0],
        "metrics": metrics,
        "notes": {},
        "config": {},
        "seconds": 10.0,
        "started": 0.0,
    }
    store.finish(key, "attempt", folder, {**base, **record})


def outcomes(label: int, top1: Bits, top5: Bits, second1: Bits, second5: Bits) -> dict[str, Any]:
    n = len(top1)
    return {
        "image": list(range(n)),
        "label": [label] * n,
        "top1_evaluator": [bool(x) for x in top1],
        "top5_evaluator": [bool(x) for x in top5],
        "top1_second": [bool(x) for x in second1],
        "top5_second": [bool(x) for x in second5],
        "p_evaluator": pa.array([0.5] * n, pa.float32()),
        "p_second": pa.array([0.5] * n, pa.float32()),
        "target_p": pa.array([0.95] * n, pa.float32()),
        "knn_sqdist": pa.array([1.5] * n, pa.float32()),
        "knn_picture": ["s4/1.pgm"] * n,
        "features": pa.array([[0.0, 1.0]] * n, pa.list_(pa.float32())),
    }


def predictions(correct: dict[int, Bits]) -> dict[str, Any]:
    """Two test pictures of each label; the labels not named are all correct."""
    rows = [(label, bool(hit)) for label in TEST_LABELS for hit in correct.get(label, [1, 1])]
    return {
        "picture": [f"s{label + 1}/{i}.pgm" for i, (label, _) in enumerate(rows)],
        "label": [label for label, _ in rows],
        "predicted": [label if hit else -1 for label, hit in rows],
        "correct": [hit for _, hit in rows],
    }


def flat(*values: int) -> np.ndarray:
    """(n, 1, SIZE, SIZE) images of one grey value each."""
    images = np.asarray(values, dtype=np.uint8)[:, None, None, None]
    return np.ascontiguousarray(np.broadcast_to(images, (len(values), 1, SIZE, SIZE)))


def cell(label: int, defense: str, **changes: Any) -> dict[str, Any]:
    decoyed = defense != "none"
    own = {
        "label": label,
        "person": f"s{label + 1}",
        "seed": 0,
        "decoy": 1 if decoyed else None,
        "decoy_person": "s22" if decoyed else None,
        "target": f"finetune-{defense}{label}" if decoyed else "classifier-victim",
        "attack": f"gmi-{defense}{label}",
        "evaluate": f"evaluate-{defense}{label}",
        "accuracy": f"accuracy-{defense}{label}" if decoyed else "accuracy-none",
        "evaluator_accuracy": "accuracy-evaluator",
        "second_accuracy": None,
        "fakes_private": f"fakes-{defense}{label}" if decoyed else None,
        "fakes_public": None,
        "train": "orl_split-train",
        "public": "orl_split-public" if decoyed else None,
    }
    return own | changes


def row(defense: str, **settings: Any) -> dict[str, Any]:
    return {
        "dataset": "orl",
        "victim": "vgg16_bn",
        "defense": defense,
        "attack": "gmi",
        "control": False,
        "undefended": defense == "none",
        "settings": settings,
        "attack_settings": {"steps": 120},
        "distance": f"distance-{defense}",
        "cells": [cell(label, defense) for label in LABELS],
    }


@pytest.fixture
def document() -> dict[str, Any]:
    rows = [row("none"), row("gan_id+replay", alpha=1.0, replay=1.0), row("l_pri", alpha=1.0)]
    keys = {c[name] for r in rows for c in r["cells"] for name in ("target", "attack", "evaluate", "accuracy")}
    stages = {key: {"kind": key.split("-")[0], "group": "attack", "name": f"stage {key}"} for key in sorted(keys)}
    head = {"name": "demo", "budget": "smoke", "numerics": "cpu_fp32", "written": 1.0, "spec": {}}
    return {**head, "rows": rows, "stages": stages}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """none: finished. gan_id+replay: label 3 finished, label 5's attack failed. l_pri: not run."""
    made, scratch = Store(str(tmp_path / "store")), tmp_path / "scratch"
    _splits(made, scratch)
    _undefended(made, scratch)
    _defended(made, scratch)
    made.fail("gmi-gan_id+replay5", "ValueError: loss is nan", "Traceback ...")
    return made


def _splits(made: Store, scratch: Path) -> None:
    train = {"images": flat(30, 31, 50, 51), "labels": np.array([3, 3, 5, 5])}
    put(made, scratch, "orl_split-train", {"images": 4.0}, tensors=train)
    put(
        made,
        scratch,
        "orl_split-public",
        {"images": 2.0},
        tensors={"images": flat(1, 99), "labels": np.array([0, 1])},
    )
    put(made, scratch, "accuracy-evaluator", {"mc_all": 0.95})


def _attack(made: Store, scratch: Path, key: str, grey: int, *, passes: float) -> None:
    """Four images; the target is surest of the third, which alone has the value `grey`."""
    samples = {"image": [0, 1, 2, 3], "loss": [0.1] * 4, "target_p": [0.2, 0.9, 0.99, 0.99]}
    metrics = {"target_confidence": 0.75, "passes": passes, "queries": 0.0}
    images = {"images": flat(200, 201, grey, 203)}
    put(made, scratch, key, metrics, tables={"samples.parquet": samples}, tensors=images, seconds=passes / 10)


def _evaluate(made: Store, scratch: Path, key: str, table: dict[str, Any], **metrics: float) -> None:
    config = {"evaluator": {"stage": "classifier-evaluator"}}
    put(made, scratch, key, metrics, tables={"outcomes.parquet": table}, config=config)


def _undefended(made: Store, scratch: Path) -> None:
    for label, grey, passes in ((3, 130, 100.0), (5, 150, 300.0)):
        _attack(made, scratch, f"gmi-none{label}", grey, passes=passes)
    some = outcomes(3, [1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0])
    _evaluate(made, scratch, "evaluate-none3", some, feat_mean_sqdist=2.0, knn_sqdist=1.0, target_confidence=1.0)
    other = outcomes(5, [1, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0], [1, 1, 1, 0])
    _evaluate(made, scratch, "evaluate-none5", other, feat_mean_sqdist=4.0, knn_sqdist=2.0, target_confidence=0.9)
    tables = {"predictions.parquet": predictions({5: [1, 0]})}
    put(made, scratch, "accuracy-none", {"mc_all": 0.875}, tables=tables)
    notes = {"fid_inception": "no weights given or found"}
    put(made, scratch, "distance-none", {"frechet_evaluator": 12.5}, notes=notes)


def _defended(made: Store, scratch: Path) -> None:
    _attack(made, scratch, "gmi-gan_id+replay3", 180, passes=100.0)
    table = outcomes(3, [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0])
    _evaluate(made, scratch, "evaluate-gan_id+replay3", table, feat_mean_sqdist=9.0, target_confidence=0.5)
    for label, mc_all, correct in ((3, 0.75, [1, 1]), (5, 0.5, [0, 1])):
        tables = {"predictions.parquet": predictions({label: correct})}
        put(made, scratch, f"accuracy-gan_id+replay{label}", {"mc_all": mc_all}, tables=tables)
