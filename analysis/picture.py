"""The picture: a row for each protected label: private person, decoy, inverted before and after the defense.

Each inverted image is the one that the target itself is surest of. No evaluator has a say, since an attacker
has none. Only the private reference column shows private photographs; `private=False` leaves it out.
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.records import UNREADABLE, Document, counted_attack
from grid.store import Store

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]  # (c, s, s)
GridRow = Mapping[str, Any]
TILE = 128  # pixels per side aimed at; images are enlarged by a whole factor
_SMALL_TILE = 64  # where many attacks stand side by side
_GAP, _MARGIN, _FONT = 8, 16, 15
_LINE = _FONT + 6
_NOTE = "Inverted: of all attack images, the one that the target is surest of."
_INK, _FAINT, _PAPER, _BLANK = (25, 25, 25), (120, 120, 120), (255, 255, 255), (236, 236, 236)


class _Column(NamedTuple):
    heading: str
    image: Callable[[int], Pixels | None]  # label -> image


class Panel(NamedTuple):
    """One picture's content: a row of tiles for each label; None is a blank tile."""

    title: str
    headings: list[str]
    names: list[str]
    tiles: list[list[Pixels | None]]
    tile: int = TILE  # pixels per side aimed at


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
        stem = "-".join(["faces", *(re.sub(r"[^\w.+]+", "_", part) for part in parts)])
        while f"{stem}.png" in found:  # two names that differ only in characters that no file name has
            stem += "_"
        found[f"{stem}.png"] = data
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
    return {"attacks.png": draw(panel)}


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
    return draw(Panel(title, [column.heading for column in (*references, *inverted)], names, tiles))


def best_by_target(store: Store, attacks: Sequence[str]) -> Pixels | None:
    """Of the attack images (c, s, s) of some attack stages, the one with the highest target_p.

    target_p is the target's own probability of l_t. Ties go to the first image. None if no attack is there.
    """
    best: tuple[float, Pixels] | None = None
    for key in attacks:
        try:
            artifact = store.load(key)
            artifact.path("samples.parquet")
            images = _read(store, key)["images"]
        except UNREADABLE:
            continue
        target_p = np.nan_to_num(artifact.table("samples.parquet")["target_p"].to_numpy(), nan=-1.0)
        if target_p.size and (best is None or target_p.max() > best[0]):
            best = float(target_p.max()), images[int(target_p.argmax())]
    return best[1] if best else None


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


def first_cells(rows: Sequence[GridRow], split: str) -> dict[int, Mapping[str, Any]]:
    """By label, the first cell that names a split of this sort (and a decoy, for the public one)."""
    found: dict[int, Mapping[str, Any]] = {}
    for row in rows:
        for cell in row["cells"]:
            if cell.get(split) and (split != "public" or cell.get("decoy") is not None):
                found.setdefault(cell["label"], cell)
    return found


def of_person(store: Store, cell: Mapping[str, Any] | None, split: str, who: str) -> Pixels | None:
    """First image (c, s, s) of a label in a stored split, or None."""
    if cell is None:
        return None
    try:
        stored = _read(store, cell[split])
    except UNREADABLE:
        return None
    places = np.flatnonzero(stored["labels"] == cell[who])
    return stored["images"][int(places[0])] if places.size else None


def _read(store: Store, key: str) -> dict[str, NDArray[Any]]:
    from safetensors.numpy import load_file

    return dict(load_file(store.load(key).path("images.safetensors")))


def _label_name(rows: Sequence[GridRow], label: int) -> str:
    people = [cell.get("person") for row in rows for cell in row["cells"] if cell["label"] == label]
    person = next((name for name in people if name), None)
    return f"{person}\nlabel {label}" if person else f"label {label}"


def draw(panel: Panel, note: str = _NOTE) -> bytes:
    """PNG of a panel: title, headings, and a line of tiles for each name."""
    from PIL import Image, ImageDraw

    font, small = _font(_FONT), _font(_FONT - 2)
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    sides = [max(tile.shape[1:]) for line in panel.tiles for tile in line if tile is not None]
    side = max(pixels * max(1, panel.tile // pixels) for pixels in sides)
    left = _MARGIN + max(_width(measure, name, font) for name in panel.names) + 2 * _GAP
    starts = [left]
    for heading in panel.headings:
        starts.append(starts[-1] + max(side, _width(measure, heading, font)) + _GAP)
    headed = max((heading.count("\n") + 1 for heading in panel.headings if heading), default=0)
    top = _MARGIN + (2 + headed) * _LINE  # title, a line of air, the headings
    lines = [top + row * (side + _GAP) for row in range(len(panel.tiles) + 1)]
    needed = max(_width(measure, panel.title, font), _width(measure, note, small)) + _MARGIN
    sheet = Image.new("RGB", (max(starts[-1], needed) + _MARGIN, lines[-1] + _FONT + _MARGIN), _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN, _MARGIN), panel.title, fill=_INK, font=font)
    pen.text((_MARGIN, lines[-1]), note, fill=_FAINT, font=small)
    middles = [(x + after - _GAP) // 2 for x, after in itertools.pairwise(starts)]
    for middle, heading in zip(middles, panel.headings, strict=True):
        at = (middle, top - _GAP)
        pen.multiline_text(at, heading, fill=_INK, font=font, anchor="md", align="center")
    for y, name, line in zip(lines, panel.names, panel.tiles, strict=False):
        pen.multiline_text((_MARGIN, y + side // 2), name, fill=_INK, font=font, anchor="lm")
        for middle, tile in zip(middles, line, strict=True):
            _place(sheet, pen, tile, (middle - side // 2, y), side)
    out = io.BytesIO()
    sheet.save(out, "PNG")
    return out.getvalue()


def _place(sheet: Image.Image, pen: ImageDraw.ImageDraw, tile: Pixels | None, at: tuple[int, int], side: int) -> None:
    """Paste one image at `at`, enlarged by a whole factor (nearest neighbour), or a blank tile."""
    from PIL import Image

    if tile is None:
        pen.rectangle((*at, at[0] + side - 1, at[1] + side - 1), fill=_BLANK)
        pen.text((at[0] + side // 2, at[1] + side // 2), "–", fill=_FAINT, font=_font(_FONT), anchor="mm")
        return
    pixels = tile[0] if tile.shape[0] == 1 else tile.transpose(1, 2, 0)
    factor = max(1, side // max(tile.shape[1:]))
    image = Image.fromarray(np.ascontiguousarray(pixels))
    enlarged = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    sheet.paste(enlarged, at)


def _width(pen: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont) -> int:
    return max(int(pen.textlength(line, font=font)) + 1 for line in text.split("\n"))


def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib: one font on every machine, with more than Latin letters."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)
