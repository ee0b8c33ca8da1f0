"""The GANs of a grid side by side: how good they are, what their samples look like, and how they got there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.drawing import as_png, default_style, new_figure
from analysis.panel_picture import Panel, draw
from analysis.records import UNREADABLE, Document, Records
from analysis.wording import number, seconds
from grid.store import Store

if TYPE_CHECKING:
    from analysis.stored_images import Pixels

CURVES = "curves.parquet"
SAMPLES = "samples.safetensors"
SHOWN, TIMES = 12, 8
MOST = 24  # GANs in a picture; the table has them all
QUALITY = ("frechet", "density", "coverage")
HEADINGS = ("GAN", "structure", "role", "steps", "Fréchet", "density", "coverage", "time")


@dataclass(frozen=True, slots=True, kw_only=True)
class GANRow:
    """One line of gans.csv: `frechet`, `density` and `coverage` against the public images it was trained on.

    Features are those of the judge (docs/PROTOCOL.md); compare only lines with equal numbers of images.
    """

    dataset: str
    name: str
    structure: str
    role: str
    seed: int
    steps: int | None
    frechet: float | None
    density: float | None
    coverage: float | None
    samples: int | None
    reference_images: int | None
    target_queries: float | None
    train_seconds: float | None


def gan_rows(records: Records) -> list[GANRow]:
    """Every GAN of the grid, in the document's order; what was not measured is None."""
    return [_row(entry, records) for entry in records.document.get("gans", ())]


def _row(entry: Mapping[str, Any], records: Records) -> GANRow:
    quality = records.stages.get(entry["quality"], {}).get("metrics", {})
    trained = records.stages.get(entry["gan"], {})
    count, real = quality.get("samples"), quality.get("reference_images")
    return GANRow(
        dataset=entry["dataset"],
        name=entry["name"],
        structure=entry["structure"],
        role=entry["role"],
        seed=entry["seed"],
        steps=entry["settings"].get("gan_steps"),
        **{name: quality.get(name) for name in QUALITY},
        samples=None if count is None else int(count),
        reference_images=None if real is None else int(real),
        target_queries=trained.get("metrics", {}).get("target_queries"),
        train_seconds=trained.get("seconds"),
    )


def gans_markdown(rows: Sequence[GANRow]) -> str:
    """The same for people."""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|---|---|---|" + "--:|" * 5]
    for row in rows:
        values = [row.name, row.structure, row.role, number(row.steps)]
        values += [number(row.frechet), number(row.density), number(row.coverage), seconds(row.train_seconds)]
        lines.append("| " + " | ".join(values) + " |")
    counts = sorted({(row.samples, row.reference_images) for row in rows if row.samples})
    sizes = [f"{samples} samples against {real} public images" for samples, real in counts]
    measured = ", ".join(["Fréchet distance, density and coverage (Naeem et al. 2020) in the judge's features", *sizes])
    return "\n".join([*lines, "", f"{measured}."]) + "\n"


def gan_pictures(document: Document, store: Store) -> dict[str, bytes]:
    """gans.png: final samples; gans-over-time.png: one face as it forms; gans-curves.png. Only what is there."""
    entries = list(document.get("gans", ()))[:MOST]
    found = [(_short(entry["name"]), _samples(store, entry["gan"])) for entry in entries]
    stored = [(name, samples) for name, samples in found if samples is not None]  # names may be equal: two datasets
    pictures: dict[str, bytes] = {}
    if stored:
        names = [name for name, _ in stored]
        final: list[list[Pixels | None]] = [list(samples["images"][:SHOWN]) for _, samples in stored]
        title = f"{document['name']} · samples of every GAN, the same latents for equal roles"
        pictures["gans.png"] = draw(Panel(title, [""] * SHOWN, names, final), note="")
        times: list[list[Pixels | None]] = [_over_time(samples) for _, samples in stored]
        headings = [f"{i + 1}/{TIMES}" for i in range(TIMES)]
        title = f"{document['name']} · one latent while the generator's average learns"
        pictures["gans-over-time.png"] = draw(Panel(title, headings, names, times), note="")
    if (curves := _curves(entries, store)) is not None:
        pictures["gans-curves.png"] = curves
    return pictures


def _samples(store: Store, key: str) -> dict[str, Any] | None:
    from safetensors.numpy import load_file

    try:
        return dict(load_file(store.load(key).path(SAMPLES)))
    except UNREADABLE:
        return None


def _over_time(found: Mapping[str, Any]) -> list[Pixels | None]:
    """The first sample of each grid, as many as there are, blank to the left where there are fewer."""
    grids = [grid[0] for grid in found["over_time"]][-TIMES:]
    return [None] * (TIMES - len(grids)) + grids


def _short(name: str) -> str:
    return name.replace(" against ", "\nagainst ")


@default_style()
def _curves(entries: Sequence[Mapping[str, Any]], store: Store) -> bytes | None:
    """Quality over training steps, a line per GAN, a panel per measure."""
    lines = []
    for entry in entries:
        try:
            curve = store.load(entry["quality"]).table(CURVES).to_pydict()
        except UNREADABLE:
            continue
        if len(curve.get("step", ())) > 1:  # a GAN that was not trained has a point, and no curve
            lines.append((entry["name"], curve))
    if not lines:
        return None
    figure = new_figure(width=13, height=4.2)
    for panel, name in enumerate(QUALITY, start=1):
        axes = figure.add_subplot(1, len(QUALITY), panel)
        for label, curve in lines:
            axes.plot(curve["step"], curve[name], label=label, linewidth=1.2)
        axes.set(title=name, xlabel="generator step")
        if name == "frechet":
            highest = np.quantile([value for _, curve in lines for value in curve[name]], 0.9)
            axes.set_ylim(0, float(highest) * 1.1)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    return as_png(figure)
