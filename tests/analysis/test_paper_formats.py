"""The paper's tables as Markdown, LaTeX, CSV, picture and on a terminal, and when a report has them."""

from __future__ import annotations

import csv
import io
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from analysis.paper_formats import paper_csv, paper_files, paper_latex, paper_markdown
from analysis.paper_layout import PaperTable
from analysis.paper_picture import _layout as picture_layout
from analysis.paper_picture import _width as picture_width
from analysis.paper_picture import paper_pictures
from analysis.paper_tables import TABLES, table_1, table_2, table_4
from analysis.paper_terminal import paper_terminal
from analysis.report import read_report, render, write_report
from analysis.terminal import terminal
from grid.store import Store
from tests.analysis.paper_grid import PaperGrid, celeba, rates


@pytest.fixture(scope="module")
def table() -> PaperTable:
    grid = celeba()
    return table_2(grid.document, grid.rows)


@pytest.fixture(scope="module")
def small() -> PaperTable:
    """One line; AA of GAN-ID unmeasured, of the original not converged; a name that is no formula and no HTML."""
    grid = PaperGrid()
    grid.add("none", "dmi", **rates(0.25, conf=0.5))
    grid.add("gan_id|<b>$x__1$", "dmi", kind="gan_id", settings={"replay": 1.0}, **rates(0.125))
    grid.add("gan_id", "dmi", cells_missing=3)
    return table_2(grid.document, grid.rows)


