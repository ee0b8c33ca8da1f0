"""A trained stage as the MLflow mirror shows it: its settings, its curves, and a GAN's samples."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from grid import mirror_files as files
from grid.mirror_model import File, Grid, Point, RunView, digest_of, is_number, text

CURVE_POINTS = 200  # of a column, evenly thinned: enough for a chart; the store has them all
CURVES, SAMPLES = "curves.parquet", "samples.safetensors"
_NOT_PARAMS = ("threads", "numerics")


def stage_view(grid: Grid, key: str) -> RunView:
    """The run of the trained stage `key`, below the grid's run."""
    about, record = grid.document["stages"][key], grid.records[key]
    started, ended = grid.times([key])
    config = {name: value for name, value in record["config"].items() if name not in _NOT_PARAMS}
    note = f"Trained stage `{key}`: {about['name']} ({about['kind']}). Curves are among the metrics, by step."
    shown: tuple[File, ...] = ()
    if about["group"] == "gan" and grid.has(key, SAMPLES):
        shown = (
            File("samples.png", record["digest"], partial(files.images_png, grid.load, key, SAMPLES)),
            File("over_time.png", record["digest"], partial(files.over_time_png, grid.load, key, SAMPLES)),
        )
    quality = _quality_of(grid, key)
    return RunView(
        key=f"stage/{key}",
        parent=grid.key,
        name=about["name"],
        status="FINISHED",
        started=started,
        ended=ended,
        note=note,
        params={name: text(value) for name, value in config.items() if _is_plain(value)},
        source=digest_of([record["digest"], grid.records[quality]["digest"]]) if quality else record["digest"],
        points=lambda: [*_points(grid, key, started, ended), *_quality_points(grid, quality, started, ended)],
        files=shown,
    )


def _quality_of(grid: Grid, key: str) -> str | None:
    """The finished stage that measured this GAN."""
    found = (entry["quality"] for entry in grid.document.get("gans", ()) if entry["gan"] == key)
    return next((quality for quality in found if quality in grid.records), None)


def _quality_points(grid: Grid, quality: str | None, started: int, ended: int) -> list[Point]:
    """Frechet, density and coverage as the GAN learned, under `quality/`, and of the final samples."""
    if quality is None:
        return []
    named = {"frechet", "density", "coverage"}
    curves = [p for p in _points(grid, quality, started, ended) if p.key in named]
    final = [Point(f"quality/{n}_final", float(grid.records[quality]["metrics"][n]), ended, 0) for n in sorted(named)]
    return [point._replace(key=f"quality/{point.key}") for point in curves] + final


def _points(grid: Grid, key: str, started: int, ended: int) -> list[Point]:
    """Curves by step, their times spread evenly over the stage; then final metrics, at step 0 (as bars)."""
    table = grid.load(key).table(CURVES).to_pydict() if grid.has(key, CURVES) else {"step": []}
    steps = table.pop("step")
    last = max(steps, default=0)
    kept = range(0, len(steps), max(1, math.ceil(len(steps) / CURVE_POINTS)))
    points = []
    for name, column in table.items():
        for i in sorted({*kept, *([len(steps) - 1] if steps else [])}):
            if is_number(column[i]):
                time = started + round((ended - started) * steps[i] / max(1, last))
                points.append(Point(name, float(column[i]), time, int(steps[i])))
    metrics = grid.records[key]["metrics"].items()
    final = {name: float(value) for name, value in metrics if name not in table and is_number(value)}
    return points + [Point(name, value, ended, 0) for name, value in final.items()]


def _is_plain(value: Any) -> bool:
    """A setting of its own: no upstream stage, no nested settings, nothing that was left out."""
    if isinstance(value, list):
        return all(_is_plain(item) for item in value)
    return isinstance(value, bool | int | float | str)
