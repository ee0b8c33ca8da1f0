"""A grid's report: rows and remarks for the terminal, files for all else. Equal records give equal bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.comparison import compare, compare_labels
from analysis.faces_picture import attack_grid, pictures
from analysis.figure2 import Shown, figure2, figure2_pictures
from analysis.formats import csv, latex, markdown
from analysis.gans import GANRow, gan_pictures, gan_rows, gans_markdown
from analysis.levers import levers, levers_csv, levers_png
from analysis.page import html
from analysis.paired import PairedRow, paired_rows
from analysis.paired_markdown import paired_markdown
from analysis.paper_formats import paper_files, paper_latex, paper_markdown
from analysis.paper_layout import PaperTable
from analysis.paper_picture import paper_pictures
from analysis.paper_tables import paper_tables
from analysis.privacy_utility import points, privacy_utility_csv
from analysis.privacy_utility_picture import privacy_utility_pictures
from analysis.records import Document, Failure, Missing, read_records
from analysis.report_notes import privacy_notes, report_notes
from analysis.rows import ComparisonRow, LabelRow
from analysis.search_links import SearchLink, links_html, links_markdown
from analysis.wording import NONE_RAN, Remark, remarks
from grid.store import Store

FORMATS = ("table", "markdown", "latex", "csv", "html")


@dataclass(frozen=True)
class Report:
    """What a grid says so far: rows, the same by label, remarks, what is missing and which stages failed."""

    rows: tuple[ComparisonRow, ...]
    labels: tuple[LabelRow, ...]
    remarks: tuple[Remark, ...]
    missing: tuple[Missing, ...]
    failures: tuple[Failure, ...]
    gans: tuple[GANRow, ...] = ()
    chance: float | None = None  # AA top-1 of a guess, where all rows are of one dataset
    chances: Mapping[str, float] = field(default_factory=dict)  # the same by dataset
    paired: tuple[PairedRow, ...] = ()  # defended minus undefended, by label and seed
    papers: tuple[PaperTable, ...] = ()  # the paper's tables that the spec names
    searches: tuple[SearchLink, ...] = ()  # of the spec


def read_report(document: Document, store: Store, searches: Sequence[SearchLink] = ()) -> Report:
    """Read a grid's records and pool them. Never fails on stages that are missing; they are named.

    Of a spec that was searched and not run there is nothing to pool, and no row.
    """
    records = read_records(document, store)
    rows = compare(records)
    if searches and all(row.cells_missing == row.cells for row in rows):
        failed = [remark for remark in remarks((), (), records.failures) if remark.kind != "note"]
        return Report((), (), (Remark("note", NONE_RAN), *failed), (), records.failures, searches=tuple(searches))
    lines = remarks(rows, records.missing, records.failures, records.classes, report_notes(records, rows))
    return Report(
        tuple(rows),
        tuple(compare_labels(records)),
        tuple(lines),
        records.missing,
        records.failures,
        tuple(gan_rows(records)),
        1 / min(classes) if len(classes := set(records.classes.values())) == 1 else None,
        {dataset: 1 / number for dataset, number in records.classes.items()},
        tuple(paired_rows(records)),
        paper_tables(document, rows, privacy_notes(records)),
        tuple(searches),
    )


def write_report(
    document: Document,
    store: Store,
    out: Path,
    formats: Sequence[str] = FORMATS,
    *,
    private: bool = True,
    searches: Sequence[SearchLink] = (),
) -> dict[str, Path]:
    """Write a grid's tables and pictures into `out`; returns the files' paths by name.

    Always, as far as there is something to show: labels.csv; gans.csv, gans.md; levers.csv; paired.csv, paired.md;
    privacy_utility.csv; figure2.csv; and the pictures of `all_pictures`. As asked for: table.md, table.csv, table.tex
    and report.html; table1.md to table6.md, with .csv and .tex, of the paper's tables that the spec names. `table` is
    the terminal's and has no file.

    private=False: no private photograph in pictures and page. searches: of the spec, to be linked by table.md and
    report.html. Raises ValueError on an unknown format.
    """
    if unknown := sorted(set(formats) - set(FORMATS)):
        raise ValueError(f"unknown format {', '.join(unknown)}; choose from {', '.join(FORMATS)}")
    report = read_report(document, store, searches)
    document = _pooled(document, report)
    tiles = figure2(document, store)
    shown = all_pictures(document, store, report, tiles, private=private)
    content: dict[str, str | bytes] = {"labels.csv": csv(report.labels, LabelRow), **shown}
    if report.gans:
        content |= {"gans.csv": csv(report.gans), "gans.md": gans_markdown(report.gans)}
    if found := levers(document, report.rows):
        content["levers.csv"] = levers_csv(found)
    if report.paired:
        content |= {"paired.csv": csv(report.paired), "paired.md": paired_markdown(report.paired)}
    if compared := points(document, report.rows):
        content["privacy_utility.csv"] = privacy_utility_csv(compared)
    if tiles:
        content["figure2.csv"] = csv(tiles)
    content |= paper_files(report.papers, formats)
    if "markdown" in formats:
        content["table.md"] = _table_markdown(report)
    if "csv" in formats:
        content["table.csv"] = csv(report.rows)
    if "latex" in formats:
        content["table.tex"] = latex(report.rows, report.remarks)
    if "html" in formats:
        content["report.html"] = page(document, report, shown)
    out.mkdir(parents=True, exist_ok=True)
    for name, data in content.items():
        (out / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return {name: out / name for name in sorted(content)}


def render(
    document: Document, store: Store, format_: str, *, private: bool = True, searches: Sequence[SearchLink] = ()
) -> str:
    """One format as text: markdown, latex, csv or html. Raises ValueError on another.

    The paper's tables that the spec names come first in Markdown and LaTeX; as CSV they are files of their own.
    """
    report = read_report(document, store, searches)
    document = _pooled(document, report)
    if format_ == "markdown":
        return "\n".join([*map(paper_markdown, report.papers), _table_markdown(report)])
    if format_ == "latex":
        return "\n".join([*map(paper_latex, report.papers), latex(report.rows, report.remarks)])
    if format_ == "csv":
        return csv(report.rows)
    if format_ == "html":
        return page(document, report, all_pictures(document, store, report, figure2(document, store), private=private))
    raise ValueError(f"unknown format {format_!r}; choose from {', '.join(FORMATS)}")


def all_pictures(
    document: Document, store: Store, report: Report, tiles: Sequence[Shown], *, private: bool
) -> dict[str, bytes]:
    """PNG and SVG files by name, without those that have nothing to show. tiles: of `figure2`.

    faces-*.png; attacks.png; gans.png, gans-over-time.png, gans-curves.png; levers.png; and as .png and .svg
    privacy_utility, figure2 and the paper's tables that the spec names.
    """
    shown = {**pictures(document, store, private=private), **attack_grid(document, store, private=private)}
    shown |= gan_pictures(document, store)
    if found := levers(document, report.rows):
        shown["levers.png"] = levers_png(found, report.chance)
    shown |= privacy_utility_pictures(points(document, report.rows), report.chances)
    shown |= figure2_pictures(document, store, tiles, private=private)
    return shown | paper_pictures(report.papers)


def _pooled(document: Document, report: Report) -> Document:
    """The document as the report has it: without rows and GANs where nothing was pooled."""
    return document if report.rows else {**document, "rows": [], "gans": []}


def _table_markdown(report: Report) -> str:
    links = links_markdown(report.searches)
    return markdown(report.rows, report.remarks) + (f"\n{links}" if links else "")


def page(document: Document, report: Report, faces: dict[str, bytes]) -> str:
    """The HTML page of a report with its pictures."""
    shown = {name: data for name, data in faces.items() if name.endswith(".png")}
    named = {name.removesuffix(".png").replace("-", " · "): data for name, data in shown.items()}
    heading = f"decoygrid: {document['name']}"
    return html(
        heading,
        report.rows,
        report.remarks,
        pictures=named,
        protocol=list(protocol(document)),
        searches=links_html(report.searches),
    )


def protocol(document: Document) -> Iterator[str]:
    """How the numbers were made, a line each: grid, metrics, the settings of every defense and attack."""
    yield f"spec {document['name']}, budget {document['budget']}, numerics {document['numerics']}"
    yield "AA: share of attack images that F_E, which never selects, takes for the protected label"
    yield "MC all: test accuracy, mean over the row's targets; MC l_t: that of the protected labels alone"
    yield "eq. 13: squared distance of mean F_E features; Fréchet: Gaussians fitted to the same features"
    yield "KNN: squared F_E feature distance to the nearest private training picture"
    yield "target conf.: share of attack images to which the target gives the label with p >= 0.9"
    yield "passes, queries, time: mean of a cell (one label, one seed)"
    for what, settings in (("defense", "settings"), ("attack", "attack_settings")):
        lines = (f"{what} {row[what]}: {_settings(row.get(settings))}" for row in document["rows"])
        yield from dict.fromkeys(lines)


def _settings(settings: Any) -> str:
    return ", ".join(f"{name} = {value}" for name, value in sorted((settings or {}).items())) or "no settings"
