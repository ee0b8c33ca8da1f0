"""Defended against undefended, paired by protected label and seed: differences in AA, and how sure of them we are."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from statistics import fmean
from typing import Any

from analysis.comparison import RATES
from analysis.formats import escape_markdown, markdown_line
from analysis.intervals import cluster_bootstrap, pooled_mean
from analysis.permutation import EXACT, FLIPS, holm, sign_flip_p, smallest_p
from analysis.records import ROW_COLUMNS, Document, Records
from analysis.wording import NOTHING, SECOND

HEADINGS = {
    "aa_top1": "AA top-1",
    "aa_top5": "AA top-5",
    "aa_top1_second": f"AA top-1 {SECOND}",
    "aa_top5_second": f"AA top-5 {SECOND}",
}
LEVEL = 0.05
READING = (
    "Differences in percentage points, defended minus undefended, over the same protected labels and seeds: below 0 "
    "the attack gets less from the defended model. In brackets 95% by a bootstrap clustered by label; it is too narrow "
    "where labels are few, and absent where it has nothing to vary.",
    "p: how often a difference as large, in either direction, comes up if the signs of whole labels (all their seeds "
    f"together) are flipped: every flip up to {EXACT} labels, {FLIPS} random ones beyond. In brackets after Holm's "
    "correction over the rows of the table, for each measure by itself.",
    "Where an attack did not converge on the defended model it was run again, and the outcome that is worse for the "
    "defense counts; the undefended model has no such second try. Cells that were not evaluated make no pair.",
    "A large p says that these labels cannot tell, never that a defense has no effect: read the difference and its "
    "interval. A small p speaks of these attacks on these labels' models, not of attacks to come.",
    f"{SECOND} second evaluator: used for selection, where anything is selected; F\\_E never is.",
)
Pair = tuple[int, int]  # label, seed


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedRow:
    """One line of paired.csv: one measure of one defended row beside the undefended row `against`.

    labels, pairs: protected labels and (label, seed) pairs that both rows have; pairs_missing: planned ones that
    they have not. undefended, defended: mean AA over the pairs, each with the same weight; difference: defended
    minus undefended, so a defense that helps is below 0; low, high: its 95% interval, None where it cannot be
    told (one label, or all pairs alike). p: two-sided, see `sign_flip_p`; p_holm: among the rows of the same
    dataset and victim, for the same measure, of which there are `rows_tested`; p_smallest: the least p that so
    many labels can give, before Holm; method: exact or monte_carlo.
    """

    dataset: str
    victim: str
    defense: str
    attack: str
    against: str
    measure: str
    labels: int
    pairs: int
    pairs_missing: int
    undefended: float | None = None
    defended: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    p_smallest: float | None = None
    rows_tested: int = 0
    method: str = ""


def paired_rows(records: Records) -> list[PairedRow]:
    """Every defended row with its undefended one, a line per measure, in the document's order; controls left out.

    The undefended row is that of the same dataset, victim and attack. A pair is one label and seed under both:
    the difference of the two cells' AA. Cells that were not evaluated have none. Where the attack on the
    defended model was run again, AA is that of the run that counts, which can only be worse for the defense.
    """
    found: list[PairedRow] = []
    rows = records.document["rows"]
    bases = _undefended_rows(records.document)
    before = {base: _cell_means(records, base) for base in bases.values()}
    for position, row in enumerate(rows):
        base = bases.get(_place(row))
        if row.get("control") or row.get("undefended") or base is None:
            continue
        after = _cell_means(records, position)
        planned = {(cell["label"], cell["seed"]) for cell in row["cells"]}
        names = {name: row[name] for name in ROW_COLUMNS}
        for measure in RATES:
            line = _compared(before[base][measure], after[measure], planned)
            found.append(PairedRow(**names, against=rows[base]["defense"], measure=measure, **line))
    return _holm_by_table(found)


def _compared(before: Mapping[Pair, float], after: Mapping[Pair, float], planned: set[Pair]) -> dict[str, Any]:
    pairs = sorted(before.keys() & after.keys())
    by_label: dict[int, list[float]] = {}
    for pair in pairs:
        by_label.setdefault(pair[0], []).append(after[pair] - before[pair])
    counts = {"labels": len(by_label), "pairs": len(pairs), "pairs_missing": len(planned - set(pairs))}
    if not pairs:
        return counts
    low, high = cluster_bootstrap(by_label) if len(by_label) > 1 else (0.0, 0.0)
    varies = high - low > 1e-9  # all pairs alike, or one label: there is nothing to resample
    return counts | {
        "undefended": fmean(before[pair] for pair in pairs),
        "defended": fmean(after[pair] for pair in pairs),
        "difference": pooled_mean(by_label),
        "low": low if varies else None,
        "high": high if varies else None,
        "p": sign_flip_p(by_label),
        "p_smallest": smallest_p(len(by_label)),
        "method": "exact" if len(by_label) <= EXACT else "monte_carlo",
    }


def _holm_by_table(rows: Sequence[PairedRow]) -> list[PairedRow]:
    families: dict[tuple[str, str, str], list[int]] = {}
    for i, row in enumerate(rows):
        if row.p is not None:
            families.setdefault((row.dataset, row.victim, row.measure), []).append(i)
    found = list(rows)
    for places in families.values():
        for i, p in zip(places, holm([rows[i].p or 0.0 for i in places]), strict=True):
            found[i] = replace(rows[i], p_holm=p, rows_tested=len(places))
    return found


def _place(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["dataset"], row["victim"], row["attack"]


def _undefended_rows(document: Document) -> dict[tuple[str, str, str], int]:
    """Position of the first undefended row by dataset, victim and attack."""
    found: dict[tuple[str, str, str], int] = {}
    for position, row in enumerate(document["rows"]):
        if row.get("undefended") and not row.get("control"):
            found.setdefault(_place(row), position)
    return found


def _cell_means(records: Records, position: int) -> dict[str, dict[Pair, float]]:
    """By measure and (label, seed), the share of hits among a cell's images; cells with an unjudged image left out."""
    table = records.row_outcomes(position).select(["label", "seed", *RATES.values()]).to_pydict()
    pairs = list(zip(table["label"], table["seed"], strict=True))
    found: dict[str, dict[Pair, float]] = {}
    for measure, column in RATES.items():
        hits: dict[Pair, list[bool | None]] = {}
        for pair, hit in zip(pairs, table[column], strict=True):
            hits.setdefault(pair, []).append(hit)
        found[measure] = {pair: fmean(map(bool, own)) for pair, own in hits.items() if None not in own}
    return found


