"""The notes below the paper's tables: what is not the paper's, what is one measurement, how much numbers rest on."""

from __future__ import annotations

from typing import Any

import pytest

from analysis.paper_tables import paper_tables, table_1, table_2, table_3, table_4, table_5
from tests.analysis.paper_grid import PaperGrid, rates


def small(dataset: str = "orl") -> PaperGrid:
    grid = PaperGrid()
    for name in ("none", "gan_d", "gan_id"):
        grid.add(name, "dmi", dataset=dataset, **rates(0.25))
    return grid


@pytest.mark.parametrize("make", [table_3, table_4, table_5])
def test_the_undefended_victim_is_in_the_paper_though_not_in_every_table(make: Any) -> None:
    grid = small()
    notes = " ".join(make(grid.document, grid.rows).notes)
    assert "Not in this table of the paper: none" in notes
    assert "Not in the paper: none" not in notes


def test_counts_have_the_tables_own_names() -> None:
    grid = small()
    assert (
        "ORL: 20 protected labels, 1 seed, up to 160 attack images behind an AA."
        in table_2(grid.document, grid.rows).notes
    )
    assert "ORL: 20 protected labels, 1 seed." in table_1(grid.document, grid.rows).notes
    grid.add("none", "dmi", dataset="orl", victim="resnet", **{**rates(0.1), "labels": 3})
    notes = table_2(grid.document, grid.rows).notes
    assert [note.partition(" protected")[0] for note in notes if note.startswith("ORL")] == [
        "ORL · vgg16_bn: 20",
        "ORL · resnet: 3",
    ]


def test_columns_that_are_one_measurement_are_named() -> None:
    """Privacy has no GAN: a defender who knows that knows no more than one who does not."""
    grid = PaperGrid()
    for attack in ("privacy", "dmi"):
        grid.add("none", attack, evaluated=[f"{attack}-0", f"{attack}-1"], **rates(0.5))
        grid.add("ad_mi stripped", attack, output="stripped", evaluated=[f"{attack}-0", f"{attack}-1"], **rates(0.5))
        grid.add("gan_d", attack, evaluated=["d-0" if attack == "dmi" else "id-0", "x"], **rates(0.1))
        grid.add("gan_id", attack, evaluated=["id-0", "x"], **rates(0.1))
    (note,) = [note for note in table_2(grid.document, grid.rows).notes if "same measurement" in note]
    assert note == (
        "One and the same measurement, shown in each of its columns: Original and ad_mi stripped (CelebA / DMI, "
        "CelebA / Privacy); GAN-D and GAN-ID (CelebA / Privacy)."
    )
    apart = small()
    assert not any("same measurement" in note for note in table_2(apart.document, apart.rows).notes)


def test_notes_on_defenses_stand_below_tables_of_defenses() -> None:
    grid = small()
    grid.spec = {"paper": ["table1", "table2"]}
    first, second = paper_tables(grid.document, grid.rows, ["dp: epsilon 8"])
    assert "dp: epsilon 8" not in first.notes
    assert second.notes[-1] == "dp: epsilon 8"
