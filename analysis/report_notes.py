"""What a reader of the comparison table must know beside its numbers: judges, controls, attacks, defenses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.records import PRIVATE, Document, Records, kind_of
from analysis.rows import ComparisonRow
from analysis.wording import SECOND, number, percent

ACCOUNTANTS = {"rdp": "RDP", "prv": "PRV"}


def report_notes(records: Records, rows: Sequence[ComparisonRow]) -> list[str]:
    """All notes, in reading order."""
    return [
        *evaluator_notes(rows),
        *control_notes(records.document),
        *attack_notes(rows),
        *output_notes(rows),
        *privacy_notes(records),
        *distance_notes(records),
    ]


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
            "the steps from where it ended on the undefended model (on the target itself, where that was trained "
            "anew), and the outcome that is worse for the defense counts. In brackets: cells where that is the second "
            "run. Passes, queries and time are of both."
        )
    return notes


def output_notes(rows: Sequence[ComparisonRow]) -> list[str]:
    """How attacks meet defenses that change a model's outputs; nothing where there are none."""
    outputs = dict.fromkeys(f"{row.defense} ({row.output})" for row in rows if row.output)
    return [f"How attacks meet output wrappers: {'; '.join(outputs)}."] if outputs else []


def privacy_notes(records: Records) -> list[str]:
    """What the privacy of each defense by DP-SGD is worth, by its accountant; each once."""
    rows = records.document["rows"]
    several = len({row["dataset"] for row in rows}) > 1  # delta depends on how many images there are
    found: dict[str, None] = {}
    for row in rows:
        name = f"{row['dataset']} / {row['defense']}" if several else row["defense"]
        keys = dict.fromkeys(cell.get("target") for cell in row["cells"])
        private = [key for key in keys if kind_of(records.document, key) == PRIVATE]
        found |= {f"{name}: {_guarantee(records.stages[key])}": None for key in private if key in records.stages}
    return [f"Differential privacy of one training image: {'; '.join(found)}."] if found else []


def _guarantee(stage: Mapping[str, Any]) -> str:
    """Epsilon by the accountant that chose the noise (`achieved_epsilon`), and by the other; or why there is none."""
    metrics = stage["metrics"]
    noise = f"noise multiplier {number(metrics.get('noise_multiplier'))}"
    if (epsilon := metrics.get("achieved_epsilon")) is None:
        return f"{stage.get('notes', {}).get('achieved_epsilon', 'epsilon is not known')}, {noise}"
    both = {name: metrics[f"achieved_epsilon_{name}"] for name in ACCOUNTANTS if f"achieved_epsilon_{name}" in metrics}
    mine = next((name for name, value in both.items() if value == epsilon), "")
    others = [f"{ACCOUNTANTS[name]} {number(value)}" for name, value in both.items() if name != mine]
    told = "; ".join([*([ACCOUNTANTS[mine]] if mine else []), *others])
    by = f" ({told})" if told else ""
    return f"epsilon {number(epsilon)} at delta {number(metrics.get('delta'))}{by}, {noise}"


def distance_notes(records: Records) -> list[str]:
    """Why a distance is absent, as its stage says; each reason once."""
    keys = dict.fromkeys(row.get("distance") for row in records.document["rows"])
    notes = [records.stages[key].get("notes", {}) for key in keys if key in records.stages]
    return list(dict.fromkeys(f"{name}: {text}" for found in notes for name, text in sorted(found.items())))