def paired_csv(rows: Sequence[PairedRow]) -> str:
    """A header and a line per row and measure; fractions in [0, 1]; what cannot be told is empty."""
    names = [field.name for field in fields(PairedRow)]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([getattr(row, name) for name in names] for row in rows)
    return out.getvalue()


def paired_markdown(rows: Sequence[PairedRow]) -> str:
    """A table for each dataset and victim, a line per row, differences in percentage points; then how to read it."""
    parts = ["# Defended minus undefended, pair by pair"]
    groups: dict[tuple[str, str], list[PairedRow]] = {}
    for row in rows:
        groups.setdefault((row.dataset, row.victim), []).append(row)
    for (dataset, victim), group in groups.items():
        headings = [text for name in RATES for text in (HEADINGS[name], "p (Holm)")]
        lines = [f"### {escape_markdown(f'{dataset} · {victim}')}", ""]
        lines += [
            markdown_line(["defense", "attack", "labels", "pairs", *headings]),
            "|---|---|" + "--:|" * (2 + len(headings)),
        ]
        for start in range(0, len(group), len(RATES)):
            first = group[start]
            about = [
                first.defense,
                first.attack,
                str(first.labels),
                f"{first.pairs} of {first.pairs + first.pairs_missing}",
            ]
            lines.append(
                markdown_line([*about, *(t for row in group[start : start + len(RATES)] for t in _texts(row))])
            )
        parts += ["\n".join(lines), "\n".join(f"- {line}" for line in _limits(group))]
    return "\n\n".join([*parts, "\n".join(f"- {line}" for line in READING)]) + "\n"


def _signed(difference: float) -> str:
    """Percentage points with their sign; what rounds to 0 has none."""
    points = round(100 * difference, 1)
    return f"{points:+.1f}" if points else "0.0"


def _texts(row: PairedRow) -> tuple[str, str]:
    """Difference with its interval, and p with Holm's in brackets."""
    if row.difference is None or row.p is None or row.p_holm is None:
        return NOTHING, NOTHING
    around = "" if row.low is None or row.high is None else f" [{_signed(row.low)}, {_signed(row.high)}]"
    return f"{_signed(row.difference)}{around}", f"{row.p:.3g} ({row.p_holm:.3g})"


def _limits(group: Sequence[PairedRow]) -> Iterator[str]:
    """What p can be at best with so many labels; each number of labels once."""
    tested = [row for row in group if row.p_smallest is not None]
    for labels, least, rows in dict.fromkeys((row.labels, row.p_smallest or 0.0, row.rows_tested) for row in tested):
        text = f"With {labels} label{'s' * (labels != 1)} the smallest p that the test can give at all is {least:.3g}"
        text += f", after Holm over {rows} rows {min(1.0, rows * least):.3g}." if rows > 1 else "."
        if rows * least > LEVEL:
            text += f" No row can get below {LEVEL} after Holm, however well a defense works: too few labels to tell."
        yield text
