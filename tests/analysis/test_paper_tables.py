"""Tables I-VI: in what order lines and columns are, and what stands beside the paper's."""

from __future__ import annotations

import random
from dataclasses import fields

from analysis.paper_layout import AA, ACCURACY, FID, MC_ALL, MC_TARGET
from analysis.paper_tables import TABLES, paper_tables, table_1, table_2, table_4
from analysis.paper_values import PAPER, Place
from analysis.rows import ComparisonRow
from tests.analysis.paper_grid import PaperGrid, celeba, cell, headings, rates


def test_table_2_is_in_the_papers_order_whatever_the_grids() -> None:
    grid = celeba()
    table = table_2(grid.document, grid.rows)
    assert headings(table) == ["Original", "DP", "Ad-mi", "GAN-D", "GAN-ID"]
    assert headings(table, ours=True) == ["ad_mi stripped", "gan_id+replay"]
    attacks = ["DMI", "Mirror", "Privacy", "AMI", "gmi"]
    assert [line.names for line in table.lines] == [(d, a) for d in ("CelebA", "ORL") for a in attacks]
    order = list(range(len(grid.rows)))
    random.Random(3).shuffle(order)
    mixed = PaperGrid(grid.spec, [grid.about[i] for i in order], [grid.rows[i] for i in order])
    again = table_2(mixed.document, mixed.rows)
    assert headings(again) == headings(table)
    assert {line.names: line.cells[:5] for line in again.lines} == {line.names: line.cells[:5] for line in table.lines}


def test_the_original_has_the_papers_columns_first() -> None:
    grid = celeba()
    first, second = table_2(grid.document, grid.rows).groups[:2]
    assert first.metrics == (MC_ALL, AA, FID, MC_TARGET)
    assert second.metrics == (AA, MC_ALL, MC_TARGET, FID)
    assert FID.heading == "FID (eq. 13)"
    assert FID.field == "feat_mean_sqdist"


def test_the_papers_value_stands_beside_ours_on_its_datasets_only() -> None:
    grid = celeba()
    table = table_2(grid.document, grid.rows)
    found = cell(table, ("CelebA", "Mirror"), "DP")
    assert [found.text(metric) for metric in (AA, MC_ALL, MC_TARGET, FID)] == [
        "35.0 (45)",
        "84.0 (56.82)",
        "100.0 (50)",
        "46 (103)",
    ]
    original = cell(table, ("CelebA", "DMI"), "Original")
    assert original.text(MC_ALL) == "86.0 (87.46)¹"
    assert original.text(MC_TARGET) == "100.0", "the paper prints none"
    assert table.footnotes[0].startswith("The paper's heading is MC(l_t)")
    assert all(not line.cells[i].paper for line in table.lines if line.names[0] == "ORL" for i in range(7))
    assert not any(c.paper for line in table.lines for c in line.cells[5:]), "columns that the paper has not"
    assert not any(c.paper for line in table.lines if line.names[1] == "gmi" for c in line.cells)


def test_every_printed_number_reaches_its_table() -> None:
    """A grid of all that the paper measured: each cell has the paper's, no more and no less."""
    for name, make in TABLES.items():
        grid = PaperGrid()
        attacks = ("dmi", "mirror", "privacy", "ami") if name not in ("table1", "table5") else ("dmi", "mirror")
        for dataset in ("vggface2", "celeba", "vggface") if name != "table3" else ("celeba",):
            for attack in attacks:
                grid.add("none", attack, dataset=dataset, **rates(0.5))
        table = make(grid.document, grid.rows)
        printed = [values for place, values in PAPER.items() if place.table == name]
        shown = [cell.paper for line in table.lines for cell in line.cells if cell.paper]
        assert sorted(map(str, shown)) == sorted(map(str, printed))
        first = PAPER[next(place for place in PAPER if place.table == name)]
        assert table.lines[0].cells[0].paper == first


def test_orl_has_no_paper_value_and_no_footnote() -> None:
    grid = PaperGrid()
    grid.add("none", "dmi", dataset="orl", **rates(0.5))
    for make in TABLES.values():
        table = make(grid.document, grid.rows)
        assert table.footnotes == ()
        assert not any(c.paper or c.marks for line in table.lines for c in line.cells)
        assert not any("In parentheses" in note for note in table.notes)


def test_what_is_missing_is_a_dash_and_never_0() -> None:
    grid = PaperGrid()
    grid.add("none", "dmi", **rates(0.0, target=0.0))
    grid.add("gan_id", "dmi", cells_missing=20)
    table = table_2(grid.document, grid.rows)
    assert cell(table, ("CelebA", "DMI"), "Original").ours(AA) == "0.0"
    for heading in ("DP", "GAN-ID"):
        assert cell(table, ("CelebA", "DMI"), heading).text(AA).startswith("– (")
    notes = " ".join(table.notes)
    assert "Not in this grid: DP, Ad-mi, GAN-D." in notes
    assert "CelebA / DMI / GAN-ID (20 of 20 cells missing)" in notes


def test_controls_stay_out() -> None:
    grid = PaperGrid()
    grid.add("none", "dmi", **rates(0.5))
    grid.add("none", "dmi untrained", attack_kind="dmi", control=True, **rates(0.05))
    table = table_2(grid.document, grid.rows)
    assert [line.names for line in table.lines] == [("CelebA", "DMI")]
    assert cell(table, ("CelebA", "DMI"), "Original").values["aa_top1"] == 0.5


