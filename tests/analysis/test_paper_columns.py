"""Tables II-VI: which row of a grid is which column of the paper."""

from __future__ import annotations

from typing import Any

import pytest

from analysis.paper_columns import SLOTS, Defended
from analysis.paper_layout import MC_ALL
from analysis.paper_tables import table_2, table_3, table_4, table_5, table_6
from tasks.defenses.dp import DP
from tasks.defenses.gan_d import GAND
from tasks.defenses.gan_id import GANID
from tests.analysis.paper_grid import PaperGrid, cell, headings, rates, rows_of

TERMS: dict[str, dict[str, Any]] = {
    "replayed": {"replay": 1.0},
    "literal": {"lpri": "literal"},
    "two rounds": {"rounds": 2},
    "fakes of two GANs": {"more_gans": "stylegan"},
    "a sampled Fisher": {"fisher": "sampled"},
    "no l_pub": {"beta": 0.0},
    "focal": {},
    "ce": {"gamma": 0.0},
    "with l_pub": {"omega": 0.0},
    "l_pri only": {"beta": 0.0, "lambda3": 0.0},
}


@pytest.mark.parametrize(("make", "kind", "shown"), [(table_4, "gan_d", "GAN-D"), (table_5, "gan_id", "GAN-ID")])
def test_loss_terms_are_told_by_settings(make: Any, kind: str, shown: str) -> None:
    grid = PaperGrid()
    for name, settings in TERMS.items():
        for other in ("gan_d", "gan_id"):
            grid.add(f"{name} {other}", "dmi", kind=other, settings=settings, **rates(0.1))
    assert rows_of(make(grid.document, grid.rows)) == {
        "L_pri": f"l_pri only {kind}",
        "L_pri + L_pub": f"with l_pub {kind}",
        f"{shown}(L_CE)": f"ce {kind}",
        f"{shown}(L_FL)": f"focal {kind}",
    }
    assert len(headings(make(grid.document, grid.rows), ours=True)) == 2 * len(TERMS) - 4


def test_cross_entropy_has_one_form_whatever_l_pri_is_called() -> None:
    for lpri, there in (("ce", True), ("literal", True), ("detached", True), ("unlikelihood", False)):
        grid = PaperGrid()
        grid.add("row", "dmi", kind="gan_id", settings={"gamma": 0.0, "lpri": lpri}, **rates(0.1))
        assert rows_of(table_5(grid.document, grid.rows))["GAN-ID(L_CE)"] == ("row" if there else "")


def test_table_3_has_random_fakes_first() -> None:
    grid = PaperGrid()
    for name in ("none", "gan_id", "gan_d", "random_fakes"):
        grid.add(name, "dmi", **rates(0.1))
    table = table_3(grid.document, grid.rows)
    assert rows_of(table) == {"Random fake samples": "random_fakes", "GAN-D": "gan_d", "GAN-ID": "gan_id"}
    assert headings(table, ours=True) == ["none"]
    assert cell(table, ("CelebA", "DMI"), "GAN-D").text(MC_ALL) == "80.0 (86.54)¹"


def test_table_6_is_told_by_the_gan() -> None:
    grid = PaperGrid()
    for gan in ("stylegan", "wgan", "cgan", "infogan"):
        grid.add(f"gan_id {gan}", "dmi", kind="gan_id", settings={"gan": gan}, **rates(0.1))
    grid.add("gan_d", "dmi", settings={"gan": "cgan"}, **rates(0.1))
    grid.add("none", "dmi", **rates(0.5))
    table = table_6(grid.document, grid.rows)
    assert rows_of(table) == {
        "Original": "none",
        "InfoGAN": "gan_id infogan",
        "CGAN": "gan_id cgan",
        "WGAN": "gan_id wgan",
    }
    assert headings(table, ours=True) == ["gan_id stylegan", "gan_d"]
    assert rows_of(table_2(grid.document, grid.rows))["GAN-ID"] == "gan_id wgan", "the paper's substitute"


