"""From a grid document and a store to tables: per-image outcomes, test predictions, and what is missing.

Reading only. Where a stage failed, was not run or is damaged, the rest is returned and the gap is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.fs as pafs

from grid.store import Store
from tasks.artifact import DamagedArtifactError

Document = Mapping[str, Any]
Record = Mapping[str, Any]

OUTCOMES = "outcomes.parquet"
PREDICTIONS = "predictions.parquet"
PRIVATE = "dp_classifier"  # the kind of target whose record says what its privacy is worth
ROW_COLUMNS = ("dataset", "victim", "defense", "attack")
OUTCOME_SCHEMA = pa.schema(
    [
        ("row", pa.int64()),  # position in the document's rows: names alone would mix a row with its control
        ("dataset", pa.string()),
        ("victim", pa.string()),
        ("defense", pa.string()),
        ("attack", pa.string()),
        ("seed", pa.int64()),
        ("label", pa.int64()),
        ("image", pa.int64()),
        ("top1_evaluator", pa.bool_()),
        ("top5_evaluator", pa.bool_()),
        ("top1_second", pa.bool_()),
        ("top5_second", pa.bool_()),
        ("p_evaluator", pa.float64()),
        ("p_second", pa.float64()),
        ("target_p", pa.float64()),
        ("knn_sqdist", pa.float64()),
        ("knn_picture", pa.string()),
    ]
)
# what reading a stored file raises: not run, damaged, or a store without images (committed records)
UNREADABLE = (DamagedArtifactError, KeyError, OSError)
READ_OF_CELL = ("evaluate", "accuracy", "attack", "rerun", "evaluator_accuracy", "second_accuracy")
UPSTREAM_OF_CELL: dict[str, tuple[str, ...]] = {
    "evaluate": ("attack", "rerun", "target", "fakes_private", "fakes_public"),
    "accuracy": ("target", "fakes_private", "fakes_public"),
    "distance": (),
}


class Missing(NamedTuple):
    """A stage whose numbers a table row lacks. `label` and `seed` are None for a stage of the whole row."""

    row: int
    dataset: str
    victim: str
    defense: str
    attack: str
    label: int | None
    seed: int | None
    stage: str  # evaluate, accuracy or distance
    key: str
    reason: str  # failed, not run or damaged
    detail: str  # the error of the failed stage, here or upstream in the cell; empty for not run


class Failure(NamedTuple):
    """A failed stage of the grid: its key, short name, error line and where the log is."""

    key: str
    name: str
    error: str
    place: str


@dataclass(frozen=True)
class Records:
    """What a store holds of one grid.

    `stages`: records (done.json) by key; of targets, only those that were trained privately. `outcomes`: one dataset
    of all attack images (OUTCOME_SCHEMA).
    `predictions`: (picture, label, predicted, correct) tables by key of the accuracy stage.
    """

    document: Document
    stages: Mapping[str, Record]
    outcomes: pads.Dataset
    predictions: Mapping[str, pa.Table]
    missing: tuple[Missing, ...]
    failures: tuple[Failure, ...]

    @property
    def classes(self) -> dict[str, int]:
        """Number of classes by dataset: the distinct labels in its test split. Unknown ones are left out."""
        found: dict[str, int] = {}
        for row, cell in cells_of(self.document):
            if (table := self.predictions.get(cell["accuracy"])) is not None:
                found[row["dataset"]] = max(found.get(row["dataset"], 0), len(table["label"].unique()))
        return found

    def row_outcomes(self, row: int) -> pa.Table:
        """Attack images of the document's row `row`, ordered by label, seed and image."""
        table = self.outcomes.to_table(filter=pads.field("row") == row)
        return table.sort_by([("label", "ascending"), ("seed", "ascending"), ("image", "ascending")])


def read_records(document: Document, store: Store) -> Records:
    """Read everything that the tables need of a grid. Every file is verified by its sha256 before use."""
    keys = {cell[name] for _, cell in cells_of(document) for name in READ_OF_CELL if cell.get(name)}
    keys |= {cell["target"] for _, cell in cells_of(document) if kind_of(document, cell.get("target")) == PRIVATE}
    keys |= {row["distance"] for row in document["rows"] if row.get("distance")}
    keys |= {entry[name] for entry in document.get("gans", ()) for name in ("gan", "quality")}
    stages = store.records(sorted(keys))
    damaged: dict[str, str] = {}
    evaluates = {cell["evaluate"] for _, cell in cells_of(document)}
    paths = _verified_paths(store, stages, evaluates, OUTCOMES, damaged)
    accuracies = {cell["accuracy"] for _, cell in cells_of(document)}
    predictions = {
        key: store.artifact(stages[key]).table(PREDICTIONS)
        for key in _verified_paths(store, stages, accuracies, PREDICTIONS, damaged)
    }
    stages = {key: record for key, record in stages.items() if key not in damaged}
    missing = tuple(_missing(document, store, stages, damaged))
    failures = tuple(_failures(document, store)) if missing or keys - stages.keys() else ()
    return Records(document, stages, _outcomes(document, paths), predictions, missing, failures)


