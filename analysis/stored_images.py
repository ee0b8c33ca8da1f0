"""Images in a store: the ones that attacks made, and the photographs of people in splits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.records import UNREADABLE
from grid.export import read_image
from grid.store import Store
from tasks.data.stored_rows import split_rows

Pixels = NDArray[np.uint8]  # (c, s, s)
GridRow = Mapping[str, Any]
_SCORES = "samples.parquet"


class Surest(NamedTuple):
    """An image of an attack's stage, by its place in it, and the target's own probability of l_t."""

    stage: str
    image: int
    target_p: float


def surest(store: Store, attacks: Iterable[str]) -> list[Surest]:
    """Of each attack's stage the image that its target is surest of; the stage with the surest one comes first.

    Ties go to the first image and to the first stage; stages whose scores are not there are left out. An attacker
    could choose like this: no evaluator has a say.
    """
    found = []
    for key in attacks:
        try:
            scores = store.load(key).table(_SCORES)["target_p"].to_numpy()
        except UNREADABLE:
            continue
        known = np.nan_to_num(scores, nan=-1.0)
        if known.size:
            found.append(Surest(key, int(known.argmax()), float(known.max())))
    return sorted(found, key=lambda image: -image.target_p)


def best_by_target(store: Store, attacks: Iterable[str]) -> Pixels | None:
    """Of all images of some attack stages the one (c, s, s) that its target is surest of; None if none is there."""
    for chosen in surest(store, attacks):
        try:
            image: Pixels = _read(store, chosen.stage)["images"][chosen.image]
        except UNREADABLE:
            continue
        return image
    return None


def first_cells(rows: Sequence[GridRow], split: str) -> dict[int, Mapping[str, Any]]:
    """By label, the first cell that names a split of this sort (for the public one: and whom of it, or his fakes)."""
    found: dict[int, Mapping[str, Any]] = {}
    for row in rows:
        for cell in row["cells"]:
            led = cell.get("decoy") is not None or cell.get("fakes_public")
            if cell.get(split) and (split != "public" or led):
                found.setdefault(cell["label"], cell)
    return found


def of_person(store: Store, cell: Mapping[str, Any] | None, split: str, who: str) -> Pixels | None:
    """First image (c, s, s) of a label in a stored split, or None; of a decoy that is nobody's, his first fake."""
    if cell is None:
        return None
    try:
        if who == "decoy" and cell["decoy"] is None:
            return read_image(store.load(cell["fakes_public"]), 0)
        images, labels = split_rows(store.load(cell[split]), store.load)
        places = np.flatnonzero(labels == cell[who])[:1]
        return images.take(places)[0] if places.size else None
    except UNREADABLE:
        return None


def _read(store: Store, key: str) -> dict[str, NDArray[Any]]:
    from safetensors.numpy import load_file

    return dict(load_file(store.load(key).path("images.safetensors")))