def test_an_attack_that_did_not_converge_is_marked() -> None:
    grid = PaperGrid()
    grid.add("none", "dmi", **rates(0.5))
    grid.add("gan_id", "dmi", **rates(0.0, conf=0.79))
    table = table_2(grid.document, grid.rows)
    assert cell(table, ("CelebA", "DMI"), "GAN-ID").text(AA) == "0.0* (0)"
    assert cell(table, ("CelebA", "DMI"), "GAN-ID").text(MC_ALL) == "80.0 (86.65)"
    assert any(note.startswith("* target conf. below 80.0%") for note in table.notes)
    sure = PaperGrid()
    sure.add("gan_id", "dmi", **rates(0.0, conf=0.8))
    assert not any(note.startswith("*") for note in table_2(sure.document, sure.rows).notes)


def test_a_value_that_the_paper_left_out_is_a_dash_with_its_footnote() -> None:
    grid = PaperGrid()
    grid.add("gan_d+ce", "privacy", dataset="vggface", settings={"gamma": 0.0}, **rates(0.1, target=0.75))
    table = table_4(grid.document, grid.rows)
    found = cell(table, ("VGG-Face", "Privacy"), "GAN-D(L_CE)")
    assert (found.text(MC_TARGET), found.text(MC_ALL)) == ("75.0 (–)¹", "80.0 (80.75)")
    assert table.footnotes == ("The paper prints no value here.",)


def test_variants_of_an_attack_stand_beside_it_and_one_has_the_papers_number() -> None:
    grid = PaperGrid()
    for attack, kind in (
        ("mirror_bb", "mirror_bb"),
        ("ami private", "ami"),
        ("gmi", "gmi"),
        ("ami", "ami"),
        ("dmi", ""),
    ):
        grid.add("none", attack, attack_kind=kind or attack, **rates(0.5))
    table = table_2(grid.document, grid.rows)
    assert [line.names[1] for line in table.lines] == ["DMI", "AMI", "ami private", "mirror_bb", "gmi"]
    assert [bool(line.cells[0].paper) for line in table.lines] == [True, True, False, False, False]


def test_a_dataset_is_known_by_its_name_in_the_spec() -> None:
    grid = PaperGrid({"dataset": [{"name": "celeba", "as": "64 px"}, {"name": "folder", "as": "VGG-Face2"}]})
    for dataset in ("mine", "VGG-Face2", "64 px"):
        grid.add("none", "dmi", dataset=dataset, **rates(0.5))
    table = table_2(grid.document, grid.rows)
    assert [(line.names[0], line.cells[0].paper.get("aa_top1")) for line in table.lines] == [
        ("64 px", 52.0),
        ("VGG-Face2", 27.0),
        ("mine", None),
    ]


def test_victims_are_kept_apart() -> None:
    grid = PaperGrid()
    for victim in ("vgg16", "vgg16_bn"):
        grid.add("none", "dmi", victim=victim, **rates(0.5 if victim == "vgg16" else 0.25))
    table = table_2(grid.document, grid.rows)
    assert [(line.names[0], line.cells[0].values["aa_top1"]) for line in table.lines] == [
        ("CelebA · vgg16", 0.5),
        ("CelebA · vgg16_bn", 0.25),
    ]
    assert headings(table_1(grid.document, grid.rows)) == ["CelebA · vgg16", "CelebA · vgg16_bn"]


def test_table_1_is_models_by_dataset() -> None:
    grid = PaperGrid()
    grid.add("gan_id", "dmi", dataset="orl", **rates(0.1, mc=0.8))
    grid.add("none", "dmi", dataset="orl", **rates(0.5, mc=0.95))
    grid.add("gan_id", "dmi", dataset="vggface", **rates(0.1, mc=0.7))
    table = table_1(grid.document, grid.rows)
    assert headings(table) == ["VGG-Face", "ORL"]
    assert [[c.text(ACCURACY) for c in line.cells] for line in table.lines] == [
        ["– (82.41)", "95.0"],
        ["97.5 (84.74)", "97.5"],
        ["95.0", "95.0"],
    ]
    assert [line.names[0] for line in table.lines] == ["Victim model", "Evaluation model", "Second evaluation model"]


def test_the_spec_names_one_table_or_several() -> None:
    grid = celeba()
    for given, names in (("table2", ["table2"]), (["table6", "figure2", "table1"], ["table6", "table1"]), (None, [])):
        document = {**grid.document, "spec": {"paper": given}}
        assert [table.name for table in paper_tables(document, grid.rows)] == names
    assert paper_tables({**grid.document, "spec": {}}, grid.rows) == ()


def test_a_grid_without_rows_gives_empty_tables() -> None:
    grid = PaperGrid()
    for make in TABLES.values():
        assert all(not line.cells for line in make(grid.document, grid.rows).lines)


def test_measures_are_columns_of_table_csv() -> None:
    names = {field.name for field in fields(ComparisonRow)}
    grid = celeba()
    table = table_2(grid.document, grid.rows)
    assert {metric.field for metric in (*table.metrics, *table.extras)} <= names
    assert Place("table2", "celeba", "DMI", "gan_id") in PAPER
