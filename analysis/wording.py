"""How numbers, columns and remarks read for people; shared by terminal, Markdown, LaTeX and HTML."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from analysis.records import Failure, Missing
from analysis.rows import ComparisonRow

NOTHING = "–"  # what was not measured
SECOND = "†"  # marks the second evaluator's columns
CONVERGED = 0.8
STALLED = "*"  # marks what rests on an attack that did not converge
NOT_CONVERGED = "the attack did not converge on the target; a low AA is not yet evidence"
INTERVALS = (
    "AA, MC, target conf. in percent. 95% intervals: AA and MC l_t by a bootstrap clustered by label (Wilson over the "
    "images where that has nothing to vary); MC all by Wilson over the test images where the row has one target, and "
    "by drawing targets and test images anew where it has several. target conf. has none."
)
NONE_RAN = "The spec was searched; none of the cells of its own grid has run (decoygrid run does that)."
_KEYS_SHOWN = 3


class Column(NamedTuple):
    """A column: its heading and, for a row, the value as text and its interval (or "")."""

    heading: str
    text: Callable[[ComparisonRow], tuple[str, str]]
    optional: bool = False  # left out where no row has a value


class Remark(NamedTuple):
    """A line below a table."""

    kind: Literal["note", "warning", "missing"]
    text: str


def percent(value: float | None) -> str:
    """A fraction as percent with one decimal, without the sign: 0.475 -> 47.5."""
    return NOTHING if value is None else f"{100 * value:.1f}"


def interval(low: float | None, high: float | None) -> str:
    """Two fractions as percent: 38.1–57.0; "" if unknown."""
    return "" if low is None or high is None else f"{100 * low:.1f}–{100 * high:.1f}"


def number(value: float | None) -> str:
    """Three significant digits, thousands as k and millions as M."""
    if value is None:
        return NOTHING
    for least, divisor, unit in ((1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= least:
            return f"{value / divisor:.1f}{unit}"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def seconds(value: float | None) -> str:
    """Seconds below two minutes, then minutes."""
    if value is None:
        return NOTHING
    return f"{value / 60:.1f} min" if value >= 120 else f"{value:.3g} s"


def reruns(run: int, counted: int) -> str:
    """Cells whose attack was run again, and those where the second run counts: 3 (2)."""
    return f"{run} ({counted})" if run else NOTHING


def _some(value: float | None) -> str:
    return number(value or None)


def _rate(heading: str, field: str) -> Column:
    def text(row: ComparisonRow) -> tuple[str, str]:
        low, high = getattr(row, f"{field}_low"), getattr(row, f"{field}_high")
        return percent(getattr(row, field)), interval(low, high)

    return Column(heading, text)


def _plain(heading: str, field: str, show: Callable[[float | None], str], *, optional: bool = False) -> Column:
    return Column(heading, lambda row: (show(getattr(row, field)), ""), optional)


RATES = (
    _rate("AA top-1", "aa_top1"),
    _rate("AA top-5", "aa_top5"),
    _rate(f"AA top-1 {SECOND}", "aa_top1_second"),
    _rate(f"AA top-5 {SECOND}", "aa_top5_second"),
    _rate("MC all", "mc_all"),
    _rate("MC l_t", "mc_target"),
)
DISTANCES = (
    _plain("eq. 13", "feat_mean_sqdist", number),
    _plain("Fréchet", "frechet_evaluator", number),
    _plain("KNN", "knn_sqdist", number),
)
CONFIDENCE = _plain("target conf.", "target_confidence", percent)
PASSES = _plain("passes", "passes", number)
QUERIES = _plain("queries", "queries", number, optional=True)
SETUP = _plain("setup queries", "setup_queries", _some, optional=True)
RERUNS = Column("rerun (counted)", lambda row: (reruns(row.reruns, row.reruns_counted), ""), optional=True)
SECONDS = _plain("time", "attack_seconds", seconds)
WIDE = (
    *RATES,
    *DISTANCES,
    _plain("FID Inception", "fid_inception", number, optional=True),
    _plain("diversity", "diversity", number),
    CONFIDENCE,
    PASSES,
    QUERIES,
    SETUP,
    RERUNS,
    SECONDS,
    Column("images", lambda row: (str(row.images), "")),
    Column("cells missing", lambda row: (f"{row.cells_missing} of {row.cells}", "")),
)


def used(columns: Iterable[Column], rows: Sequence[ComparisonRow]) -> list[Column]:
    """The columns without the optional ones that are empty in every row."""
    return [c for c in columns if not c.optional or any(c.text(row)[0] != NOTHING for row in rows)]


def converged(confidence: float | None) -> bool:
    """Whether an attack convinced its target, by its target conf.; one that is unknown is not held against it."""
    return confidence is None or confidence >= CONVERGED


def groups(rows: Iterable[ComparisonRow]) -> dict[tuple[str, str], list[ComparisonRow]]:
    """Rows by (dataset, victim), in order: what is compared with each other."""
    found: dict[tuple[str, str], list[ComparisonRow]] = {}
    for row in rows:
        found.setdefault((row.dataset, row.victim), []).append(row)
    return found


def title(rows: Sequence[ComparisonRow]) -> str:
    """Heading of one group, e.g. `orl · vgg16_bn · 20 labels · 1 seed`."""
    labels, seeds = max(row.labels for row in rows), max(row.seeds for row in rows)
    counts = f"{labels} label{'s' * (labels != 1)} · {seeds} seed{'s' * (seeds != 1)}"
    return f"{rows[0].dataset} · {rows[0].victim} · {counts}"


def remarks(
    rows: Sequence[ComparisonRow],
    missing: Sequence[Missing] = (),
    failures: Sequence[Failure] = (),
    classes: Mapping[str, int] | None = None,
    notes: Iterable[str] = (),
) -> list[Remark]:
    """Everything a reader of the table must know, notes first, then warnings, then what is missing.

    classes: number of classes by dataset, for the chance level; notes: further lines.
    """
    found = [
        Remark("note", INTERVALS),
        Remark("note", f"{SECOND} second evaluator: used for selection, where anything is selected; F_E never is."),
    ]
    for dataset in dict.fromkeys(row.dataset for row in rows):
        if number_of := (classes or {}).get(dataset):
            top5 = f", top-5 5/{number_of} = {500 / number_of:.1f}%" if number_of > 5 else ""
            chance = f"top-1 1/{number_of} = {100 / number_of:.1f}%{top5}"
            found.append(Remark("note", f"Chance level of AA on {dataset}: {chance}."))
    found += [Remark("note", note) for note in notes]
    for row in rows:
        if not converged(row.target_confidence):
            where = _place(row.dataset, row.victim, row.defense, row.attack)
            again = f"; {row.reruns} of {row.cells} cells were run again" if row.reruns else ""
            text = f"{where}: target conf. {percent(row.target_confidence)}%{again}: {NOT_CONVERGED}"
            found.append(Remark("warning", text))
    return found + _missing_remarks(missing, failures)


def _place(dataset: str, victim: str, defense: str, attack: str) -> str:
    return f"{dataset} / {victim} / {defense} / {attack}"


def _missing_remarks(missing: Sequence[Missing], failures: Sequence[Failure]) -> list[Remark]:
    """One line for each row, stage and reason; which labels, and the first keys."""
    gathered: dict[tuple[str, str, str, str], list[Missing]] = {}
    for item in missing:
        place = _place(item.dataset, item.victim, item.defense, item.attack)
        gathered.setdefault((place, item.stage, item.reason, item.detail), []).append(item)
    found = []
    for (place, stage, reason, detail), items in gathered.items():
        labels = ", ".join(str(label) for label in sorted({i.label for i in items if i.label is not None}))
        which = f" of label {labels}" if labels else ""
        keys = list(dict.fromkeys(item.key for item in items))
        more = f" and {len(keys) - _KEYS_SHOWN} more" if len(keys) > _KEYS_SHOWN else ""
        shown = ", ".join(keys[:_KEYS_SHOWN]) + more
        because = f": {detail}" if detail else ""
        found.append(Remark("missing", f"{place}: {stage}{which} {reason} ({shown}){because}"))
    told = " ".join(remark.text for remark in found)
    for failure in failures:
        if failure.error not in told:
            found.append(Remark("missing", f"failed: {failure.name} ({failure.key}): {failure.error}"))
    return found
