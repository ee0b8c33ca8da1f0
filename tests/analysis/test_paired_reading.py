"""The paired table: what it says of few labels, of attacks that did not converge, and of rows that test nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from analysis.paired import PairedRow, paired_rows
from analysis.paired_markdown import paired_markdown
from analysis.records import read_records
from grid.store import Store
from tests.analysis.paired_grid import paired_grid

LABELS = range(5)
HITS = {("none", label, 0): [1, 1] for label in LABELS}
HITS |= {("gan_id", label, 0): [0, int(label == 1)] for label in LABELS}


def _top1(rows: list[PairedRow]) -> dict[str, PairedRow]:
    return {row.defense: row for row in rows if row.measure == "aa_top1"}


def _line(text: str, defense: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {defense} |")]
    return [part.strip() for part in line.strip("|").split("|")]


def test_the_text_says_what_five_labels_cannot_say(document: dict[str, Any], store: Store, tmp_path: Path) -> None:
    hits = {("none", label, 0): [1, 1] for label in range(5)}
    hits |= {("gan_id+replay", label, 0): [0, int(label == 1)] for label in range(5)}
    text = paired_markdown(paired_grid(document, store, tmp_path / "more", hits))
    assert "| gan\\_id+replay | gmi | 5 | 5 of 5 | 100.0 → 100.0 | -90.0 [" in text
    assert "| 0.0625 (0.0625) |" in text
    assert "With 5 labels the smallest p that the test can give at all is 0.0625." in text
    assert "too few labels to tell" in text
    assert "never that a defense has no effect" in text
    many = {(d, label, 0): [int(d == "none")] for d in ("none", "l_pri") for label in range(9)}
    text = paired_markdown(paired_grid(document, store, tmp_path / "most", many))
    assert "With 9 labels the smallest p that the test can give at all is 0.00391." in text
    assert "too few labels to tell" not in text


def test_an_attack_that_did_not_converge_is_marked(document: dict[str, Any], store: Store, tmp_path: Path) -> None:
    hits = {**HITS, **{("l_pri", label, 0): [0, 0] for label in LABELS}}
    rows = paired_grid(document, store, tmp_path / "more", hits, confidence={"gan_id": 0.8, "l_pri": 0.79})
    text = paired_markdown(rows)
    assert (_top1(rows)["l_pri"].undefended_confidence, _top1(rows)["l_pri"].defended_confidence) == (1.0, 0.79)
    assert _line(text, "l\\_pri")[4:6] == ["100.0 → 79.0", "-100.0\\*"]
    assert _line(text, "gan\\_id")[4] == "100.0 → 80.0"
    assert "*" not in "".join(_line(text, "gan\\_id"))
    assert "- \\* target conf. on the defended model (the second number) below 80.0%: the attack did not" in text
    assert "‡" not in text


def test_an_undefended_row_that_did_not_converge_is_marked(
    document: dict[str, Any], store: Store, tmp_path: Path
) -> None:
    """What an attack does not get from anyone, no defense can take from it."""
    low = paired_markdown(paired_grid(document, store, tmp_path / "more", HITS, confidence={"none": 0.25}))
    assert _line(low, "gan\\_id")[4] == "25.0 → 100.0"
    assert _line(low, "gan\\_id")[5].startswith("-90.0‡ [")
    assert "- ‡ target conf. on the undefended model (the first number) below 80.0%" in low
    assert "\\*" not in low
    other = Store(str(tmp_path / "both"))
    both = paired_markdown(paired_grid(document, other, tmp_path / "x", HITS, confidence={"none": 0.1, "gan_id": 0.2}))
    assert _line(both, "gan\\_id")[5].startswith("-90.0\\*‡ [")


def test_a_row_with_the_undefended_rows_cells_is_not_tested(
    document: dict[str, Any], store: Store, tmp_path: Path
) -> None:
    """A stripped wrapper leaves the victim itself: 0 by construction, and no test that Holm would have to pay for."""
    rows = paired_grid(document, store, tmp_path / "more", HITS, same={"ad_mi stripped": "none"})
    found = _top1(rows)
    stripped, real = found["ad_mi stripped"], found["gan_id"]
    assert (stripped.difference, stripped.p, stripped.p_holm, stripped.p_smallest) == (0.0, None, None, None)
    assert (stripped.same_as, stripped.method, stripped.rows_tested, stripped.pairs) == ("none", "", 0, 5)
    assert (real.p, real.p_holm, real.rows_tested, real.same_as) == (0.0625, 0.0625, 1, "")
    text = paired_markdown(rows)
    assert _line(text, "ad\\_mi stripped")[5:7] == ["0.0", "–"]
    assert "so a difference of 0 that tests nothing: ad\\_mi stripped as none (gmi)." in text
    assert "counts once" not in text


def test_rows_that_are_one_measurement_count_once(document: dict[str, Any], store: Store, tmp_path: Path) -> None:
    hits = {**HITS, **{("l_pri", label, 0): [1, int(label == 2)] for label in LABELS}}
    alone = _top1(paired_grid(document, store, tmp_path / "alone", hits))
    rows = paired_grid(document, Store(str(tmp_path / "s")), tmp_path / "twin", hits, same={"gan_d": "gan_id"})
    found = _top1(rows)
    assert {row.rows_tested for row in found.values()} == {2}
    assert [found[name].p_holm for name in ("gan_id", "l_pri")] == [alone[name].p_holm for name in ("gan_id", "l_pri")]
    assert (found["gan_d"].p, found["gan_d"].p_holm) == (found["gan_id"].p, found["gan_id"].p_holm) == (0.0625, 0.125)
    assert (found["gan_d"].same_as, found["gan_id"].same_as) == ("gan_id", "")
    assert "Holm's correction counts once: gan\\_d as gan\\_id (gmi)." in paired_markdown(rows)


def test_one_cell_of_its_own_makes_a_row_a_measurement(document: dict[str, Any], store: Store, tmp_path: Path) -> None:
    rows = {row["defense"]: row for row in document["rows"]}
    cells = [dict(cell) for cell in rows["none"]["cells"]]
    cells[1]["evaluate"] = rows["gan_id+replay"]["cells"][0]["evaluate"]
    document["rows"].append({**rows["l_pri"], "defense": "nearly", "cells": cells})
    nearly = _top1(paired_rows(read_records(document, store)))["nearly"]
    assert nearly.same_as == ""
    assert nearly.p is not None
