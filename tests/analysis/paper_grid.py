"""Hand-made grids for the paper's tables: the document's rows and the pooled ones, without a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from analysis.paper_layout import Cell, PaperTable
from analysis.rows import ComparisonRow

NONE, DP, GAN_D, GAN_ID = "none", "dp", "gan_d", "gan_id"
KINDS = {"dmi": "white_box", "mirror": "white_box", "privacy": "white_box", "ami": "black_box"}


@dataclass
class PaperGrid:
    """A document and its rows, added to one by one in any order."""

    spec: dict[str, Any] = field(default_factory=dict)
    about: list[dict[str, Any]] = field(default_factory=list)
    rows: list[ComparisonRow] = field(default_factory=list)

    @property
    def document(self) -> dict[str, Any]:
        return {"name": "paper", "budget": "smoke", "numerics": "cpu_fp32", "spec": self.spec, "rows": self.about}

    def add(
        self,
        defense: str,
        attack: str,
        *,
        kind: str | None = None,
        attack_kind: str | None = None,
        dataset: str = "celeba",
        victim: str = "vgg16_bn",
        output: str = "",
        control: bool = False,
        settings: dict[str, Any] | None = None,
        evaluated: Sequence[str] = (),
        **measured: Any,
    ) -> None:
        """A row; kind and attack_kind are the shown names up to the first `+` or blank unless given.

        evaluated: keys of the cells' evaluations, a label each.
        """
        kind = kind or defense.split("+")[0].split(" ")[0]
        names = {"dataset": dataset, "victim": victim, "defense": defense, "attack": attack}
        own = {"defense_kind": kind, "attack_kind": attack_kind or attack.split(" ")[0], "settings": settings or {}}
        undefended = kind == NONE
        cells = [{"label": label, "seed": 0, "evaluate": key} for label, key in enumerate(evaluated)]
        how = {"undefended": undefended, "control": control, "output": output}
        self.about.append({**names, **own, **how, "cells": cells})
        blank: dict[str, Any] = dict.fromkeys(f.name for f in fields(ComparisonRow))
        counts = {"labels": 20, "seeds": 1, "cells": 20, "cells_missing": 0, "images": 160, "mc_target_images": 40}
        counts |= {"reruns": 0, "reruns_counted": 0}
        shown = {"access": "white_box", "output": output, "control": control, "selection": "none"}
        self.rows.append(ComparisonRow(**{**blank, **counts, **shown, **names, **measured}))


def rates(aa: float, mc: float = 0.8, target: float = 1.0, fid: float = 50.0, conf: float = 0.99) -> dict[str, Any]:
    around = {"aa_top1_low": max(0.0, aa - 0.05), "aa_top1_high": min(1.0, aa + 0.05), "aa_top5": min(1.0, aa + 0.2)}
    judges = {"evaluator_accuracy": 0.975, "second_accuracy": 0.95}
    own = {"aa_top1": aa, "mc_all": mc, "mc_target": target, "feat_mean_sqdist": fid, "target_confidence": conf}
    return {**own, **around, **judges}


def celeba() -> PaperGrid:
    """Every defense of Table II and two of ours under five attacks on CelebA and ORL, in a scrambled order."""
    grid = PaperGrid({"paper": "table2"})
    for dataset in ("orl", "celeba"):
        for attack in ("gmi", "ami", "privacy", "dmi", "mirror"):
            for i, (name, more) in enumerate(
                {
                    "gan_id": {},
                    "gan_d": {},
                    "ad_mi stripped": {"output": "stripped"},
                    "gan_id+replay": {"settings": {"replay": 1.0}},
                    "none": {},
                    "ad_mi through": {"output": "through, straight-through gradients"},
                    "dp": {},
                }.items()
            ):
                value = {**more, **rates((i + 1) / 20, mc=0.9 - i / 100, fid=40.0 + i)}
                grid.add(name, attack, dataset=dataset, **value)
    return grid


def cell(table: PaperTable, line: tuple[str, ...], heading: str) -> Cell:
    position = [group.heading for group in table.groups].index(heading)
    return next(found for found in table.lines if found.names == line).cells[position]


def headings(table: PaperTable, *, ours: bool = False) -> list[str]:
    return [group.heading for group in table.groups if group.ours == ours]


def rows_of(table: PaperTable) -> dict[str, str]:
    """Heading of each column that the paper has -> the row's name."""
    return {group.heading: group.keys["defense"] for group in table.groups if not group.ours}
