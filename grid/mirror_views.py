"""What the MLflow mirror shows: a grid's document and records -> descriptions of runs. Pure; no mlflow here.

A parent run for the grid; below it a run per table row (what people compare), below a row a run per cell;
and, below the parent, a run per trained stage with its curves. All of it follows from the store, so the view
can be rebuilt at any time. Nothing that shows a private person is described unless asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from grid import mirror_files as files
from grid.mirror_model import File, Grid, Point, Row, RunView, digest_of, is_number, text
from grid.mirror_params import defense_note, row_params
from grid.mirror_stages import stage_view
from tasks.data.manifest import file_digest

PLANNED = ("labels", "seeds", "cells", "cells_missing")
JUDGES = ("evaluator_accuracy", "second_accuracy")
IN_TABLE_ONLY = (*PLANNED, *JUDGES, "mc_target_images", "aa_top5_second", "attack_seconds")
IDENTITY = ("dataset", "victim", "defense", "attack")
CELL_STAGES = ("attack", "evaluate", "accuracy")
# MLflow sorts by name and shows seven metrics of a comparison without scrolling: what decides stands first.
PREFIXES = {
    **dict.fromkeys(("feat_mean_sqdist", "frechet_evaluator", "fid_inception", "knn_sqdist"), "to_private/"),
    "diversity": "to_each_other/",
    "achieved_epsilon": "target/",
    **dict.fromkeys(("images", "passes", "queries", "setup_queries", "reruns", "reruns_counted"), "work/"),
}
IMAGES, PREDICTIONS = "images.safetensors", "predictions.parquet"
_COMPARE_HELP = (
    "To compare, tick the runs named 'defense · attack' below this one and press Compare; a row holds a run "
    "for each of its cells. The other runs are the trained networks, with their curves."
)
_ROW_HELP = (
    "`aa_top1`, `aa_top5`: share of inverted images that the evaluator gives the protected label (lower: "
    "better protected). `mc_all`, `mc_target`: test accuracy, over all labels and over the protected ones "
    "(higher: better). The second evaluator's columns end in `_second`. Believe an `aa_top1` only where "
    "`target_confidence` is 0.8 or more. `to_private/`: distances of inverted images from the private ones "
    "(higher: better protected). Intervals: `comparison.md` of the grid's run."
)


def describe(grid: Grid) -> list[RunView]:
    """Every run of the grid's tree, parents before their children."""
    views = [_parent(grid)]
    for row in grid.document["rows"]:
        if any(cell[name] in grid.records for cell in row["cells"] for name in CELL_STAGES):
            views += [_row(grid, row), *_cells(grid, row)]
    stages = grid.document["stages"].items()
    trained = [key for key, about in stages if about["trains"] and key in grid.records]
    return views + [stage_view(grid, key) for key in trained]


def row_key(row: Row) -> str:
    """Identity of a table row within its experiment."""
    return "row/" + "/".join(str(row[name]) for name in IDENTITY)


def row_name(document: Mapping[str, Any], row: Row) -> str:
    """'gan_id · gmi', a column's head in a comparison; dataset and victim only if there are several."""
    several = [name for name in IDENTITY[:2] if len({other[name] for other in document["rows"]}) > 1]
    name = " · ".join(str(row[part]) for part in (*several, "defense", "attack"))
    return f"{name} (control)" if row.get("control") else name


def _parent(grid: Grid) -> RunView:
    document, stages, rows = grid.document, grid.document["stages"], grid.document["rows"]
    missing = [key for key in stages if key not in grid.records]
    started, ended = grid.times(list(stages))
    cells = [cell for row in rows for cell in row["cells"]]
    params = {"budget": document["budget"], "numerics": document["numerics"]}
    params |= {name: ", ".join(sorted({str(row[name]) for row in rows})) for name in ("dataset", "victim")}
    params |= {f"{name}s": str(len({cell[name] for cell in cells})) for name in ("label", "seed")}
    done = f"{len(stages) - len(missing)} of {len(stages)} stages done"
    note = [f"Grid `{document['name']}`: {len(rows)} rows, {done}. {_COMPARE_HELP}"]
    for key in missing[:50]:
        state = f"failed: {grid.failed[key]}" if key in grid.failed else "not done"
        note.append(f"- {stages[key]['name']} (`{key}`): {state}")
    return RunView(
        key=grid.key,
        parent=None,
        name=document["name"],
        status=grid.status(missing),
        started=started,
        ended=ended,
        note="\n".join(note),
        params=params,
        files=tuple(_parent_files(grid)),
    )


