"""Defended against undefended, paired by protected label and seed: differences in AA, and how sure of them we are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, NamedTuple

from analysis.comparison import RATES
from analysis.intervals import cluster_bootstrap, pooled_mean
from analysis.permutation import EXACT, holm, sign_flip_p, smallest_p
from analysis.records import ROW_COLUMNS, Document, Records, evaluations

Pair = tuple[int, int]  # label, seed


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedRow:
    """One line of paired.csv: one measure of one defended row beside the undefended row `against`.

    labels, pairs: protected labels and (label, seed) pairs that both rows have; pairs_missing: planned ones that
    they have not. undefended, defended: mean AA over the pairs, each with the same weight; *_confidence: mean
    target_confidence over them; where it is low the attack did not converge, and a low AA is no evidence. difference:
    defended minus undefended, so a defense that helps is below 0; low, high: its 95% interval, None where it cannot
    be told (one label, or all pairs alike). p: two-sided, see `sign_flip_p`; p_holm: among the measurements of the
    same dataset and victim, for the same measure, of which there are `rows_tested`; p_smallest: the least p that so
    many labels can give, before Holm; method: exact or monte_carlo.

    same_as: the row whose evaluations are this row's own, every one of them; "" for a measurement of its own. Where
    that is `against`, the difference is 0 whatever the numbers, so nothing is tested: no p. Where it is an earlier
    defended row, both have its p, and Holm counts them once.
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
    undefended_confidence: float | None = None
    defended_confidence: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    p_smallest: float | None = None
    rows_tested: int = 0
    method: str = ""
    same_as: str = ""


def paired_rows(records: Records) -> list[PairedRow]:
    """Every defended row with its undefended one, a line per measure, in the document's order; controls left out.

    The undefended row is that of the same dataset, victim and attack. A pair is one label and seed under both:
    the difference of the two cells' AA. Cells that were not evaluated have none. Where the attack on the
    defended model was run again, AA is that of the run that counts, which can only be worse for the defense.
    """
    found: list[PairedRow] = []
    rows = records.document["rows"]
    bases = _undefended_rows(records.document)
    sides = {base: _side(records, base) for base in bases.values()}
    firsts: dict[Any, Mapping[str, Any]] = {}
    measured: list[Any] = []
    for position, row in enumerate(rows):
        base = bases.get(_place(row))
        if row.get("control") or row.get("undefended") or base is None:
            continue
        after, what = _side(records, position), (_place(row)[:2], evaluations(row))
        first = firsts.setdefault(what, row)
        nothing_new = evaluations(row) == evaluations(rows[base])
        twin = rows[base] if nothing_new else first if first is not row else None
        about = {name: row[name] for name in ROW_COLUMNS}
        about |= {"against": rows[base]["defense"], "same_as": _named(twin, row) if twin else ""}
        planned = {(cell["label"], cell["seed"]) for cell in row["cells"]}
        for measure in RATES:
            line = _compared(sides[base], after, measure, planned)
            if nothing_new:
                line |= {"p": None, "p_smallest": None, "method": ""}
            found.append(PairedRow(**about, measure=measure, **line))
            measured.append(what)
    return _holm_by_table(found, measured)


def _named(twin: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    return str(twin["defense"] if twin["attack"] == row["attack"] else f"{twin['defense']} / {twin['attack']}")


def _compared(before: _Side, after: _Side, measure: str, planned: set[Pair]) -> dict[str, Any]:
    was, now = before.rates[measure], after.rates[measure]
    pairs = sorted(was.keys() & now.keys())
    by_label: dict[int, list[float]] = {}
    for pair in pairs:
        by_label.setdefault(pair[0], []).append(now[pair] - was[pair])
    counts = {"labels": len(by_label), "pairs": len(pairs), "pairs_missing": len(planned - set(pairs))}
    if not pairs:
        return counts
    low, high = cluster_bootstrap(by_label) if len(by_label) > 1 else (0.0, 0.0)
    varies = high - low > 1e-9  # all pairs alike, or one label: there is nothing to resample
    return counts | {
        "undefended": fmean(was[pair] for pair in pairs),
        "defended": fmean(now[pair] for pair in pairs),
        "undefended_confidence": _known_mean(before.confidence.get(pair) for pair in pairs),
        "defended_confidence": _known_mean(after.confidence.get(pair) for pair in pairs),
        "difference": pooled_mean(by_label),
        "low": low if varies else None,
        "high": high if varies else None,
        "p": sign_flip_p(by_label),
        "p_smallest": smallest_p(len(by_label)),
        "method": "exact" if len(by_label) <= EXACT else "monte_carlo",
    }


def _holm_by_table(rows: Sequence[PairedRow], measured: Sequence[Any]) -> list[PairedRow]:
    """Holm for each dataset, victim and measure. measured: of each row, what it measures; equal ones count once."""
    families: dict[tuple[str, str, str], dict[Any, list[int]]] = {}
    for i, (row, what) in enumerate(zip(rows, measured, strict=True)):
        if row.p is not None:
            families.setdefault((row.dataset, row.victim, row.measure), {}).setdefault(what, []).append(i)
    found = list(rows)
    for family in families.values():
        adjusted = holm([rows[same[0]].p or 0.0 for same in family.values()])
        for same, p in zip(family.values(), adjusted, strict=True):
            for i in same:
                found[i] = replace(rows[i], p_holm=p, rows_tested=len(family))
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


class _Side(NamedTuple):
    """One row's cells: by measure and (label, seed) the share of hits among its images, and target_confidence."""

    rates: Mapping[str, Mapping[Pair, float]]
    confidence: Mapping[Pair, float]


def _side(records: Records, position: int) -> _Side:
    """Cells that were not evaluated are left out, and from a measure those with an unjudged image."""
    table = records.row_outcomes(position).select(["label", "seed", *RATES.values()]).to_pydict()
    pairs = list(zip(table["label"], table["seed"], strict=True))
    found: dict[str, dict[Pair, float]] = {}
    for measure, column in RATES.items():
        hits: dict[Pair, list[bool | None]] = {}
        for pair, hit in zip(pairs, table[column], strict=True):
            hits.setdefault(pair, []).append(hit)
        found[measure] = {pair: fmean(map(bool, own)) for pair, own in hits.items() if None not in own}
    cells = records.document["rows"][position]["cells"]
    stages = {(cell["label"], cell["seed"]): records.stages.get(cell["evaluate"]) for cell in cells}
    known = {pair: stage["metrics"].get("target_confidence") for pair, stage in stages.items() if stage}
    return _Side(found, {pair: value for pair, value in known.items() if value is not None})


def _known_mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