@pytest.mark.parametrize(
    "settings",
    [
        {"pretraining": "public"},
        {"epsilon": None},
        {"epsilon": 1.0},
        {"layers": "head"},
        {"max_grad_norm": None},
    ],
)
def test_only_the_papers_dp_is_in_its_column(settings: dict[str, Any]) -> None:
    plain = {"pretraining": "none", "epsilon": 8.0, "layers": "all", "max_grad_norm": 1.0}
    grid = PaperGrid()
    grid.add("DP otherwise", "dmi", kind="dp", settings={**plain, **settings}, **rates(0.1))
    table = table_2(grid.document, grid.rows)
    assert rows_of(table)["DP"] == ""
    assert headings(table, ours=True) == ["DP otherwise"]
    grid.add("dp", "dmi", settings=plain, **rates(0.2))
    assert rows_of(table_2(grid.document, grid.rows))["DP"] == "dp"


def test_ad_mi_stripped_is_never_the_papers_column() -> None:
    """The paper runs every attack through the noise; what a white-box attacker strips is another question."""
    grid = PaperGrid()
    grid.add("ad_mi stripped", "dmi", output="stripped", **rates(0.5))
    table = table_2(grid.document, grid.rows)
    assert rows_of(table)["Ad-mi"] == ""
    assert headings(table, ours=True) == ["ad_mi stripped"]
    grid.add("noisy", "dmi", kind="ad_mi", output="through, bpda gradients", **rates(0.1))
    assert rows_of(table_2(grid.document, grid.rows))["Ad-mi"] == "noisy"


def test_of_several_that_fit_the_one_named_as_its_kind_is_taken() -> None:
    grid = PaperGrid()
    for name in ("gan_id strong", "gan_id", "gan_id weak"):
        grid.add(name, "dmi", kind="gan_id", settings={"alpha": 3.0}, **rates(0.1))
    table = table_2(grid.document, grid.rows)
    assert rows_of(table)["GAN-ID"] == "gan_id"
    assert headings(table, ours=True) == ["gan_id strong", "gan_id weak"]


def test_old_records_are_told_by_their_names() -> None:
    grid = PaperGrid({"dataset": "orl"})
    grid.add("none", "dmi", dataset="orl", **rates(0.5))
    grid.add("gan_id", "dmi", dataset="orl", **rates(0.1))
    grid.add("gan_id+replay", "dmi", dataset="orl", settings={"replay": 1.0}, **rates(0.1))
    grid.add("ad_mi through", "dmi", dataset="orl", **rates(0.1))
    grid.add("ad_mi stripped", "dmi", dataset="orl", **rates(0.1))
    for about in grid.about:
        for name in ("defense_kind", "attack_kind", "output"):
            del about[name]
    table = table_2(grid.document, grid.rows)
    assert rows_of(table) == {"Original": "none", "DP": "", "Ad-mi": "ad_mi through", "GAN-D": "", "GAN-ID": "gan_id"}
    assert headings(table, ours=True) == ["gan_id+replay", "ad_mi stripped"]
    assert table.lines[0].names == ("ORL", "DMI")


def test_old_records_of_a_renamed_defense_are_told_by_the_spec() -> None:
    """`l_pri only` is no kind, and the spec says whose name it is."""
    defenses = ["none", {"name": "gan_id", "as": "l_pri only", "beta": 0, "omega": 0}, {"name": "ad_mi", "as": "noise"}]
    grid = PaperGrid({"defenses": defenses})
    grid.add("none", "dmi", **rates(0.5))
    grid.add("l_pri only", "dmi", settings={"beta": 0.0, "omega": 0.0}, **rates(0.1))
    grid.add("noise through", "dmi", output="through, bpda gradients", **rates(0.1))
    for about in grid.about:
        del about["defense_kind"]
    assert rows_of(table_5(grid.document, grid.rows))["L_pri"] == "l_pri only"
    assert rows_of(table_2(grid.document, grid.rows))["Ad-mi"] == "noise through"


def test_settings_that_a_record_leaves_out_are_the_defenses_own_defaults() -> None:
    """Each column fits a defense without settings as it fits one with all of them."""
    for kind, defense in (("gan_id", GANID), ("gan_d", GAND), ("dp", DP)):
        whole = {name: value for name, value in defense().model_dump().items() if not isinstance(value, dict)}
        bare = [Defended("x", kind, settings, "", 0) for settings in ({}, whole)]
        fits = [{(table, s.column) for table, slots in SLOTS.items() for s in slots if s.fits(d)} for d in bare]
        assert fits[0] == fits[1] != set()
