"""The lines of the paper's tables: which datasets and attacks a grid has, in the paper's order, under its names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from analysis.paper_values import ATTACKS, DATASETS
from analysis.records import Document
from analysis.rows import ComparisonRow

_DATASETS = {"celeba": "CelebA", "vggface": "VGG-Face", "vggface2": "VGG-Face2", "orl": "ORL"}
Pair = tuple[Mapping[str, Any], ComparisonRow]


class Attacked(NamedTuple):
    """What a line is of, by the names in table.csv; `paper`: the paper's (dataset, attack), empty if it has none."""

    dataset: str
    victim: str
    attack: str
    paper: tuple[str, str]
    shown: tuple[str, str]


def uncontrolled(document: Document, rows: Sequence[ComparisonRow]) -> list[Pair]:
    """The document's rows with the pooled ones; without controls, which the paper has not."""
    together = zip(document["rows"], rows, strict=True)
    return [(about, row) for about, row in together if not about.get("control")]


def places(document: Document, pairs: Sequence[Pair]) -> dict[tuple[str, str], str]:
    """(dataset, victim) -> heading: the paper's datasets in its order, then the others in the document's."""
    found = list(dict.fromkeys((row.dataset, row.victim) for _, row in pairs))
    datasets = [dataset for dataset, _ in found]
    found.sort(key=lambda place: _rank(dataset_kind(document, place[0]), DATASETS))
    headings = {}
    for dataset, victim in found:
        heading = _DATASETS.get(dataset, dataset)
        headings[dataset, victim] = f"{heading} · {victim}" if datasets.count(dataset) > 1 else heading
    return headings


def attacked(document: Document, pairs: Sequence[Pair]) -> list[Attacked]:
    """Every (dataset, victim, attack): attacks in the paper's order, variants beside their kind, then the others.

    Of several variants of one attack the paper's numbers belong to the one that is named as its kind, or to the
    first.
    """
    lines = []
    for (dataset, victim), heading in places(document, pairs).items():
        own = [(about, row) for about, row in pairs if (row.dataset, row.victim) == (dataset, victim)]
        kinds = {row.attack: str(about.get("attack_kind") or row.attack) for about, row in own}
        order = list(dict.fromkeys(kinds.values()))
        ordered = sorted(kinds, key=lambda name: (_rank(_printed(kinds[name]), ATTACKS), order.index(kinds[name])))
        for kind in dict.fromkeys(kinds[name] for name in ordered):
            variants = sorted((name for name in ordered if kinds[name] == kind), key=lambda name: name != kind)
            for i, name in enumerate(variants):
                paper = (dataset_kind(document, dataset), _printed(kind)) if i == 0 else ("", "")
                lines.append(Attacked(dataset, victim, name, paper, (heading, _printed(name))))
    return lines


def dataset_kind(document: Document, shown: str) -> str:
    """Which dataset a row's name means: by the spec where it renames one, else by its letters (VGG-Face2: vggface2)."""
    given = (document.get("spec") or {}).get("dataset")
    for entry in given if isinstance(given, list) else [given]:
        if isinstance(entry, dict) and entry.get("as") == shown and entry.get("name") in DATASETS:
            return str(entry["name"])
    return "".join(character for character in shown.lower() if character.isalnum())


def _printed(attack: str) -> str:
    """The paper's name of an attack; the attack's own if the paper has not got it."""
    return next((name for name in ATTACKS if name.lower() == attack), attack)


def _rank(name: str, order: Sequence[str]) -> int:
    return order.index(name) if name in order else len(order)
