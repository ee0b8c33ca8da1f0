"""A small finished grid in a real store, as the stages would have left it: what the mirror's tests show."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file

from grid.store import Store

STARTED = 1_700_000_000.0
COEFFICIENTS = {"alpha": 1.0, "beta": 1.0, "omega": 1.0, "gamma": 2.0, "lambda3": 10.0, "lpri": "detached"}
DEFENSES: dict[str, dict[str, Any]] = {
    "none": {},
    "gan_id": {**COEFFICIENTS, "replay": 0.0, "steps": 80, "gan": {"name": "wgan", "settings": {}}},
    "gan_id+replay": {**COEFFICIENTS, "replay": 1.0, "steps": 80, "gan": {"name": "wgan", "settings": {}}},
    "l_pri": {**COEFFICIENTS, "beta": 0.0, "omega": 0.0, "replay": 0.0, "steps": 80},
}
LEAK = {"none": 0.62, "gan_id": 0.11, "gan_id+replay": 0.14, "l_pri": 0.06}
UTILITY = {"none": 0.95, "gan_id": 0.91, "gan_id+replay": 0.94, "l_pri": 0.41}


class FakeGrid:
    """Writes stages into `store` and keeps the grid document that names them."""

    def __init__(self, store: Store, folder: Path, *, size: int = 8, curve: int = 20) -> None:
        self.store, self._folder, self._size, self._curve = store, folder, size, curve
        self._random = np.random.Generator(np.random.PCG64(0))
        self.document: dict[str, Any] = {
            "name": "faces",
            "budget": "smoke",
            "numerics": "cpu_fp32",
            "written": STARTED,
            "spec": {"name": "faces", "attacks": ["gmi"], "labels": [0, 1]},
            "rows": [],
            "stages": {},
        }

    def stage(
        self,
        kind: str,
        name: str,
        *,
        group: str = "metrics",
        trains: bool = False,
        metrics: Mapping[str, float] | None = None,
        config: Mapping[str, Any] | None = None,
        tensors: Mapping[str, np.ndarray[Any, Any]] | None = None,
        tables: Mapping[str, Mapping[str, Any]] | None = None,
        again: int = 0,
    ) -> str:
        """Finish one stage; `again` makes another record of the same stage."""
        key = f"{kind}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
        folder = self._folder / f"{key}-{again}"
        folder.mkdir(parents=True, exist_ok=True)
        if tensors:
            save_file(dict(tensors), folder / ("samples" if group == "gan" else "images.safetensors"))
        if group == "gan":
            (folder / "samples").rename(folder / "samples.safetensors")
        for file, columns in (tables or {}).items():
            pq.write_table(pa.table(dict(columns)), folder / file)
        started = STARTED + 10 * len(self.document["stages"]) + 1000 * again
        record = {
            "kind": kind,
            "version": 1,
            "group": group,
            "config": {"seed": 0, "threads": 1, **(config or {})},
            "metrics": dict(metrics or {}),
            "notes": {},
            "started": started,
            "ended": started + 8.5,
            "seconds": 8.5,
            "upstream": [],
        }
        self.store.finish(key, f"attempt{again}", folder, record)
        about = {"kind": kind, "group": group, "name": name, "trains": trains}
        self.document["stages"].setdefault(key, about)
        return key

    def images(self, n: int) -> np.ndarray[Any, Any]:
        """Smooth coloured noise, uint8 (n, 3, size, size)."""
        coarse = self._random.integers(0, 255, (n, 3, 4, 4), dtype=np.uint8)
        return coarse.repeat(self._size // 4, axis=2).repeat(self._size // 4, axis=3)

    def curves(self, *names: str) -> dict[str, dict[str, Any]]:
        """A falling curve a name; the first value of each is missing."""
        steps = list(range(self._curve))
        falling = [None, *(float(3 / (1 + step)) for step in steps[1:])]
        return {"curves.parquet": {"step": steps, **dict.fromkeys(names, falling)}}

    def trained(self, kind: str, name: str, group: str, *names: str, **config: Any) -> str:
        """A stage with curves, and with samples if it is a GAN."""
        images = self.images(16)
        grids = {"images": images, "over_time": images[None], "steps": np.array([40])}
        tensors = grids if group == "gan" else None
        curves = self.curves(*names)
        about: dict[str, Any] = {
            "group": group,
            "trains": True,
            "metrics": {"accuracy": 0.9},
            "config": config,
        }
        return self.stage(kind, name, tensors=tensors, tables=curves, **about)

    def cell(self, defense: str, label: int, seed: int, target: str, train: str, again: int = 0) -> dict[str, Any]:
        """Attack, evaluation and accuracy of one cell."""
        name, leak = f"{defense} label {label} seed {seed}", LEAK[defense]
        found, images = {"target_confidence": 0.9, "passes": 1200.0}, {"images": self.images(12)}
        attack = self.stage("gmi", f"attack {name}", group="attack", metrics=found, tensors=images, again=again)
        scores = {
            "aa_top1": leak + 0.01 * label + 0.001 * again,
            "aa_top5": min(1.0, leak + 0.2),
            "images": 12.0,
        }
        evaluate = self.stage("evaluate", f"evaluate {name}", metrics=scores, again=again)
        answers = {"predictions.parquet": {"label": [0, 0, 1, 1, 2, 3, 3], "correct": [True, False] * 3 + [True]}}
        utility = {"mc_all": UTILITY[defense]}
        accuracy = self.stage("accuracy", f"accuracy {target}", metrics=utility, tables=answers)
        keys = {
            "target": target,
            "attack": attack,
            "evaluate": evaluate,
            "accuracy": accuracy,
            "train": train,
        }
        return {"label": label, "person": "s4", "seed": seed, "decoy": 5, "decoy_person": "s23", **keys}

    def add_row(self, defense: str, labels: Sequence[int], seeds: Sequence[int], victim: str, train: str) -> None:
        """A table row and all that is below it."""
        cells = []
        for seed in seeds:
            for label in labels:
                target = victim
                if defense != "none":
                    terms = ("l_pri", "l_pub", "l_cl", "loss")
                    target = self.trained(
                        "finetune", f"{defense} label {label} seed {seed}", "finetune", *terms, alpha=1.0
                    )
                cells.append(self.cell(defense, label, seed, target, train))
        distance = self.stage("distance", f"distance {defense}", metrics={"frechet_evaluator": 12.5})
        row = {"dataset": "orl", "victim": "vgg16_bn", "defense": defense, "attack": "gmi", "control": False}
        row |= {
            "defense_kind": defense if defense == "none" else "gan_id",
            "undefended": defense == "none",
            "settings": DEFENSES[defense],
            "attack_settings": {"steps": 120},
            "distance": distance,
            "cells": cells,
        }
        self.document["rows"].append(row)


def build(
    folder: Path,
    *,
    defenses: Sequence[str] = ("none", "gan_id"),
    labels: Sequence[int] = (0, 1),
    seeds: Sequence[int] = (0,),
    size: int = 8,
    curve: int = 20,
) -> FakeGrid:
    """A whole grid under `folder`."""
    grid = FakeGrid(Store(str(folder / "store")), folder / "attempts", size=size, curve=curve)
    split = {"images": grid.images(8), "labels": np.repeat(np.arange(4), 2)}
    train = grid.stage("orl_split", "private train", group="data", tensors=split)
    victim = grid.trained(
        "classifier", "victim vgg16_bn", "classifier", "loss", "lr", arch="vgg16_bn", train={"stage": train}
    )
    grid.trained("classifier", "evaluator ir_small", "classifier", "loss", "lr", arch="ir_small")
    for role in ("defender", "attacker"):
        grid.trained("wgan", f"wgan {role}", "gan", "wasserstein", "penalty", "generator", role=role)
    for defense in defenses:
        grid.add_row(defense, labels, seeds, victim, train)
    return grid


def table(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Lines as the comparison table's CSV has them."""
    rows = []
    for row in document["rows"]:
        names = {name: row[name] for name in ("dataset", "victim", "defense", "attack")}
        leak, utility = LEAK[row["defense"]], UTILITY[row["defense"]]
        rates = {
            "aa_top1": leak,
            "aa_top1_low": leak - 0.05,
            "aa_top1_high": leak + 0.05,
            "aa_top5": min(1.0, leak + 0.2),
        }
        other = {
            "aa_top1_second": leak + 0.02,
            "mc_all": utility,
            "mc_target": utility - 0.03,
            "fid_inception": None,
        }
        distances = {
            "feat_mean_sqdist": 1.9 - leak,
            "frechet_evaluator": 22 - 20 * leak,
            "knn_sqdist": 1.2 - leak,
        }
        cost = {"target_confidence": 0.97, "passes": 6000.0, "queries": 0.0, "images": 12 * len(row["cells"])}
        rows.append({**names, "labels": 2, "seeds": 1, **rates, **other, **distances, **cost})
    return rows
