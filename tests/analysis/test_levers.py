"""Levers: which rows differ from an attack's first row in exactly one setting, and in what order they are drawn."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from analysis.comparison import compare
from analysis.levers import levers, levers_csv, levers_png
from analysis.records import read_records
from analysis.report import read_report
from analysis.rows import ComparisonRow
from grid.store import Store


@pytest.fixture
def base(document: dict[str, Any], store: Store) -> ComparisonRow:
    return compare(read_records(document, store))[0]


def about(kind: str, **settings: Any) -> dict[str, Any]:
    return {"undefended": True, "control": False, "attack_kind": kind, "attack_settings": {"threads": 1, **settings}}


def grid(base: ComparisonRow) -> tuple[dict[str, Any], list[ComparisonRow]]:
    """Steps 50 (the base), 10 and 100; another lambda; two changes at once; another attack; a control."""
    rows = {
        "gmi": (about("gmi", steps=50, lam=100.0, gan="wgan"), 0.4),
        "gmi 10": (about("gmi", steps=10, lam=100.0, gan="wgan"), 0.1),
        "gmi 100": (about("gmi", steps=100, lam=100.0, gan="wgan"), None),
        "gmi lam": (about("gmi", steps=50, lam=1.0, gan="wgan"), 0.2),
        "gmi both": (about("gmi", steps=10, lam=1.0, gan="wgan"), 0.3),
        "ami": (about("ami", vector="one_hot"), 0.05),
        "control": ({**about("gmi", steps=50, lam=100.0, gan="wgan", gan_steps=0), "control": True}, 0.05),
        "defended": ({**about("gmi", steps=20, lam=100.0, gan="wgan"), "undefended": False}, 0.0),
    }
    named = [replace(base, attack=name, aa_top1=value) for name, (_, value) in rows.items()]
    return {"rows": [described for described, _ in rows.values()]}, named


def test_one_setting_at_a_time_in_the_order_of_its_values(base: ComparisonRow) -> None:
    found = {(lever.attack, lever.setting): lever.points for lever in levers(*grid(base))}
    assert set(found) == {("gmi", "steps"), ("gmi", "lam")}
    assert [(point.value, point.row.attack) for point in found["gmi", "steps"]] == [
        (10, "gmi 10"),
        (50, "gmi"),
        (100, "gmi 100"),
    ]
    assert [point.value for point in found["gmi", "lam"]] == [1.0, 100.0]


def test_a_setting_that_the_base_leaves_at_its_default_is_a_lever_too(base: ComparisonRow) -> None:
    document = {"rows": [about("ami", vector="one_hot"), about("ami", vector="one_hot", decoder_copies=16)]}
    (lever,) = levers(document, [base, base])
    assert lever.setting == "decoder_copies"
    assert {point.value for point in lever.points} == {None, 16}


def test_csv_and_picture_hold_what_was_measured(base: ComparisonRow) -> None:
    found = levers(*grid(base))
    lines = list(csv.DictReader(io.StringIO(levers_csv(found))))
    measured = {(line["lever"], line["value"]): line["aa_top1"] for line in lines}
    assert measured["steps", "10"] == "0.1"
    assert measured["steps", "100"] == ""
    with Image.open(io.BytesIO(levers_png(found, chance=0.05))) as picture:
        assert picture.width > picture.height > 100


def test_a_grid_without_levers_has_none(base: ComparisonRow) -> None:
    assert levers({"rows": [about("gmi", steps=50)]}, [base]) == []


def test_victims_have_levers_of_their_own(base: ComparisonRow) -> None:
    document = {"rows": [about("gmi", steps=10), about("gmi", steps=20)] * 2}
    rows = [replace(base, victim=victim, attack=name) for victim in ("a", "b") for name in ("gmi", "gmi 20")]
    found = levers(document, rows)
    assert [lever.victim for lever in found] == ["a", "b"]
    assert all({point.row.victim for point in lever.points} == {lever.victim} for lever in found)
    with Image.open(io.BytesIO(levers_png(found, None))) as picture:
        assert picture.height > 300


def test_a_report_knows_the_chance_of_a_guess(document: dict[str, Any], store: Store) -> None:
    assert read_report(document, store).chance == 1 / 4
