"""The searches of one spec beside each other: searches.md with what each reaches, and their fronts in one picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.formats import escape_markdown, markdown_line
from analysis.fronts_plot import fronts_pictures
from analysis.search_parts import Search, Trial
from analysis.search_record import read_search
from analysis.search_tables import steps_of
from analysis.wording import INTERVALS, NOTHING, interval, percent

PROTECTED = {"single": "one model a label", "joint": "all in one model"}
DROPS = (0.0, 2.0, 5.0, 10.0)  # points of MC(all); the last column has no limit


def write_searches_page(documents: Sequence[Mapping[str, Any]], out: Path) -> dict[str, Path]:
    """Write searches.md and fronts.png/.svg below `out`, for two searches or more; nothing for fewer.

    documents: the searches' records. Returns the files' paths by name. Raises SpecError on a record that
    cannot be read.
    """
    searches = [read_search(document) for document in documents]
    if len(searches) < 2:
        return {}
    pictures = fronts_pictures(searches)
    content: dict[str, bytes] = {**pictures, "searches.md": searches_markdown(searches, bool(pictures)).encode()}
    for name, data in content.items():
        (out / name).write_bytes(data)
    return {name: out / name for name in sorted(content)}


def searches_markdown(searches: Sequence[Search], pictures: bool = False) -> str:
    """The page. pictures: whether fronts.png lies beside it."""
    names = ", ".join(sorted({search.spec for search in searches}))
    parts = [f"# Searches of {escape_markdown(names)}", _spent(searches)]
    parts += ["## Least AA top-1 for a loss of MC(all), as the searches saw it", _reached(searches)]
    if lines := list(_confirmed(searches)):
        head = markdown_line(["search", "model", "trial", "attack", "AA top-1", "AA top-5", "MC all", "MC l_t"])
        parts += ["## Confirmed", "\n".join([head, "|---|---|---|---|" + "--:|" * 4, *lines]), INTERVALS]
    if pictures:
        parts.append("![The fronts, and the confirmed picks](fronts.png)")
    return "\n\n".join(parts) + "\n"


def least_attacked(search: Search, points: float | None) -> Trial | None:
    """Of the finished trials that lose at most so many points of MC(all) (None: any number), the one with the least
    AA top-1, then top-5, then the highest MC(all); None if there is none, or if nothing says what was lost."""
    if search.undefended is None:
        return None
    before = search.undefended.search.get("mc_all")
    near = [
        trial
        for trial in search.finished
        if {"mc_all", "aa_top1"} <= trial.metrics.keys()
        and (points is None or (before is not None and before - trial.metrics["mc_all"] <= points / 100 + 1e-9))
    ]
    return min(near, key=_leak, default=None)


def _leak(trial: Trial) -> tuple[float, float, float]:
    return trial.metrics["aa_top1"], trial.metrics.get("aa_top5", 1.0), -trial.metrics["mc_all"]


def _spent(searches: Sequence[Search]) -> str:
    head = ["search", "defense", "coefficients searched", "labels", "protected", "seeds", "trials", "finished",
            "stopped", "failed", "steps", "saved by stopping"]  # fmt: skip
    lines = [markdown_line(head), "|---|---|---|--:|---|" + "--:|" * (len(head) - 5)]
    for search in searches:
        steps, states = steps_of(search), ("finished", "stopped", "failed")
        labels = str(len(search.basis.labels)) if search.basis else NOTHING
        seeds = ", ".join(map(str, search.basis.seeds)) if search.basis else NOTHING
        counts = [str(len(search.by_state(state))) for state in states]  # type: ignore[arg-type]
        about = [
            search.name,
            search.defense,
            ", ".join(search.searched),
            labels,
            PROTECTED.get(search.protect, NOTHING),
            seeds,
            str(len(search.trials)),
            *counts,
        ]
        lines.append(markdown_line([*about, str(steps.spent), f"{percent(steps.share)}%"]))
    return "\n".join(lines)


def _reached(searches: Sequence[Search]) -> str:
    """AA top-1 / top-5 of the least attacked finished trial within each loss, and which one it is."""
    heads = ["search", "undefended", *(f"at most {points:g} points lost" for points in DROPS), "any loss"]
    lines = [markdown_line(heads), "|---|" + "--:|" * (len(heads) - 1)]
    for search in searches:
        undefended = search.undefended.search if search.undefended else {}
        cells = [_rates(undefended)]
        for points in (*DROPS, None):
            trial = least_attacked(search, points)
            cells.append(NOTHING if trial is None else f"{_rates(trial.metrics)} ({trial.id})")
        lines.append(markdown_line([search.name, *cells]))
    note = (
        "AA top-1 / top-5 in percent of the finished trial with the least AA top-1; second evaluator, validation split."
    )
    return "\n".join(lines) + f"\n\n{note}"


def _rates(metrics: Mapping[str, float]) -> str:
    return f"{percent(metrics.get('aa_top1'))} / {percent(metrics.get('aa_top5'))}"


def _confirmed(searches: Sequence[Search]) -> Iterator[str]:
    """A line for the undefended victim and each picked trial of every search."""
    for search in searches:
        outcomes = [("undefended", "", search.undefended)] if search.undefended else []
        outcomes += [(pick.name, pick.trial, pick.outcome) for pick in search.picks]
        for name, trial, outcome in outcomes:
            if outcome.confirmed is None:
                continue
            found, cells = outcome.confirmed, []
            for metric in ("aa_top1", "aa_top5", "mc_all", "mc_target"):
                around = interval(found.get(f"{metric}_low"), found.get(f"{metric}_high"))
                cells.append(percent(found.get(metric)) + (f" [{around}]" if around else ""))
            yield markdown_line([search.name, name, trial, outcome.attack or NOTHING, *cells])
