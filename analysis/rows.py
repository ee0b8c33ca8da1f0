"""What a row of the tables holds. The fields are the CSV columns, in order; None is what was not measured."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class Rate(NamedTuple):
    """A fraction with its 95% interval; all None if nothing was measured."""

    value: float | None = None
    low: float | None = None
    high: float | None = None

    def named(self, name: str) -> dict[str, Any]:
        """The three columns `name`, `name_low`, `name_high`."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    """One row of table.csv, fields in column order.

    access: white_box or black_box; output: how the attack meets an output wrapper, empty if there is none;
    control: an untrained generator; selection: how the attack chooses. labels, seeds, cells: planned;
    cells_missing: those without outcomes or test accuracy; images: attack images pooled. mc_all: mean over the
    row's distinct targets. feat_mean_sqdist, knn_sqdist, diversity, target_confidence, passes, queries,
    setup_queries, attack_seconds: mean over the row's cells (a rerun's passes, queries and seconds included).
    reruns: cells whose attack had not converged and was run again; reruns_counted: those where the second run was
    worse for the defense, so that it counts. *_low, *_high: 95% intervals, of AA and mc_target by `pooled_rate`, of
    mc_all by `overall_accuracy` (analysis/comparison.py). evaluator_accuracy, second_accuracy: of F_E and of the second
    evaluator on the test split.
    """

    dataset: str
    victim: str
    defense: str
    attack: str
    access: str
    output: str
    control: bool
    selection: str
    labels: int
    seeds: int
    cells: int
    cells_missing: int
    images: int
    aa_top1: float | None
    aa_top1_low: float | None
    aa_top1_high: float | None
    aa_top5: float | None
    aa_top5_low: float | None
    aa_top5_high: float | None
    aa_top1_second: float | None
    aa_top1_second_low: float | None
    aa_top1_second_high: float | None
    aa_top5_second: float | None
    aa_top5_second_low: float | None
    aa_top5_second_high: float | None
    mc_all: float | None
    mc_all_low: float | None
    mc_all_high: float | None
    mc_target: float | None
    mc_target_low: float | None
    mc_target_high: float | None
    mc_target_images: int
    feat_mean_sqdist: float | None
    frechet_evaluator: float | None
    fid_inception: float | None
    knn_sqdist: float | None
    diversity: float | None
    target_confidence: float | None
    passes: float | None
    queries: float | None
    setup_queries: float | None
    reruns: int
    reruns_counted: int
    attack_seconds: float | None
    evaluator_accuracy: float | None
    second_accuracy: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRow:
    """One row of labels.csv: one protected label, seeds pooled, Wilson intervals; fields in column order."""

    dataset: str
    victim: str
    defense: str
    attack: str
    label: int
    person: str
    decoy_person: str
    seeds: int
    cells: int
    cells_missing: int
    images: int
    aa_top1: float | None
    aa_top1_low: float | None
    aa_top1_high: float | None
    aa_top5: float | None
    aa_top5_low: float | None
    aa_top5_high: float | None
    aa_top1_second: float | None
    aa_top1_second_low: float | None
    aa_top1_second_high: float | None
    aa_top5_second: float | None
    aa_top5_second_low: float | None
    aa_top5_second_high: float | None
    mc_target: float | None
    mc_target_low: float | None
    mc_target_high: float | None
    mc_target_images: int
    target_confidence: float | None


def columns(row_type: type[DataclassInstance]) -> tuple[str, ...]:
    """Column names in file order: the fields of a row's dataclass."""
    return tuple(field.name for field in fields(row_type))
