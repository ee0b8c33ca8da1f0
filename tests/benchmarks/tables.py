"""Tables for replays, made up: the record of tests/analysis/search_lab.py, and a line of points with known values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.search_table import Table, read_table
from tests.analysis.search_lab import UNDEFENDED, record

STEPS = (25, 50, 100)
Rates = Callable[[float, int], Mapping[str, float]]  # (alpha, rung from 1) -> what is measured


def lab_table(points: int = 60, **changes: Any) -> Table:
    """A smooth noisy surface over five coefficients; `changes` are of the document."""
    return read_table(lab_document(points, **changes), least=points)


def lab_document(points: int = 60, **changes: Any) -> dict[str, Any]:
    return record(points, asha=False, failures=0) | {"name": "lab", "picks": []} | changes


def line_document(points: int, rates: Rates, labels: int = 1, **changes: Any) -> dict[str, Any]:
    """`points` values of alpha evenly over [0, 1], with one model a label and these rates."""
    trials = []
    for number in range(1, points + 1):
        alpha = (number - 0.5) / points
        curve = [{"step": step, **UNDEFENDED, **rates(alpha, rung)} for rung, step in enumerate(STEPS, 1)]
        about = {"id": f"t{number:04d}", "number": number, "state": "finished", "rung": None, "error": None}
        steps = {"steps": labels * STEPS[-1], "max_steps": labels * STEPS[-1], "seconds": 1.0}
        metrics = {name: value for name, value in curve[-1].items() if name != "step"}
        artifacts = {str(label): f"finetune-{number}-{label}" for label in range(labels)}
        own = {"coefficients": {"alpha": alpha}, "curve": curve, "metrics": metrics, "artifacts": artifacts}
        trials.append({**about, **steps, **own})
    space = {"alpha": {"kind": "uniform", "low": 0.0, "high": 1.0, "values": [], "log": False}}
    return lab_document(1) | {"name": "line", "space": space, "trials": trials} | changes


def line_table(points: int, rates: Rates, **changes: Any) -> Table:
    return read_table(line_document(points, rates, **changes), least=points)
