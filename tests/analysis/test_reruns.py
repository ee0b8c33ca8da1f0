"""Which run of an attack counts, what both cost, and what the tables say of access, selection and controls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analysis.comparison import compare
from analysis.faces_picture import pictures
from analysis.records import counted_attack, read_records
from analysis.report import read_report
from analysis.rows import ComparisonRow
from analysis.wording import CONVERGED
from grid.store import Store
from tests.analysis.conftest import flat, outcomes, put
from tests.analysis.test_faces_picture import _greys as greys


def test_the_run_that_counts() -> None:
    cell = {"attack": "gmi-a", "rerun": "rerun-b"}
    assert counted_attack(cell, {"metrics": {"rerun": 1.0, "rerun_counts": 1.0}}) == "rerun-b"
    assert counted_attack(cell, {"metrics": {"rerun": 1.0, "rerun_counts": 0.0}}) == "gmi-a"
    assert counted_attack(cell, {"metrics": {"rerun": 0.0}}) == "gmi-a"
    assert counted_attack(cell, None) == "gmi-a", "not evaluated: there is nothing yet to count"
    assert counted_attack({"attack": "gmi-a"}, {"metrics": {}}) == "gmi-a", "a document from before reruns"


class Grid:
    """The fixture's grid, with label 3 of the defended row run again."""

    def __init__(self, document: dict[str, Any], store: Store, scratch: Path) -> None:
        self.document, self.store, self.scratch = document, store, scratch
        for row in document["rows"]:
            row |= {"access": "white_box", "selection": "none"}
            for cell in row["cells"]:
                cell["rerun"] = f"rerun-{cell['attack']}" if cell["decoy"] is not None else None

    def rerun(self, *, counts: bool, grey: int = 77, **metrics: float) -> None:
        """The rerun's four images are flat, the third of a shade of its own; the target is sure of that one."""
        cell = self.document["rows"][1]["cells"][0]
        samples = {"image": [0, 1, 2, 3], "loss": [0.1] * 4, "target_p": [0.1, 0.2, 0.9, 0.3]}
        own = {"needed": 1.0, "passes": 400.0, "queries": 8.0, "setup_queries": 900.0, **metrics}
        tables = {"samples.parquet": samples}
        tensors = {"images": flat(210, 211, grey, 213)}
        put(self.store, self.scratch, cell["rerun"], own, tables=tables, tensors=tensors, seconds=40.0)
        hits = [1, 1, 1, 0] if counts else [0, 0, 0, 0]
        evaluated = {"target_confidence": 0.5, "rerun": 1.0, "rerun_counts": float(counts)}
        config = {"evaluator": {"stage": "classifier-evaluator"}}
        table = {"outcomes.parquet": outcomes(3, hits, [1] * 4, hits, [1] * 4)}
        put(self.store, self.scratch / "e", cell["evaluate"], evaluated, tables=table, config=config)

    def not_needed(self) -> None:
        cell = self.document["rows"][1]["cells"][0]
        put(self.store, self.scratch, cell["rerun"], {"needed": 0.0, "passes": 0.0, "queries": 0.0}, seconds=0.5)
        table = {"outcomes.parquet": outcomes(3, [0] * 4, [0] * 4, [0] * 4, [0] * 4)}
        put(self.store, self.scratch / "e", cell["evaluate"], {"target_confidence": 1.0, "rerun": 0.0}, tables=table)

    def rows(self) -> list[ComparisonRow]:
        return compare(read_records(self.document, self.store))


@pytest.fixture
def grid(document: dict[str, Any], store: Store, tmp_path: Path) -> Grid:
    return Grid(document, store, tmp_path / "reruns")


def test_reruns_are_counted_and_cost(grid: Grid) -> None:
    grid.rerun(counts=True)
    none, defended, absent = grid.rows()
    assert (defended.reruns, defended.reruns_counted) == (1, 1)
    assert (none.reruns, none.reruns_counted, absent.reruns, absent.reruns_counted) == (0, 0, 0, 0)
    assert defended.passes == 100.0 + 400.0
    assert defended.queries == 8.0
    assert defended.attack_seconds == 10.0 + 40.0
    assert defended.aa_top1 == 3 / 4
    assert none.passes == 200.0, "as before"


def test_a_rerun_that_does_not_count_still_cost(grid: Grid) -> None:
    grid.rerun(counts=False)
    defended = grid.rows()[1]
    assert (defended.reruns, defended.reruns_counted, defended.aa_top1) == (1, 0, 0.0)
    assert defended.passes == 500.0


def test_a_rerun_that_was_not_needed_is_none(grid: Grid) -> None:
    grid.not_needed()
    defended = grid.rows()[1]
    assert (defended.reruns, defended.reruns_counted, defended.passes) == (0, 0, 100.0)
    assert not any("Rerun" in remark.text for remark in read_report(grid.document, grid.store).remarks)


def test_setup_queries_are_a_mean_over_cells_and_none_if_unknown(grid: Grid) -> None:
    """Records from before the count have none, which is not 0."""
    assert [row.setup_queries for row in grid.rows()] == [None, None, None]
    for label, queries in ((3, 100.0), (5, 300.0)):
        put(grid.store, grid.scratch, f"gmi-counted{label}", {"setup_queries": queries, "passes": 1.0})
    for cell, label in zip(grid.document["rows"][0]["cells"], (3, 5), strict=True):
        cell["attack"] = f"gmi-counted{label}"
    assert grid.rows()[0].setup_queries == 200.0


def test_the_picture_shows_the_run_that_counts(grid: Grid) -> None:
    grid.document["rows"] = grid.document["rows"][:2]
    before = greys(pictures(grid.document, grid.store)["faces-gmi.png"])
    assert before == [30, 99, 130, 180, 50, 99, 150]
    grid.rerun(counts=True)
    assert greys(pictures(grid.document, grid.store)["faces-gmi.png"]) == [30, 99, 130, 77, 50, 99, 150]


def test_the_picture_of_a_rerun_that_does_not_count_is_the_first(grid: Grid) -> None:
    grid.document["rows"] = grid.document["rows"][:2]
    grid.rerun(counts=False)
    assert greys(pictures(grid.document, grid.store)["faces-gmi.png"]) == [30, 99, 130, 180, 50, 99, 150]


def test_access_selection_and_control_are_columns(grid: Grid) -> None:
    first = grid.document["rows"][0]
    first |= {"access": "black_box", "selection": "best of 8 by the target's p(l_t)", "control": True}
    row = grid.rows()[0]
    assert (row.access, row.selection, row.control) == ("black_box", "best of 8 by the target's p(l_t)", True)
    first["control"] = False  # a control selects as the attack that it controls, and is not named again
    text = " ".join(remark.text for remark in read_report(grid.document, grid.store).remarks)
    assert "gmi (black-box, selection: best of 8 by the target's p(l_t))" in text


def test_a_document_from_before_has_blanks(document: dict[str, Any], store: Store) -> None:
    row = compare(read_records(document, store))[0]
    assert (row.access, row.selection, row.control, row.reruns) == ("", "", False, 0)
    assert not any("Attacks;" in remark.text for remark in read_report(document, store).remarks)


def test_a_warning_says_that_an_attack_was_run_again(grid: Grid) -> None:
    """Not converged even so: the reader should know that it was tried."""
    grid.rerun(counts=True)
    report = read_report(grid.document, grid.store)
    (warning,) = [r.text for r in report.remarks if r.kind == "warning" and "gan_id+replay" in r.text]
    assert "1 of 2 cells were run again" in warning
    assert any(remark.text.startswith("Rerun: ") for remark in report.remarks)
    assert CONVERGED == 0.8
