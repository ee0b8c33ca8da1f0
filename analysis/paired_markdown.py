"""The paired differences for people: a table for each dataset and victim, what it can tell, and how to read it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from analysis.comparison import RATES
from analysis.formats import escape_markdown, markdown_line
from analysis.paired import PairedRow
from analysis.permutation import EXACT, FLIPS
from analysis.wording import CONVERGED, NOT_CONVERGED, NOTHING, SECOND, STALLED, converged, percent

HEADINGS = {
    "aa_top1": "AA top-1",
    "aa_top5": "AA top-5",
    "aa_top1_second": f"AA top-1 {SECOND}",
    "aa_top5_second": f"AA top-5 {SECOND}",
}
LEVEL = 0.05
BASE_STALLED = "‡"  # marks a difference from an undefended row on which the attack did not converge
READING = (
    "Differences in percentage points, defended minus undefended, over the same protected labels and seeds: below 0 "
    "the attack gets less from the defended model. In brackets 95% by a bootstrap clustered by label; it is too narrow "
    "where labels are few, and absent where it has nothing to vary.",
    "p: how often a difference as large, in either direction, comes up if the signs of whole labels (all their seeds "
    f"together) are flipped: every flip up to {EXACT} labels, {FLIPS} random ones beyond. In brackets after Holm's "
    "correction over the rows of the table that are measurements of their own, for each measure by itself.",
    "Where an attack did not converge on the defended model it was run again, and the outcome that is worse for the "
    "defense counts; the undefended model has no such second try. Cells that were not evaluated make no pair.",
    "A large p says that these labels cannot tell, never that a defense has no effect: read the difference and its "
    "interval. A small p speaks of these attacks on these labels' models, not of attacks to come.",
    f"{SECOND} second evaluator: used for selection, where anything is selected; F_E never is.",
)


def paired_markdown(rows: Sequence[PairedRow]) -> str:
    """A line per row, differences in percentage points."""
    parts = ["# Defended minus undefended, pair by pair"]
    groups: dict[tuple[str, str], list[PairedRow]] = {}
    for row in rows:
        groups.setdefault((row.dataset, row.victim), []).append(row)
    for (dataset, victim), group in groups.items():
        headings = [text for name in RATES for text in (HEADINGS[name], "p (Holm)")]
        lines = [f"### {escape_markdown(f'{dataset} · {victim}')}", ""]
        lines += [
            markdown_line(["defense", "attack", "labels", "pairs", "target conf.", *headings]),
            "|---|---|" + "--:|" * (3 + len(headings)),
        ]
        for start in range(0, len(group), len(RATES)):
            own = group[start : start + len(RATES)]
            lines.append(markdown_line([*_about(own[0]), *(text for row in own for text in _texts(row))]))
        notes = [*_limits(group), *_marks_explained(group), *_same(group)]
        parts += ["\n".join(lines), *(["\n".join(f"- {escape_markdown(note)}" for note in notes)] if notes else [])]
    return "\n\n".join([*parts, "\n".join(f"- {escape_markdown(line)}" for line in READING)]) + "\n"


def _about(row: PairedRow) -> list[str]:
    pairs = f"{row.pairs} of {row.pairs + row.pairs_missing}"
    confidence = f"{percent(row.undefended_confidence)} → {percent(row.defended_confidence)}"
    return [row.defense, row.attack, str(row.labels), pairs, confidence if row.pairs else NOTHING]


def _signed(difference: float) -> str:
    """Percentage points with their sign; what rounds to 0 has none."""
    points = round(100 * difference, 1)
    return f"{points:+.1f}" if points else "0.0"


def _texts(row: PairedRow) -> tuple[str, str]:
    """Difference with its marks and interval, and p with Holm's in brackets."""
    if row.difference is None:
        return NOTHING, NOTHING
    around = "" if row.low is None or row.high is None else f" [{_signed(row.low)}, {_signed(row.high)}]"
    p = NOTHING if row.p is None or row.p_holm is None else f"{row.p:.3g} ({row.p_holm:.3g})"
    return f"{_signed(row.difference)}{_marks(row)}{around}", p


def _marks(row: PairedRow) -> str:
    defended = "" if converged(row.defended_confidence) else STALLED
    return defended + ("" if converged(row.undefended_confidence) else BASE_STALLED)


def _limits(group: Sequence[PairedRow]) -> Iterator[str]:
    """What p can be at best with so many labels; each number of labels once."""
    tested = [row for row in group if row.p_smallest is not None]
    for labels, least, rows in dict.fromkeys((row.labels, row.p_smallest or 0.0, row.rows_tested) for row in tested):
        text = f"With {labels} label{'s' * (labels != 1)} the smallest p that the test can give at all is {least:.3g}"
        text += f", after Holm over {rows} rows {min(1.0, rows * least):.3g}." if rows > 1 else "."
        if rows * least > LEVEL:
            text += f" No row can get below {LEVEL} after Holm, however well a defense works: too few labels to tell."
        yield text


def _marks_explained(group: Sequence[PairedRow]) -> Iterator[str]:
    """What the marks of the table say; only those that are in it."""
    marks = "".join(_marks(row) for row in group if row.difference is not None)
    least = f"below {percent(CONVERGED)}%"
    if STALLED in marks:
        yield f"{STALLED} target conf. on the defended model (the second number) {least}: {NOT_CONVERGED}."
    if BASE_STALLED in marks:
        yield (
            f"{BASE_STALLED} target conf. on the undefended model (the first number) {least}: the attack did not "
            "converge there, so what a defense could take from it is too little, and a difference near 0 or above it "
            "says nothing against the defense."
        )


def _same(group: Sequence[PairedRow]) -> Iterator[str]:
    """Which rows are no measurement of their own."""
    untested: dict[str, list[str]] = {}
    once: dict[str, list[str]] = {}
    for row in group:
        if row.same_as:
            found = untested if row.same_as == row.against else once
            found.setdefault(f"{row.defense} as {row.same_as}", []).append(row.attack)
    if untested:
        yield f"The same measurement as undefended, so a difference of 0 that tests nothing: {_listed(untested)}."
    if once:
        yield f"One and the same measurement, which Holm's correction counts once: {_listed(once)}."


def _listed(found: dict[str, list[str]]) -> str:
    return "; ".join(f"{names} ({', '.join(dict.fromkeys(attacks))})" for names, attacks in found.items())