def kind_of(document: Document, key: str | None) -> str:
    """Kind of a stage of the grid; "" if it is not among its stages."""
    return str(document.get("stages", {}).get(key, {}).get("kind", ""))


def counted_attack(cell: Mapping[str, Any], evaluation: Mapping[str, Any] | None) -> str:
    """Key of the run of the attack that counts: the rerun's, where the record of the evaluation says so."""
    again = evaluation is not None and evaluation["metrics"].get("rerun_counts", 0.0) > 0
    return str(cell["rerun"] if again else cell["attack"])


def cells_of(document: Document) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """All (row, cell) pairs of a grid document, in its order."""
    for row in document["rows"]:
        for cell in row["cells"]:
            yield row, cell


def evaluations(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a row's numbers are made of: (label, seed, key of the evaluation) of each cell. Equal: one measurement."""
    return tuple(sorted((cell["label"], cell["seed"], cell["evaluate"]) for cell in row["cells"]))


def _verified_paths(
    store: Store, stages: Mapping[str, Record], keys: set[str], name: str, damaged: dict[str, str]
) -> dict[str, str]:
    """Local path of file `name` of each finished stage among `keys`; the reasons of others in `damaged`."""
    listed = sorted(keys & set(stages))

    def find(key: str) -> tuple[str, str]:
        """(path, why there is none)."""
        try:
            return str(store.artifact(stages[key]).path(name)), ""
        except DamagedArtifactError as error:
            return "", error.reason
        except KeyError:
            return "", f"it has no {name}"

    found = dict(zip(listed, store.each(find, listed), strict=True))
    damaged.update({key: reason for key, (path, reason) in found.items() if not path})
    return {key: path for key, (path, _) in found.items() if path}


def _outcomes(document: Document, paths: Mapping[str, str]) -> pads.Dataset:
    """One dataset over the files, each with its cell's columns; an artifact may serve several rows."""
    parquet, local = pads.ParquetFileFormat(), pafs.LocalFileSystem()
    fragments = []
    for position, row in enumerate(document["rows"]):
        for cell in row["cells"]:
            if cell["evaluate"] not in paths:
                continue
            columns = {name: row[name] for name in ROW_COLUMNS} | {"row": position, "seed": cell["seed"]}
            guarantee = pads.scalar(True)
            for name, value in columns.items():
                guarantee = guarantee & (pads.field(name) == value)
            path = paths[cell["evaluate"]]
            fragments.append(parquet.make_fragment(path, local, partition_expression=guarantee))
    return pads.FileSystemDataset(fragments, OUTCOME_SCHEMA, parquet, filesystem=local)


def _missing(
    document: Document, store: Store, stages: Mapping[str, Record], damaged: Mapping[str, str]
) -> Iterator[Missing]:
    for position, row in enumerate(document["rows"]):
        wanted = [(cell, stage) for cell in row["cells"] for stage in ("evaluate", "accuracy")]
        if row.get("distance"):
            wanted.append((row, "distance"))
        for owner, stage in wanted:
            if (key := owner[stage]) in stages:
                continue
            reason, detail = _reason(document, store, owner, stage, damaged)
            names = (row["dataset"], row["victim"], row["defense"], row["attack"])
            yield Missing(position, *names, owner.get("label"), owner.get("seed"), stage, key, reason, detail)


def _reason(
    document: Document, store: Store, owner: Mapping[str, Any], stage: str, damaged: Mapping[str, str]
) -> tuple[str, str]:
    """(failed | not run | damaged, detail): the stage itself first, then its upstream within the cell."""
    key = owner[stage]
    if key in damaged:
        return "damaged", damaged[key]
    if store.has_damaged_record(key):
        return "damaged", "its done.json is not what was written"
    for candidate in (key, *(owner.get(name) for name in UPSTREAM_OF_CELL[stage])):
        if candidate and store.done(candidate) is None and (failure := store.failure(candidate)):
            name = document.get("stages", {}).get(candidate, {}).get("name", candidate)
            return "failed", f"{name}: {failure.get('error', 'no reason given')}"
    return "not run", ""


def _failures(document: Document, store: Store) -> Iterator[Failure]:
    stages = document.get("stages", {})
    failures = store.failures(stages)
    done = store.records(failures)
    for key, stage in sorted(stages.items()):
        if key in failures and key not in done:
            error = str(failures[key].get("error", "no reason given"))
            yield Failure(key, stage.get("name", key), error, store.failure_place(key))
