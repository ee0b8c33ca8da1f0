"""The key `paper` of a spec: what it may name, that it changes no stage, and the files that a report writes for it."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest

from analysis.paper_tables import TABLES
from grid.commands import report_grid
from grid.places import document_name, open_store
from grid.spec_parser import PAPER
from tests.grid.specs import planned, problems, write

FILES = {f"table2.{suffix}" for suffix in ("md", "csv", "tex", "png", "svg")}


def reported(spec: str, records: Path, out: Path, *overrides: str) -> set[str]:
    """The names of the files of `decoygrid report SPEC --records DIR --out OUT`."""
    options: dict[str, Any] = {"store_uri": "unused", "records": records, "format_": "table", "out": out}
    assert report_grid(spec, overrides, **options, private=True, export=None) == 0
    return {path.name for path in out.iterdir()}


def test_every_table_can_be_named() -> None:
    assert set(TABLES) | {"figure2"} == set(PAPER)


@pytest.mark.parametrize("value", [None, [], "table1", "figure2", ["table1", "table6", "figure2"]])
def test_one_or_several_are_fine(tmp_path: Path, value: object) -> None:
    assert problems(tmp_path, paper=value) == ()
    assert planned(tmp_path, paper=value).document()["spec"]["paper"] == value


@pytest.mark.parametrize(
    ("value", "place", "message"),
    [
        (
            "table7",
            "paper",
            r"unknown table or figure of the paper 'table7'; did you mean 'table\d'\? choose one of: "
            "figure2, table1, table2, table3, table4, table5, table6$",
        ),
        (2, "paper", "unknown table or figure of the paper 2; choose one of: figure2"),
        (True, "paper", "unknown table or figure of the paper True"),
        (["table2", {"a": 1}], "paper[1]", r"names one of table1, .*, or is a list of them, but got \{'a': 1\}$"),
        ({"table2": 1}, "paper", r"names one of table1, .*, or is a list of them, but got \{'table2': 1\}$"),
        (["table2", "table2"], "paper", r"names one twice: \['table2', 'table2'\]"),
    ],
)
def test_what_it_may_not_name(tmp_path: Path, value: object, place: str, message: str) -> None:
    (found,) = problems(tmp_path, paper=value)
    assert found.place.endswith(f" {place}")
    assert re.match(message, found.message)


def test_it_changes_no_stage(tmp_path: Path) -> None:
    plain, named = planned(tmp_path), planned(tmp_path, paper="table2")
    assert set(plain.stages()) == set(named.stages())
    assert plain.document()["rows"] == named.document()["rows"]


def test_a_report_from_records_writes_them(tmp_path: Path) -> None:
    """A grid of which nothing has run: the tables are there, with dashes."""
    (tmp_path / "spec").mkdir()
    spec = write(tmp_path / "spec", paper="table2")
    records = open_store(str(tmp_path / "records"))
    records.write_document(document_name("small"), planned(tmp_path / "spec", paper="table2").document())
    assert reported(spec, tmp_path / "records", tmp_path / "out") >= FILES
    lines = list(csv.DictReader((tmp_path / "out" / "table2.csv").read_text().splitlines()))
    assert [(line["column"], line["defense"]) for line in lines] == [
        ("Original", "none"),
        ("DP", ""),
        ("Ad-mi", ""),
        ("GAN-D", ""),
        ("GAN-ID", "gan_id"),
    ]
    assert {line["aa_top1"] for line in lines} == {""}
    assert "| synthetic | gmi | – | – | – | – | – |" in (tmp_path / "out" / "table2.md").read_text()


def test_the_spec_at_hand_decides_and_not_the_records(tmp_path: Path) -> None:
    """Records from before the key can be shown as a table of the paper."""
    (tmp_path / "spec").mkdir()
    spec = write(tmp_path / "spec")
    records = open_store(str(tmp_path / "records"))
    records.write_document(document_name("small"), planned(tmp_path / "spec").document())
    assert not reported(spec, tmp_path / "records", tmp_path / "a") & FILES
    assert reported(spec, tmp_path / "records", tmp_path / "b", "paper=table2") >= FILES
    assert "table3.md" in reported(spec, tmp_path / "records", tmp_path / "c", "paper=[table3]")