def _parent_files(grid: Grid) -> list[File]:
    spec, table = grid.document["spec"], list(grid.rows)
    shown = [File("spec.yaml", digest_of(spec), partial(files.yaml_bytes, spec))]
    if table:
        shown.append(File("comparison.csv", digest_of(table), partial(files.csv_bytes, table)))
        shown.append(File("comparison.md", digest_of(table), partial(files.markdown_bytes, table)))
    present = [(name, Path(path)) for name, path in sorted(grid.attachments.items()) if Path(path).is_file()]
    return shown + [File(name, file_digest(path), path.read_bytes) for name, path in present]


def _row(grid: Grid, row: Row) -> RunView:
    keys = [cell[name] for cell in row["cells"] for name in CELL_STAGES]
    needed = [*keys, *([row["distance"]] if row.get("distance") else [])]
    missing = sorted({key for key in needed if key not in grid.records})
    started, ended = grid.times(needed)
    metrics = {} if missing and grid.live else {**_row_metrics(grid.rows, row), **_target_metrics(grid, row)}
    points = _points(metrics, ended)
    name = row_name(grid.document, row)
    done = sum(all(cell[part] in grid.records for part in CELL_STAGES) for cell in row["cells"])
    note = [
        f"Row `{name}` ({row['dataset']}, {row['victim']}): {done} of {len(row['cells'])} cells pooled.",
        *([f"Missing: {', '.join(missing)}."] if missing else []),
        defense_note(row),
        *([f"Attack: {row['access'].replace('_', '-')}, selection {row['selection']}."] if row.get("access") else []),
        _ROW_HELP,
    ]
    return RunView(
        key=row_key(row),
        parent=grid.key,
        name=name,
        status=grid.status(missing),
        started=started,
        ended=ended,
        note="\n\n".join(note),
        params=row_params(grid.document, row),
        source=digest_of(points) if points else "",
        points=lambda: points,
        files=_row_files(grid, row, keys),
    )


def _row_metrics(rows: Sequence[Row], row: Row) -> dict[str, float]:
    """Numbers of the table's line for `row`; ends of intervals and counts stay there, they are noise here."""
    same = (line for line in rows if all(name not in line or line[name] == row[name] for name in IDENTITY))
    compared = {name: value for name, value in next(same, {}).items() if name not in (*IDENTITY, *IN_TABLE_ONLY)}
    numbers = {name: float(value) for name, value in compared.items() if is_number(value)}
    return {name: value for name, value in numbers.items() if not name.endswith(("_low", "_high"))}


def _target_metrics(grid: Grid, row: Row) -> dict[str, float]:
    """What a row's targets were trained to guarantee: of DP's epsilons the largest, since all targets are shipped."""
    records = [grid.records.get(key, {}) for key in {cell["target"] for cell in row["cells"]}]
    found = [record.get("metrics", {}).get("achieved_epsilon") for record in records]
    return {"achieved_epsilon": max(found)} if found and all(map(is_number, found)) else {}


def _points(metrics: Mapping[str, float], ended: int) -> list[Point]:
    """In name order: MLflow's compare page preselects the metric that was logged first, so that is aa_top1."""
    named = {PREFIXES.get(name, "") + name: value for name, value in metrics.items()}
    return [Point(name, value, ended, 0) for name, value in sorted(named.items())]


