"""The picture: a row for each protected label: private person, decoy, inverted before and after the defense.

Each inverted image is the one that the target itself is surest of. No evaluator has a say, since an attacker
has none. Only the private reference column shows private photographs; `private=False` leaves it out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from analysis.drawing import file_stem
from analysis.panel_picture import Panel, draw
from analysis.records import Document, counted_attack
from analysis.stored_images import GridRow, Pixels, best_by_target, first_cells, of_person
from grid.store import Store

_SMALL_TILE = 64  # pixels per side where many attacks stand side by side
_NOTE = "Inverted: of all attack images, the one that the target is surest of."


class _Column(NamedTuple):
    heading: str
    image: Callable[[int], Pixels | None]  # label -> image


def pictures(document: Document, store: Store, *, private: bool = True) -> dict[str, bytes]:
    """PNG files by name: faces-<attack>.png, or faces-<dataset>-<victim>-<attack>.png if there are several.

    A picture without a single inverted image is left out. private=False: no private photograph.
    """
    wanted: dict[tuple[str, str, str], list[GridRow]] = {}
    for row in document["rows"]:
        if not row.get("control"):
            wanted.setdefault((row["dataset"], row["victim"], row["attack"]), []).append(row)
    several = len({names[:2] for names in wanted}) > 1
    found: dict[str, bytes] = {}
    for names, rows in wanted.items():
        if (data := face_grid(rows, store, private=private)) is None:
            continue
        parts = names if several else names[2:]
        found[f"{file_stem('faces', *parts, taken=found)}.png"] = data
    return found


def attack_grid(document: Document, store: Store, *, private: bool = True) -> dict[str, bytes]:
    """attacks.png: what every attack and control makes of each label of the undefended target, side by side.

    Of the first dataset and victim; empty for fewer than three undefended rows or without any image.
    """
    rows = [row for row in document["rows"] if row.get("undefended")]
    rows = [row for row in rows if (row["dataset"], row["victim"]) == (rows[0]["dataset"], rows[0]["victim"])]
    if len(rows) < 3:
        return {}
    labels = sorted({cell["label"] for row in rows for cell in row["cells"]})
    references = [column for column in _references(rows, store, private=private) if column.heading.startswith("priv")]
    columns = [_inverted_column(row, store)._replace(heading=_stacked(row["attack"])) for row in rows]
    tiles = [[column.image(label) for column in (*references, *columns)] for label in labels]
    if all(tile is None for line in tiles for tile in line[len(references) :]):
        return {}
    title = f"{rows[0]['dataset']} · {rows[0]['victim']} · undefended, every attack"
    headings = [column.heading for column in (*references, *columns)]
    panel = Panel(title, headings, [_label_name(rows, label) for label in labels], tiles, tile=_SMALL_TILE)
    return {"attacks.png": draw(panel, _NOTE)}


def _stacked(name: str) -> str:
    return name.replace(" ", "\n")


def face_grid(rows: Sequence[GridRow], store: Store, *, private: bool = True) -> bytes | None:
    """PNG of one dataset, victim and attack, from the document's rows of it; None if nothing was inverted."""
    labels = sorted({cell["label"] for row in rows for cell in row["cells"]})
    references = _references(rows, store, private=private)
    inverted = _inverted(rows, store)
    tiles = [[column.image(label) for column in (*references, *inverted)] for label in labels]
    if all(tile is None for line in tiles for tile in line[len(references) :]):
        return None
    first = rows[0]
    title = f"{first['dataset']} · {first['victim']} · attack {first['attack']}"
    names = [_label_name(rows, label) for label in labels]
    return draw(Panel(title, [column.heading for column in (*references, *inverted)], names, tiles), _NOTE)


def _references(rows: Sequence[GridRow], store: Store, *, private: bool) -> list[_Column]:
    def column(heading: str, cells: Mapping[int, Mapping[str, Any]], split: str, who: str) -> _Column:
        return _Column(heading, lambda label: of_person(store, cells.get(label), split, who))

    decoys = first_cells(rows, "public")
    columns = [column("private\nreference", first_cells(rows, "train"), "train", "label")] if private else []
    return columns + ([column("public\ndecoy", decoys, "public", "decoy")] if decoys else [])


def _inverted(rows: Sequence[GridRow], store: Store) -> list[_Column]:
    return [_inverted_column(row, store) for row in sorted(rows, key=lambda row: not row.get("undefended", False))]


def _inverted_column(row: GridRow, store: Store) -> _Column:
    def image(label: int) -> Pixels | None:
        cells = [cell for cell in row["cells"] if cell["label"] == label]
        records = store.records(sorted({cell["evaluate"] for cell in cells}))
        return best_by_target(store, [counted_attack(cell, records.get(cell["evaluate"])) for cell in cells])

    before = row.get("undefended", False)
    return _Column("inverted\nbefore" if before else f"inverted after:\n{row['defense']}", image)


def _label_name(rows: Sequence[GridRow], label: int) -> str:
    people = [cell.get("person") for row in rows for cell in row["cells"] if cell["label"] == label]
    person = next((name for name in people if name), None)
    return f"{person}\nlabel {label}" if person else f"label {label}"
