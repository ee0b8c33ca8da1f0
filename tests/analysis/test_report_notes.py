"""What a report says beside its numbers: how attacks meet output wrappers, and what a private training guarantees."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from analysis.report import read_report, render
from analysis.terminal import terminal
from grid.store import Store
from tests.analysis.conftest import put, row

EPSILONS = {"achieved_epsilon_rdp": 7.9912, "achieved_epsilon_prv": 6.9004}
METRICS = {**EPSILONS, "target_epsilon": 8.0, "delta": 1 / 140, "noise_multiplier": 1.6201, "steps": 300.0}


def _notes(document: dict[str, Any], store: Store, beginning: str) -> list[str]:
    return [remark.text for remark in read_report(document, store).remarks if remark.text.startswith(beginning)]


def _everywhere(document: dict[str, Any], store: Store) -> list[str]:
    """Markdown, LaTeX, the page and the terminal, each without escapes and line breaks."""
    report = read_report(document, store)
    console = Console(width=120, file=io.StringIO(), color_system=None)
    console.print(terminal(report.rows, report.remarks, report.failures))
    assert isinstance(console.file, io.StringIO)
    texts = [*(render(document, store, name) for name in ("markdown", "latex", "html")), console.file.getvalue()]
    return [" ".join(text.replace("\\", "").split()) for text in texts]


def _private(document: dict[str, Any], name: str, *targets: str) -> None:
    """One more row, whose cells have these targets, and the kinds of the targets."""
    own = row(name)
    cells = [{**cell, "target": target} for cell, target in zip(own["cells"], targets, strict=True)]
    document["rows"].append({**own, "cells": cells})
    document["stages"] |= {target: {"kind": "dp_classifier", "name": "dp"} for target in targets}


def test_how_attacks_meet_wrappers_is_said_everywhere(document: dict[str, Any], store: Store) -> None:
    assert _notes(document, store, "How attacks meet") == []
    for name, how in (("ad_mi through", "through, straight-through gradients"), ("ad_mi stripped", "stripped")):
        document["rows"].append({**document["rows"][0], "undefended": False, "defense": name, "output": how})
    note = (
        "How attacks meet output wrappers: ad_mi through (through, straight-through gradients); "
        "ad_mi stripped (stripped)."
    )
    assert _notes(document, store, "How attacks meet") == [note]
    assert all(note in text for text in _everywhere(document, store))


@pytest.mark.parametrize(
    ("accountant", "shown"),
    [("rdp", "epsilon 7.99 at delta 0.00714 (RDP; PRV 6.9)"), ("prv", "epsilon 6.9 at delta 0.00714 (PRV; RDP 7.99)")],
)
def test_epsilon_is_said_once_for_all_labels(
    document: dict[str, Any], store: Store, tmp_path: Path, accountant: str, shown: str
) -> None:
    metrics = {**METRICS, "achieved_epsilon": EPSILONS[f"achieved_epsilon_{accountant}"]}
    put(store, tmp_path / "dp", "dp_classifier-a", metrics)
    _private(document, "dp", "dp_classifier-a", "dp_classifier-a")
    note = f"Differential privacy of one training image: dp: {shown}, noise multiplier 1.62."
    assert _notes(document, store, "Differential") == [note]
    assert all(note in text for text in _everywhere(document, store))


def test_no_noise_is_no_guarantee_and_what_is_not_there_is_not_guessed(
    document: dict[str, Any], store: Store, tmp_path: Path
) -> None:
    reason = "no noise was added (epsilon: null), so there is no guarantee"
    free = {"noise_multiplier": 0.0, "steps": 300.0}
    put(store, tmp_path / "dp", "dp_classifier-a", free, notes={"achieved_epsilon": reason})
    _private(document, "dp+epsilon_inf", "dp_classifier-a", "dp_classifier-a")
    _private(document, "dp", "dp_classifier-not-run", "dp_classifier-not-run")
    assert _notes(document, store, "Differential") == [
        f"Differential privacy of one training image: dp+epsilon_inf: {reason}, noise multiplier 0."
    ]


def test_other_targets_have_no_such_note(document: dict[str, Any], store: Store) -> None:
    assert _notes(document, store, "Differential") == []


def test_the_papers_tables_say_it_too(document: dict[str, Any], store: Store, tmp_path: Path) -> None:
    put(store, tmp_path / "dp", "dp_classifier-a", {**METRICS, "achieved_epsilon": 7.9912})
    _private(document, "dp", "dp_classifier-a", "dp_classifier-a")
    document["spec"] = {"paper": "table2"}
    (paper,) = read_report(document, store).papers
    assert any("dp: epsilon 7.99 at delta 0.00714" in note for note in paper.notes)
