"""Figure 2 of the paper: what each attack makes of a few people under each defense, beside their photographs.

Gong et al. show DMI, AMI and Mirror; here every attack of the spec is shown, in its order, controls apart. The paper
does not say which of an attack's images it shows. Here it is the one to which the target itself gives l_t with the
highest probability, which an attacker could choose as well; no evaluator has a say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.figure2_picture import Block, draw
from analysis.paper_tables import named
from analysis.records import OUTCOMES, UNREADABLE, Document, counted_attack
from analysis.stored_images import GridRow, Pixels, first_cells, of_person, surest
from grid.export import read_image
from grid.store import Store

PEOPLE = 4  # protected labels of each dataset and victim, the first ones
_JUDGED = ("p_evaluator", "p_second", "top1_evaluator", "top1_second", "knn_sqdist")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One tile, a line of figure2.csv: which image of which stage is shown where, and what the judges say of it.

    stage, image: the attack's stage (a rerun's where the rerun counts) and the image's place in it; target_p: the
    target's own probability of l_t, by which it was chosen. All from `stage` on is None where nothing was inverted,
    and the judges' columns where it was not evaluated. knn_sqdist: squared F_E distance to the nearest private
    training picture of l_t.
    """

    dataset: str
    victim: str
    label: int
    person: str
    decoy: int | None
    decoy_person: str | None
    attack: str
    defense: str
    seed: int | None = None
    stage: str | None = None
    rerun: bool | None = None
    image: int | None = None
    target_p: float | None = None
    p_evaluator: float | None = None
    p_second: float | None = None
    top1_evaluator: bool | None = None
    top1_second: bool | None = None
    knn_sqdist: float | None = None


def figure2(document: Document, store: Store) -> list[Shown]:
    """The tiles: by dataset and victim, person, attack and defense, each in the document's order.

    Empty where the spec does not ask for the figure. Equal for a store and for records that were exported from it.
    """
    if "figure2" not in named(document):
        return []
    found = []
    for rows in _groups(document).values():
        for label in _people(rows):
            found += [_shown(row, label, store) for row in rows]
    return found


def shown_images(document: Document, store: Store) -> dict[str, list[int]]:
    """Which images of which stages the figure shows: what an export has to keep of them."""
    found: dict[str, list[int]] = {}
    for tile in figure2(document, store):
        if tile.stage is not None and tile.image is not None:
            found.setdefault(tile.stage, []).append(tile.image)
    return {key: sorted(set(images)) for key, images in sorted(found.items())}


def figure2_pictures(
    document: Document, store: Store, tiles: Sequence[Shown], *, private: bool = True
) -> dict[str, bytes]:
    """figure2.png and figure2.svg; nothing where no attack image is there.

    private=False leaves out the private photograph. Photographs come from the store alone: a figure from records,
    which hold none, has attack images only.
    """
    blocks = []
    for (dataset, victim), rows in _groups(document).items():
        several = len(_groups(document)) > 1
        for label in _people(rows):
            own = [tile for tile in tiles if (tile.dataset, tile.victim, tile.label) == (dataset, victim, label)]
            if own:
                heading = f"{dataset} · {victim} · " if several else ""
                blocks.append(_block(f"{heading}{own[0].person or f'label {label}'}", rows, own, store, private))
    if all(image is None for block in blocks for image in block.images.values()):
        return {}
    total = max(len({cell["label"] for row in rows for cell in row["cells"]}) for rows in _groups(document).values())
    png, svg = draw(f"{document['name']} · figure 2", blocks, _caption(document, total))
    return {"figure2.png": png, "figure2.svg": svg}


def _caption(document: Document, labels: int) -> str:
    """What is shown and how it was chosen; a few people of how many."""
    few = f" The first {PEOPLE} of {labels} protected labels." if labels > PEOPLE else ""
    return (
        "Of all images of an attack on a target, the one to which the target itself gives l_t with the highest "
        "probability (ties: the first one); no evaluator chooses. Where an attack was run again and that run counts, "
        "its image. Below each image: p(l_t) by F_E; red frame: F_E takes it for l_t; †: so does the second evaluator."
        f"{few}"
    )


def _block(heading: str, rows: Sequence[GridRow], tiles: Sequence[Shown], store: Store, private: bool) -> Block:
    label = tiles[0].label
    photographs: dict[str, Pixels] = {}
    wanted = (("private", "train", "label"), ("public decoy", "public", "decoy"))
    for name, split, who in wanted if private else wanted[1:]:
        if (face := of_person(store, first_cells(rows, split).get(label), split, who)) is not None:
            photographs[name] = face
    attacks, defenses = (tuple(dict.fromkeys(row[name] for row in rows)) for name in ("attack", "defense"))
    undefended = {row["defense"] for row in rows if row.get("undefended")}
    return Block(
        heading=heading,
        photographs=photographs,
        attacks=attacks,
        defenses=tuple((name, name in undefended) for name in defenses),
        images={(tile.attack, tile.defense): _image(store, tile) for tile in tiles},
        notes={(tile.attack, tile.defense): _note(tile) for tile in tiles},
        hits={(tile.attack, tile.defense) for tile in tiles if tile.top1_evaluator},
    )


def _note(tile: Shown) -> str:
    known = "" if tile.p_evaluator is None else f"{tile.p_evaluator:.2f}"
    return f"{known} †" if tile.top1_second else known


def _image(store: Store, tile: Shown) -> Pixels | None:
    if tile.stage is None or tile.image is None:
        return None
    try:
        return read_image(store.load(tile.stage), tile.image)
    except UNREADABLE:
        return None


def _groups(document: Document) -> dict[tuple[str, str], list[GridRow]]:
    """Rows without controls, by dataset and victim."""
    found: dict[tuple[str, str], list[GridRow]] = {}
    for row in document["rows"]:
        if not row.get("control"):
            found.setdefault((row["dataset"], row["victim"]), []).append(row)
    return found


def _people(rows: Sequence[GridRow]) -> list[int]:
    return sorted({cell["label"] for row in rows for cell in row["cells"]})[:PEOPLE]


def _shown(row: GridRow, label: int, store: Store) -> Shown:
    """The tile of one row and label: of all its seeds' images, the one that its target is surest of."""
    cells = sorted((cell for cell in row["cells"] if cell["label"] == label), key=lambda cell: int(cell["seed"]))
    records = store.records(sorted({cell["evaluate"] for cell in cells}))
    about = {name: row[name] for name in ("dataset", "victim", "attack", "defense")}
    people = {name: next((cell[name] for cell in cells if cell.get(name) is not None), None) for name in _WHO}
    about |= {"label": label, **people, "person": people["person"] or ""}
    attacks: dict[str, Mapping[str, Any]] = {}
    for cell in cells:
        attacks.setdefault(counted_attack(cell, records.get(cell["evaluate"])), cell)
    for stage, image, target_p in surest(store, attacks)[:1]:
        cell = attacks[stage]
        chosen = {"seed": cell["seed"], "stage": stage, "rerun": stage != cell["attack"], "image": image}
        about |= {**chosen, "target_p": target_p, **_judged(store, cell["evaluate"], image)}
    return Shown(**about)


_WHO = ("person", "decoy", "decoy_person")


def _judged(store: Store, evaluate: str, image: int) -> dict[str, Any]:
    """What F_E and the second evaluator say of one image; empty where it was not evaluated."""
    try:
        table = store.load(evaluate).table(OUTCOMES)
    except UNREADABLE:
        return {}
    places = np.flatnonzero(table["image"].to_numpy() == image)
    return {name: table[name][int(places[0])].as_py() for name in _JUDGED} if places.size else {}