def screen(table: PaperTable, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(paper_terminal(table, width=width))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def markdown_tables(text: str) -> list[list[list[str]]]:
    """The cells of each table."""
    found: list[list[list[str]]] = [[]]
    for line in text.splitlines():
        if line.startswith("|"):
            found[-1].append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif found[-1]:
            found.append([])
    return [lines for lines in found if lines]


def test_markdown_has_the_papers_columns_then_interval_top5_and_confidence(table: PaperTable) -> None:
    papers, beside = markdown_tables(paper_markdown(table))
    assert {len(line) for line in papers} == {2 + 4 * 7}
    assert papers[0][:5] == [
        "dataset",
        "attack",
        "Original · MC(all)",
        "Original · AA",
        "Original · FID (eq. 13)",
    ]
    assert papers[0][-4:] == [
        r"gan\_id+replay · AA",
        r"gan\_id+replay · MC(all)",
        r"gan\_id+replay · MC(l\_t)",
        r"gan\_id+replay · FID (eq. 13)",
    ]
    assert papers[2][:4] == ["CelebA", "DMI", "86.0 (87.46)¹", "25.0 (52)"]
    assert beside[0] == ["dataset", "attack", "column", "AA [95%]", "AA top-5", "target conf."]
    assert beside[2] == ["CelebA", "DMI", "Original", "25.0 [20.0–30.0]", "45.0", "99.0"]
    assert len(beside) == 2 + 2 * 5 * 7


def test_markdown_has_every_footnote_once(table: PaperTable) -> None:
    text = paper_markdown(table)
    assert [text.count(f"- {mark} ") for mark in "¹²³⁴⁵"] == [1, 1, 1, 1, 0]
    assert len(table.footnotes) == 4
    assert "no Fréchet inception distance" in text


def test_markdown_of_what_is_missing(small: PaperTable) -> None:
    text = paper_markdown(small)
    papers, beside = markdown_tables(text)
    line = dict(zip(papers[0], papers[2], strict=True))
    assert line["Original · AA"] == r"25.0\* (52)"
    assert line["GAN-ID · AA"] == "– (0)"
    assert line["DP · FID (eq. 13)"] == "– (101)"
    assert line[r"gan\_id\|\<b>$x\_\_1$ · AA"] == "12.5"
    assert [line[2] for line in beside[2:]] == ["Original", "GAN-ID", r"gan\_id\|\<b>$x\_\_1$"], (
        "no lines without a row"
    )
    assert beside[3][3:] == ["–", "–", "–"]


def test_csv_holds_fractions_the_papers_too(small: PaperTable) -> None:
    lines = list(csv.DictReader(io.StringIO(paper_csv(small))))
    assert list(lines[0]) == [
        *("dataset", "victim", "attack", "column", "defense"),
        *("aa_top1", "mc_all", "mc_target", "feat_mean_sqdist"),
        *("paper_aa_top1", "paper_mc_all", "paper_mc_target", "paper_feat_mean_sqdist"),
        *("aa_top1_low", "aa_top1_high", "aa_top5", "target_confidence", "missing", "footnotes"),
    ]
    assert [line["column"] for line in lines] == ["Original", "DP", "Ad-mi", "GAN-D", "GAN-ID", "gan_id|<b>$x__1$"]
    first = lines[0]
    assert (first["dataset"], first["attack"], first["defense"]) == ("celeba", "dmi", "none")
    assert (first["aa_top1"], first["paper_aa_top1"], first["paper_mc_all"]) == ("0.25", "0.52", "0.8746")
    assert (first["paper_mc_target"], first["paper_feat_mean_sqdist"]) == ("", "108.0")
    assert (first["aa_top1_low"], first["aa_top5"], first["target_confidence"]) == ("0.2", "0.45", "0.5")
    assert first["footnotes"].startswith("The paper's heading is MC(l_t)")
    assert (lines[4]["aa_top1"], lines[4]["missing"]) == ("", "3 of 20")
    assert (lines[1]["defense"], lines[1]["aa_top1"]) == ("", "")


def test_csv_of_table_1() -> None:
    grid = celeba()
    text = paper_csv(table_1(grid.document, grid.rows))
    assert text.splitlines()[:2] == [
        "model,dataset,victim,accuracy,paper_accuracy,missing,footnotes",
        "Victim model,celeba,vgg16_bn,0.86,0.8746,,",
    ]


def test_latex_groups_columns(table: PaperTable) -> None:
    text = paper_latex(table)
    lines = text.splitlines()
    body = lines[lines.index(r"\toprule") : lines.index(r"\bottomrule") + 1]
    assert body[1].count(r"\multicolumn{4}{c}") == 7
    assert body[2].startswith(r"\cmidrule(lr){3-6} \cmidrule(lr){7-10}")
    assert body[2].endswith(r"\cmidrule(lr){27-30}")
    assert {line.count("&") for line in body if "&" in line and "multicolumn" not in line} == {2 + 28 - 1}
    assert body.count(r"\midrule") == 2, "below the headings and between the datasets"
    assert r"86.0 (87.46)\textsuperscript{1} & 25.0 (52)" in text
    assert r"MC($l_{t}$)" in text
    for opened, closed in (("{", "}"), (r"\begin", r"\end")):
        counts = {len(re.findall(rf"(?<!\\){re.escape(token)}", text)) for token in (opened, closed)}
        assert len(counts) == 1
    assert not re.search(r"(?<![\\$}A-Za-z])_(?!\{)", text), "a bare underscore"


def test_latex_escapes_and_has_terms_as_formulas(small: PaperTable) -> None:
    grid = celeba()
    terms = paper_latex(table_4(grid.document, grid.rows))
    for heading in (r"{$L_{pri}$}", r"{$L_{pri}$ + $L_{pub}$}", r"{GAN-D($L_{CE}$)}", r"{GAN-D($L_{FL}$)}"):
        assert heading in terms
    text = paper_latex(small)
    assert r"gan\_id|\textless{}b\textgreater{}\$x\_\_1\$" in text
    assert "-- (0)" in text
    assert not set("⁰¹²³⁴⁵⁶⁷⁸⁹–·") & set(text)


@pytest.mark.parametrize("width", [80, 100, 120])
def test_terminal_fits(table: PaperTable, width: int) -> None:
    text = screen(table, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for expected in ("86.0", "(87.46)¹", "25.0", "(52)", "GAN-ID", "ad_mi stripped", "(168)²"):
        assert expected in text
    assert ("[20.0–30.0]" in text) == (width >= 112)
    body = text[text.index("CelebA") : text.index("AA: share")]
    places = [body.index(name) for name in ("Original", "DP", "Ad-mi", "GAN-D", "GAN-ID", "ad_mi stripped")]
    assert places == sorted(places)


def test_pictures_are_equal_the_second_time_and_whole(small: PaperTable) -> None:
    first, second = paper_pictures([small]), paper_pictures([small])
    assert list(first) == ["table2.png", "table2.svg"]
    assert first == second
    pixels = np.asarray(Image.open(io.BytesIO(first["table2.png"])).convert("L"))
    inside = pixels[12:-12, 12:-12]
    assert (pixels < 255).sum() == (inside < 255).sum() > 1000, "something touches the edge"
    root = ET.fromstring(first["table2.svg"])
    assert root.tag.endswith("svg")
    assert b"<dc:date>" not in first["table2.svg"]


def test_columns_of_the_picture_do_not_overlap() -> None:
    grid = celeba()
    grid.add("gan_id+no_l_pub+no_l_cl+unlikelihood+rounds10", "dmi", settings={"replay": 1.0}, **rates(0.1))
    table = table_2(grid.document, grid.rows)
    layout = picture_layout(table)
    left = layout.names[-1] + max(picture_width(line.names[1], 9.0) for line in table.lines)
    for edge, (i, metric) in zip(layout.edges, table.columns, strict=True):
        cells = [line.cells[i] for line in table.lines]
        texts = [(c.ours(metric), 9.0) for c in cells] + [(c.papers(metric), 7.5) for c in cells]
        widest = max(picture_width(*text) for text in texts)
        assert edge - widest >= left + 8
        left = edge
    for start, end, group in zip(layout.starts, layout.ends, table.groups, strict=True):
        assert end - start >= picture_width(group.heading, 9.0) - 1e-9
    assert layout.width > layout.ends[-1]


def test_only_the_formats_asked_for(table: PaperTable) -> None:
    assert list(paper_files([table], ["csv", "html"])) == ["table2.csv"]
    assert list(paper_files([table], ["table", "markdown", "latex", "csv"])) == [
        "table2.md",
        "table2.csv",
        "table2.tex",
    ]
    assert paper_files([], ["csv"]) == {}


def test_a_table_without_lines_can_be_written() -> None:
    grid = PaperGrid()
    for make in TABLES.values():
        empty = make(grid.document, grid.rows)
        assert paper_markdown(empty)
        assert paper_latex(empty)
        assert paper_csv(empty)
        assert screen(empty, 100)
    assert len(paper_pictures([table_1(grid.document, grid.rows)])) == 2


def test_a_report_writes_the_tables_that_the_spec_names(document: dict[str, Any], store: Store, tmp_path: Path) -> None:
    plain = write_report(document, store, tmp_path / "plain")
    document["spec"] = {"paper": ["table2", "table1"]}
    names = {f"{stem}.{suffix}" for stem in ("table2", "table1") for suffix in ("md", "csv", "tex", "png", "svg")}
    files = write_report(document, store, tmp_path / "named")
    assert names <= set(files)
    assert not names & set(plain)
    again = write_report(document, Store(store.location), tmp_path / "again")
    assert all(files[name].read_bytes() == again[name].read_bytes() for name in names)
    (first, *_) = csv.DictReader(files["table2.csv"].read_text().splitlines())
    assert (first["dataset"], first["attack"], first["column"], first["aa_top1"]) == ("orl", "gmi", "Original", "0.375")
    assert first["paper_aa_top1"] == ""
    assert files["table.csv"].read_bytes() == plain["table.csv"].read_bytes()


def test_a_report_shows_them_where_it_is_read(document: dict[str, Any], store: Store) -> None:
    document["spec"] = {"paper": "table3"}
    report = read_report(document, store)
    assert [paper.name for paper in report.papers] == ["table3"]
    for format_, there in (("markdown", "### Table III: "), ("latex", r"\label{tab:table3}"), ("html", ">table3<")):
        assert there in render(document, store, format_)
    assert render(document, store, "csv").startswith("dataset,victim,defense"), "one rectangle, as it was"
    console = Console(width=120, file=io.StringIO(), color_system=None)
    console.print(terminal(report.rows, report.remarks, report.failures, papers=report.papers))
    assert isinstance(console.file, io.StringIO)
    assert "Table III: " in console.file.getvalue()