def _row_files(grid: Grid, row: Row, keys: Sequence[str]) -> tuple[File, ...]:
    source = digest_of(grid.digests(keys))
    shown = [File("cells.csv", source, partial(_cells_csv, grid, row))]
    shown_of = [(_cell_name(cell), _counted(grid, cell)) for cell in row["cells"]]
    pictures = [(name, key) for name, key in shown_of if grid.has(key, IMAGES)]
    if pictures:
        shown.append(File("inverted.png", source, partial(files.inverted_png, grid.load, pictures)))
    if grid.private_images:
        splits = [(f"label {cell['label']}", cell["train"], cell["label"]) for cell in row["cells"]]
        splits = [split for split in dict.fromkeys(splits) if grid.has(split[1], IMAGES)]
        private = partial(files.private_png, grid.load, splits)
        shown.append(File("private_reference.png", digest_of(splits), private))
    return tuple(shown)


def _cells_csv(grid: Grid, row: Row) -> bytes:
    lines = [{"label": cell["label"], "seed": cell["seed"], **_cell_metrics(grid, cell)} for cell in row["cells"]]
    return files.csv_bytes(lines)


def _counted(grid: Grid, cell: Mapping[str, Any]) -> str:
    """The run of the attack that counts: the rerun, where the evaluation says so."""
    metrics = grid.records.get(cell["evaluate"], {}).get("metrics", {})
    return str(cell["rerun"] if metrics.get("rerun_counts") else cell["attack"])


def _cell_name(cell: Mapping[str, Any]) -> str:
    return f"label {cell['label']} seed {cell['seed']}"


def _cells(grid: Grid, row: Row) -> list[RunView]:
    """Cells that have something to show; while the grid runs, only whole ones."""
    shown = []
    for cell in row["cells"]:
        missing = [cell[name] for name in CELL_STAGES if cell[name] not in grid.records]
        if not missing or (not grid.live and len(missing) < len(CELL_STAGES)):
            shown.append(_cell(grid, row, cell, missing))
    return shown


def _cell(grid: Grid, row: Row, cell: Mapping[str, Any], missing: Sequence[str]) -> RunView:
    keys = [cell[name] for name in CELL_STAGES]
    started, ended = grid.times(keys)
    source = digest_of(grid.digests(keys))
    params = {name: text(cell[name]) for name in ("label", "seed", "decoy") if cell.get(name) is not None}
    note = f"Cell of row `{row_name(grid.document, row)}`: the attack on protected label {cell['label']}."
    pictures: tuple[File, ...] = ()
    if grid.has(counted := _counted(grid, cell), IMAGES):
        pictures = (File("inverted.png", source, partial(files.images_png, grid.load, counted, IMAGES)),)
    return RunView(
        key=f"cell/{row_key(row).removeprefix('row/')}/{cell['label']}/{cell['seed']}",
        parent=row_key(row),
        name=_cell_name(cell),
        status=grid.status(missing),
        started=started,
        ended=ended,
        note=f"{note} Missing: {', '.join(missing)}." if missing else note,
        params={"attack": row["attack"], "defense": row["defense"], **params},
        source=source,
        points=lambda: _points(_cell_metrics(grid, cell), ended),
        files=pictures,
    )


def _cell_metrics(grid: Grid, cell: Mapping[str, Any]) -> dict[str, float]:
    """Metrics of the cell's stages; where attack and evaluation share a name, the evaluation's counts."""
    found: dict[str, float] = {}
    for name in CELL_STAGES:
        found |= grid.records.get(cell[name], {}).get("metrics", {})
    if grid.has(cell["accuracy"], PREDICTIONS):
        table = grid.load(cell["accuracy"]).table(PREDICTIONS).to_pydict()
        pairs = zip(table["label"], table["correct"], strict=True)
        correct = [bool(right) for label, right in pairs if label == cell["label"]]
        if correct:
            found["mc_target"] = sum(correct) / len(correct)
    return {name: float(value) for name, value in found.items() if is_number(value)}
