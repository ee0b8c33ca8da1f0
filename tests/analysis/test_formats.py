from __future__ import annotations

import csv as csv_reader
import io
import re
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from analysis.formats import csv, escape_latex, latex, markdown
from analysis.page import html
from analysis.report import Report, read_report
from analysis.rows import ComparisonRow, LabelRow, columns
from analysis.terminal import terminal
from analysis.wording import INTERVALS, RATES, WIDE, interval, number, percent, seconds
from grid.store import Store


@pytest.fixture
def report(document: dict[str, Any], store: Store) -> Report:
    return read_report(document, store)


def _screen(report: Report, width: int = 120) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(terminal(report.rows, report.remarks, report.failures, width=width))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_csv_holds_fractions_and_empty_cells(report: Report) -> None:
    rows = list(csv_reader.DictReader(io.StringIO(csv(report.rows))))
    assert list(rows[0]) == list(columns(ComparisonRow))
    assert rows[0]["aa_top1"] == "0.375"
    assert rows[0]["mc_all"] == "0.875"
    assert rows[0]["fid_inception"] == ""
    assert rows[1]["defense"] == "gan_id+replay"
    assert rows[2]["aa_top1"] == ""


def test_csv_without_rows_has_its_header() -> None:
    assert csv([], LabelRow) == ",".join(columns(LabelRow)) + "\n"


def test_terminal_fits_120_columns(report: Report) -> None:
    text = _screen(report)
    assert max(map(len, text.splitlines())) <= 120
    assert "…" not in text
    for expected in ("gan_id+replay", "37.5", "87.5", "12.5", "–", "orl · vgg16_bn · 2 labels · 1 seed"):
        assert expected in text


def test_terminal_survives_the_widest_numbers(report: Report) -> None:
    """Nothing is cut off at 120 columns, and an ordinary name stands in one line."""
    wide = dict.fromkeys(("aa_top1", "aa_top5", "aa_top1_second", "aa_top5_second", "mc_all", "mc_target"), 1.0)
    lows, highs = {f"{name}_low": 0.8765 for name in wide}, {f"{name}_high": 1.0 for name in wide}
    rates: dict[str, Any] = {**wide, **lows, **highs}
    others: dict[str, Any] = dict.fromkeys(("feat_mean_sqdist", "frechet_evaluator", "knn_sqdist"), 12345.6)
    row = replace(report.rows[1], **rates, **others, passes=1234567.0, attack_seconds=6000.0)
    text = _screen(Report((row,), (), (), (), ()))
    assert "…" not in text
    assert text.count("87.6–100.0") == 6
    assert "100.0 min" in text
    assert any(line.startswith("gan_id+replay ") for line in text.splitlines())
    assert max(map(len, text.splitlines())) <= 120


def test_mc_all_has_its_interval_wherever_it_is_shown(report: Report) -> None:
    """7 of 8 by Wilson."""
    assert "| 87.5 [52.9–97.8] |" in markdown(report.rows)
    assert "87.5 [52.9--97.8]" in latex(report.rows)
    assert "<td>87.5<small>52.9–97.8</small></td>" in html("x", report.rows)
    for width in (80, 120):
        assert "52.9–97.8" in _screen(report, width)


def test_the_note_on_intervals_promises_what_there_is(report: Report) -> None:
    """A column that the note gives an interval has one, and the other way round."""
    with_interval = {column.heading for column in WIDE if any(column.text(row)[1] for row in report.rows)}
    assert with_interval == {column.heading for column in RATES}
    assert "AA and MC l_t by a bootstrap clustered by label" in INTERVALS
    assert "MC all by Wilson over the test images where the row has one target" in INTERVALS
    assert INTERVALS.endswith("target conf. has none.")


def test_the_second_evaluator_is_marked(report: Report) -> None:
    for text in (_screen(report), markdown(report.rows, report.remarks)):
        assert "† second evaluator: used for selection" in text


