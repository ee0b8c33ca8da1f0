"""A search's report: its page with front and picks, trials.csv, and the pictures. Equal records, equal bytes."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.contour import contour_pictures, why_no_contour
from analysis.formats import escape_markdown
from analysis.importance import Importance, TooFewTrialsError, importance_csv, importances
from analysis.importance_plot import importance_pictures
from analysis.parallel_coordinates import parallel_pictures
from analysis.pareto_plot import pareto_pictures
from analysis.search_links import Around, Suffix, around_page, way_back, ways_on
from analysis.search_page import search_html
from analysis.search_parts import Search, Trial
from analysis.search_record import read_search
from analysis.search_tables import front_table, picks_table, remarks, summary

_FIXED = ("id", "number", "state", "rung", "steps", "max_steps", "seconds", "front", "picks")
_TRAILING = ("artifacts", "error")
_CAPTIONS = {
    "pareto.png": "Attack accuracy against accuracy",
    "parallel_coordinates.png": "Every trial across coefficients and objectives",
    "importance.png": "Coefficient importance",
    "contour.png": "Attack accuracy and accuracy over alpha and omega x lambda3",
}


def write_search_report(document: Mapping[str, Any], out: Path, back: str | None = None) -> dict[str, Path]:
    """Write search.md and .html, trials.csv, importance.csv and the pictures that there are trials enough for.

    document: a search's record, also of one that still runs. back: the folder of the spec's report relative to `out`,
    which the page links if that report is there; as it links those of the confirming grids that lie below `out`.
    Returns the files' paths by name. Raises SpecError, with every problem and its place, on a record that cannot be
    read; nothing is written then.
    """
    search = read_search(document)
    found, notes = _importances(search)
    pictures = {**pareto_pictures(search), **parallel_pictures(search), **contour_pictures(search)}
    pictures |= importance_pictures(search.name, found)
    if why := why_no_contour(search):
        notes.append(f"No contour: {why}.")
    content: dict[str, str | bytes] = {"trials.csv": trials_csv(search), **pictures}
    if found:
        content["importance.csv"] = importance_csv(found)
    around = around_page(search, out, back)
    content["search.md"] = search_markdown(search, list(pictures), notes, around)
    page = search_markdown(search, list(pictures), notes, around, ".html")
    content["search.html"] = search_html(f"Search {search.name}", page, pictures)
    out.mkdir(parents=True, exist_ok=True)
    for name, data in content.items():
        (out / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return {name: out / name for name in sorted(content)}


def search_markdown(
    search: Search,
    pictures: Sequence[str] = (),
    notes: Sequence[str] = (),
    around: Around = Around(),  # noqa: B008  it is immutable
    suffix: Suffix = ".md",
) -> str:
    """The page. pictures: names of the files beside it; notes: further remarks, a sentence each; around: what it
    links, and suffix: the form of the pages that it links."""
    parts = [f"# Search {escape_markdown(search.name)}", way_back(search, around, suffix), summary(search)]
    parts += ["## Front", front_table(search)]
    if search.picks or search.undefended:
        parts += ["## Picks, as the search saw them and confirmed", picks_table(search)]
        parts.append(ways_on(search, around, suffix))
    parts.append("\n".join(f"- {escape_markdown(line)}" for line in [*remarks(search), *notes]))
    parts += [f"![{caption}]({name})" for name, caption in _CAPTIONS.items() if name in pictures]
    if failed := search.by_state("failed"):
        lines = [f"{trial.id}, after {trial.steps} steps: {_one_line(trial)}" for trial in failed]
        parts += ["## Failed trials", "\n".join(f"- {escape_markdown(line)}" for line in lines)]
    return "\n\n".join(part for part in parts if part) + "\n"


def trials_csv(search: Search) -> str:
    """A row a trial in the search's order; fractions in [0, 1] in full precision; what is not known is empty.

    Coefficients have the prefix `coefficients.`, since a space may hold `steps` too. Metrics are of the last report,
    which for a stopped trial is that of a shorter training: read them beside `state`. front: True or False.
    picks: the rules that chose the trial; artifacts: label=key of the fine-tune, joined by blanks.
    """
    coefficients = list(
        dict.fromkeys([*search.space, *(name for trial in search.trials for name in trial.coefficients)])
    )
    goals = [objective.metric for objective in search.objectives]
    metrics = list(dict.fromkeys([*goals, *(name for trial in search.trials for name in sorted(trial.metrics))]))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*_FIXED, *(f"coefficients.{name}" for name in coefficients), *metrics, *_TRAILING])
    front = set(search.front)
    for trial in search.trials:
        picks = " ".join(pick.name for pick in search.picks if pick.trial == trial.id)
        fixed = [trial.id, trial.number, trial.state, trial.rung, trial.steps, trial.max_steps, trial.seconds]
        settings = [trial.coefficients.get(name) for name in coefficients]
        measured = [trial.metrics.get(name) for name in metrics]
        keys = " ".join(f"{label}={key}" for label, key in sorted(trial.artifacts.items()))
        writer.writerow([*fixed, trial.id in front, picks, *settings, *measured, keys, trial.error])
    return out.getvalue()


def _importances(search: Search) -> tuple[list[Importance], list[str]]:
    """At the end, and at the last rung that all trials reached; and what they rest on or lack, a sentence each."""
    found: list[Importance] = []
    notes = []
    for rung in dict.fromkeys((None, search.common_rung)):
        when = "at the end" if rung is None else f"at rung {rung}"
        try:
            found += (own := importances(search, rung))
            notes.append(f"Importance {when} rests on {own[0].trials} trials.")
        except TooFewTrialsError as error:
            notes.append(f"No importance {when}: {error}.")
    return found, notes


def _one_line(trial: Trial) -> str:
    return " ".join((trial.error or "no reason given").split())
