"""A grid's report: rows and remarks for the terminal, files for all else. Equal records give equal bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.comparison import compare, compare_labels
from analysis.figure2 import figure2, figure2_csv, figure2_pictures
from analysis.formats import csv, latex, markdown
from analysis.gans import GANRow, gan_pictures, gan_rows, gans_csv, gans_markdown
from analysis.levers import levers, levers_csv, levers_png
from analysis.page import html
from analysis.paired import PairedRow, paired_csv, paired_markdown, paired_rows
from analysis.paper_formats import paper_files, paper_latex, paper_markdown
from analysis.paper_layout import PaperTable
from analysis.paper_picture import paper_pictures
from analysis.paper_tables import paper_tables
from analysis.picture import attack_grid, pictures
from analysis.privacy_utility import points, privacy_utility_csv, privacy_utility_pictures
from analysis.records import Document, Failure, Missing, Records, read_records
from analysis.rows import ComparisonRow, LabelRow
from analysis.wording import SECOND, Remark, percent, remarks
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


def read_report(document: Document, store: Store) -> Report:
    """Read a grid's records and pool them. Never fails on stages that are missing; they are named."""
    records = read_records(document, store)
    rows = compare(records)
    notes = [*evaluator_notes(rows), *control_notes(document), *attack_notes(rows), *distance_notes(records)]
    lines = remarks(rows, records.missing, records.failures, records.classes, notes)
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
        paper_tables(document, rows),
    )


def write_report(
    document: Document, store: Store, out: Path, formats: Sequence[str] = FORMATS, *, private: bool = True
) -> dict[str, Path]:
    """Write labels.csv, faces-*.png and, as asked for, table.md, table.csv, table.tex and report.html.

    `table` is the terminal's and has no file. private=False: no private photograph in pictures and page.
    Returns the files' paths by name. Raises ValueError on an unknown format.
    """
    if unknown := sorted(set(formats) - set(FORMATS)):
        raise ValueError(f"unknown format {', '.join(unknown)}; choose from {', '.join(FORMATS)}")
    report = read_report(document, store)
    shown = all_pictures(document, store, report, private=private)
    content: dict[str, str | bytes] = {"labels.csv": csv(report.labels, LabelRow), **shown}
    if report.gans:
        content |= {"gans.csv": gans_csv(report.gans), "gans.md": gans_markdown(report.gans)}
    if found := levers(document, report.rows):
        content["levers.csv"] = levers_csv(found)
    if report.paired:
        content |= {"paired.csv": paired_csv(report.paired), "paired.md": paired_markdown(report.paired)}
    if compared := points(document, report.rows):
        content["privacy_utility.csv"] = privacy_utility_csv(compared)
    if tiles := figure2(document, store):
        content["figure2.csv"] = figure2_csv(tiles)
    content |= paper_files(report.papers, formats)
    if "markdown" in formats:
        content["table.md"] = markdown(report.rows, report.remarks)
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


def render(document: Document, store: Store, format_: str, *, private: bool = True) -> str:
    """One format as text: markdown, latex, csv or html. Raises ValueError on another.

    The paper's tables that the spec names come first in Markdown and LaTeX; as CSV they are files of their own.
    """
    report = read_report(document, store)
    if format_ == "markdown":
        return "\n".join([*map(paper_markdown, report.papers), markdown(report.rows, report.remarks)])
    if format_ == "latex":
        return "\n".join([*map(paper_latex, report.papers), latex(report.rows, report.remarks)])
    if format_ == "csv":
        return csv(report.rows)
    if format_ == "html":
        return page(document, report, all_pictures(document, store, report, private=private))
    raise ValueError(f"unknown format {format_!r}; choose from {', '.join(FORMATS)}")


def all_pictures(document: Document, store: Store, report: Report, *, private: bool) -> dict[str, bytes]:
    """PNG and SVG files by name: faces, attacks side by side, GANs, levers, privacy against utility, figure 2.

    What has nothing to show is left out.
    """
    shown = {**pictures(document, store, private=private), **attack_grid(document, store, private=private)}
    shown |= gan_pictures(document, store)
    if found := levers(document, report.rows):
        shown["levers.png"] = levers_png(found, report.chance)
    shown |= privacy_utility_pictures(points(document, report.rows), report.chances)
    shown |= figure2_pictures(document, store, figure2(document, store), private=private)
    return shown | paper_pictures(report.papers)


def page(document: Document, report: Report, faces: dict[str, bytes]) -> str:
    """The HTML page of a report with its pictures."""
    shown = {name: data for name, data in faces.items() if name.endswith(".png")}
    named = {name.removesuffix(".png").replace("-", " · "): data for name, data in shown.items()}
    heading = f"decoygrid: {document['name']}"
    return html(heading, report.rows, report.remarks, pictures=named, protocol=list(protocol(document)))


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


def evaluator_notes(rows: Sequence[ComparisonRow]) -> list[str]:
    """How good the judges are: every attack accuracy stands on them."""
    known = {(row.dataset, percent(row.evaluator_accuracy), percent(row.second_accuracy)) for row in rows}
    text = "Test accuracy of the judges on {}: F_E {}%, " + SECOND + " {}%."
    return [text.format(*names) for names in sorted(known)]


def control_notes(document: Document) -> list[str]:
    """Which rows are controls: the same attack with an untrained generator."""
    controls = [f"{row['defense']} / {row['attack']}" for row in document["rows"] if row.get("control")]
    names = ", ".join(dict.fromkeys(controls))
    return [f"Control (untrained generator): {names}; believe a high AA only beside it."] if names else []


def attack_notes(rows: Sequence[ComparisonRow]) -> list[str]:
    """What each attack sees of the target, how it selects, and what a rerun is."""
    access = {"white_box": "white-box", "black_box": "black-box"}
    named: dict[str, list[str]] = {}
    for row in rows:
        if row.access in access and not row.control:
            named.setdefault(f"{access[row.access]}, selection: {row.selection}", []).append(row.attack)
    lines = [f"{', '.join(dict.fromkeys(attacks))} ({how})" for how, attacks in named.items()]
    notes = [f"Attacks; what they select, they select by the target alone. {'; '.join(lines)}."] if lines else []
    if any(row.reruns for row in rows):
        notes.append(
            "Rerun: where less than 80% of a cell's images convinced the target, the attack ran again with 4 times "
            "the steps from where it ended on the undefended model, and the outcome that is worse for the defense "
            "counts. In brackets: cells where that is the second run. Passes, queries and time are of both."
        )
    return notes


def distance_notes(records: Records) -> list[str]:
    """Why a distance is absent, as its stage says; each reason once."""
    keys = dict.fromkeys(row.get("distance") for row in records.document["rows"])
    notes = [records.stages[key].get("notes", {}) for key in keys if key in records.stages]
    return list(dict.fromkeys(f"{name}: {text}" for found in notes for name, text in sorted(found.items())))


def _settings(settings: Any) -> str:
    return ", ".join(f"{name} = {value}" for name, value in sorted((settings or {}).items())) or "no settings"