def test_chance_level_is_named_and_missing_cells_too(report: Report) -> None:
    text = " ".join(_screen(report, 400).split())
    assert "top-1 1/4 = 25.0%" in text
    assert "missing: orl / vgg16_bn / gan_id+replay / gmi: evaluate of label 5 failed" in text
    assert "evaluate-gan_id+replay5" in text
    assert "ValueError: loss is nan" in text
    assert "evaluate of label 3, 5 not run (evaluate-l_pri3, evaluate-l_pri5)" in text
    assert "fid_inception: no weights given or found" in text


def test_the_place_of_a_log_is_told_on_the_terminal_only(report: Report, store: Store) -> None:
    assert f"log of stage gmi-gan_id+replay5: {store.location}" in " ".join(_screen(report, 400).split())
    files = markdown(report.rows, report.remarks) + latex(report.rows, report.remarks)
    assert store.location not in files.replace("\\", "")


def test_an_attack_that_did_not_converge_is_warned_of(report: Report) -> None:
    warnings = [remark.text for remark in report.remarks if remark.kind == "warning"]
    assert warnings == [
        "orl / vgg16_bn / gan_id+replay / gmi: target conf. 50.0%: "
        "the attack did not converge on the target; a low AA is not yet evidence"
    ]
    assert "warning: orl" in _screen(report)


def test_markdown_is_one_table_with_defense_first(report: Report) -> None:
    lines = markdown(report.rows, report.remarks).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + 3
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1
    assert table[0].startswith("| defense | attack | AA top-1 |")
    assert table[2].startswith("| none | gmi | 37.5 [25.0–50.0] |")
    assert table[4].startswith(r"| l\_pri | gmi | – |")


def test_markdown_escapes_bars(report: Report) -> None:
    row = replace(report.rows[0], defense="a|b")
    assert r"| a\|b |" in markdown([row])


def test_latex_escapes_names(report: Report) -> None:
    text = latex(report.rows, report.remarks)
    assert r"l\_pri & gmi & --" in text
    assert r"gan\_id+replay & gmi & 0.0 [0.0--" in text
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1
    body = "".join(line for line in text.splitlines() if not line.startswith("%"))
    assert body.isascii() or "é" in body
    assert not re.search(r"(?<!\\)[_#]", body)


def test_escape_latex_of_every_special_character() -> None:
    assert escape_latex(r"a_b%c&d#e$f{g}h~i^j\k") == (
        r"a\_b\%c\&d\#e\$f\{g\}h\textasciitilde{}i\textasciicircum{}j\textbackslash{}k"
    )


def test_html_is_self_contained_and_escaped(report: Report) -> None:
    row = replace(report.rows[0], defense="<script>alert(1)</script>")
    text = html("demo <1>", [row], report.remarks, pictures={"faces gmi": b"png"}, protocol=["p >= 0.9"])
    assert "<script" not in text
    assert "demo &lt;1&gt;" in text
    assert "p &gt;= 0.9" in text
    assert 'src="data:image/png;base64,cG5n"' in text
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    assert "http" not in text


def test_datasets_get_a_table_each(report: Report) -> None:
    other = replace(report.rows[0], dataset="celeba")
    assert markdown([*report.rows, other]).count("### ") == 2
    assert html("x", [*report.rows, other]).count("<table>") == 2


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (percent(None), "–"),
        (percent(0.4754), "47.5"),
        (interval(0.381, 0.57), "38.1–57.0"),
        (interval(None, None), ""),
        (number(None), "–"),
        (number(0.0), "0"),
        (number(0.012345), "0.0123"),
        (number(1234.5), "1234"),
        (number(19200.0), "19.2k"),
        (number(2.5e6), "2.5M"),
        (seconds(None), "–"),
        (seconds(4.25), "4.25 s"),
        (seconds(150.0), "2.5 min"),
    ],
)
def test_how_numbers_read(shown: str, expected: str) -> None:
    assert shown == expected
