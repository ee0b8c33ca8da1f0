"""What the MLflow mirror shows of a search: a run for the search, and below it a run for each trial.

Like a grid's view it follows from the record in the store, so it can be rebuilt at any time. A trial's run has its
coefficients as params and its curve as metrics by step, so that MLflow's parallel coordinates read well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from grid import mirror_files as files
from grid.mirror_background import BackgroundMirror, Progress
from grid.mirror_model import File, Point, RunView, digest_of, is_number, text
from grid.places import absolute
from grid.search_objectives import OBJECTIVES, rates_text
from tasks.data.manifest import file_digest

STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
RATES = (*OBJECTIVES, "target_confidence")
Document = Mapping[str, Any]
Trial = Mapping[str, Any]
SearchMirror = BackgroundMirror
_HELP = (
    "A run below this one is a trial. `aa_top1`, `aa_top5`: share of the small attack's images that the second "
    "evaluator gives the protected label (lower: better protected); `mc_all`, `mc_target`: accuracy on held-out "
    "images. The search selects by these; what counts is the confirmation, by F_E on the test split."
)


def search_mirror(
    document: Callable[[], Document], tracking: str, attachments: Callable[[], Mapping[str, Path]]
) -> SearchMirror | None:
    """The owner of a search's MLflow runs, or None for `--tracking none`. Both are called when there is news."""
    if tracking == "none":
        return None
    uri = absolute(tracking)

    def show(live: bool, on_progress: Progress) -> None:
        sync_search(document(), uri, live=live, attachments={} if live else attachments(), on_progress=on_progress)

    return BackgroundMirror(uri, show)


def sync_search(
    document: Document,
    tracking_uri: str,
    *,
    live: bool = False,
    attachments: Mapping[str, Path] | None = None,
    on_progress: Progress | None = None,
) -> Any:
    """Make the experiment of the search's spec show its trials; a grid's runs in it stay. Raises TrackingError."""
    from grid.mirror import send

    ours = () if live else (f"search/{document['name']}/", f"trial/{document['name']}/")
    views = describe_search(document, live=live, attachments=attachments)
    experiment = document["experiment"]
    return send(views, experiment, tracking_uri, ours=ours, on_progress=on_progress, settle=not live)


def describe_search(
    document: Document, *, live: bool = False, attachments: Mapping[str, Path] | None = None
) -> list[RunView]:
    """Every run of the search's tree, the parent first; `attachments` are files for the parent, by name."""
    return [
        _parent(document, live, attachments or {}),
        *(_trial(document, trial, live) for trial in document["trials"]),
    ]


def _parent(document: Document, live: bool, attachments: Mapping[str, Path]) -> RunView:
    trials = document["trials"]
    states = [trial["state"] for trial in trials]
    running = "running" in states
    counted = ", ".join(f"{states.count(state)} {state}" for state in ("finished", "stopped", "failed", "running"))
    note = [f"Search `{document['name']}` over the space `{document['space_name']}`: {counted}. {_HELP}"]
    note += [_pick_line(pick) for pick in document["picks"]]
    params = {name: text(document[name]) for name in ("algorithm", "scheduler", "space_name", "defense", "seed")}
    params["objectives"] = ", ".join(f"{way} {name}" for name, way in document["objectives"])
    if seeds := document.get("measured_by", {}).get("seeds"):  # of the spec; `seed` is that of the search's own draws
        params["seeds"] = ", ".join(map(str, seeds))
    if document["max_drop"] is not None:
        params["max_drop"] = text(document["max_drop"])
    ended = max((trial["ended"] or 0.0 for trial in trials), default=0.0) or document["started"]
    points = _parent_points(document, round(1000 * document["started"]))
    order = document.get("space_order") or list(document["space"])  # a store sorts keys
    space = {name: document["space"][name] for name in order}
    lines = [_line(trial, order) for trial in trials]
    own = (
        File("trials.csv", digest_of(lines), partial(files.csv_bytes, lines)),
        File("space.yaml", digest_of(space), partial(files.yaml_bytes, space)),
    )
    return RunView(
        key=f"search/{document['name']}/",
        parent=None,
        name=document["name"],
        status="RUNNING" if live else "KILLED" if running else "FINISHED",
        started=round(1000 * document["started"]),
        ended=round(1000 * ended),
        note="\n\n".join(note),
        params=params,
        source=digest_of(points) if points else "",
        points=lambda: points,
        files=(
            *(file for file in own if file.name not in attachments),
            *(File(name, file_digest(path), path.read_bytes) for name, path in sorted(attachments.items())),
        ),
    )


def _parent_points(document: Document, at: int) -> list[Point]:
    """The undefended victim and each pick, as the search saw it and as it was confirmed.

    at: one time for all, in ms, so that a search that goes on shows the same points and its run need not be made anew.
    """
    named = {"undefended": document.get("undefended") or {}, **{pick["pick"]: pick for pick in document["picks"]}}
    points = []
    for name, found in named.items():
        for how in ("search", "confirmed"):
            for metric, value in (found.get(how) or {}).items():
                if is_number(value):
                    points.append(Point(f"{name.replace('=', '_')}/{how}/{metric}", float(value), at, 0))
    return sorted(points)


def _trial(document: Document, trial: Trial, live: bool) -> RunView:
    started = round(1000 * trial["started"])
    ended = round(1000 * (trial["ended"] or trial["started"]))
    rung = f" at rung {trial['rung']}" if trial["rung"] is not None else ""
    note = [f"Trial {trial['id']}: {trial['state']}{rung}, {trial['steps']} of {trial['max_steps']} fine-tuning steps."]
    note += [f"Failed: {trial['error']}"] if trial["error"] else []
    note += ["It is on the front."] if trial["id"] in document["front"] else []
    if trial["state"] == "finished":
        note.append(f"Artifacts in the store, by `decoygrid show KEY`: {_keys(trial['artifacts'])}.")
    points = _curve(trial, started, ended) if trial["state"] in STATUS else []  # a growing curve would be sent anew
    params = {name: text(value) for name, value in trial["coefficients"].items()}
    if trial["state"] in STATUS:  # by params, runs can be filtered; they cannot change once they are there
        params["state"] = trial["state"]
        params |= {"rung": text(trial["rung"])} if trial["rung"] is not None else {}
    return RunView(
        key=f"trial/{document['name']}/{trial['id']}",
        parent=f"search/{document['name']}/",
        name=trial["id"],
        status=STATUS.get(trial["state"], "RUNNING" if live else "KILLED"),
        started=started,
        ended=ended,
        note="\n\n".join(note),
        params=params,
        source=digest_of(points) if points else "",
        points=lambda: points,
    )


def _keys(artifacts: Mapping[str, str]) -> str:
    """Keys with their labels, and with the seed if there are several: one where all labels share a model."""
    aims: dict[str, list[tuple[str, str]]] = {}
    for name, key in artifacts.items():
        label, _, seed = name.partition(":")  # as Study names them
        aims.setdefault(key, []).append((label, seed))
    return ", ".join(f"{_aims_text(of)}: `{key}`" for key, of in aims.items())


def _aims_text(aims: Sequence[tuple[str, str]]) -> str:
    """'labels 0, 3', 'label 2, seed 1'."""
    labels, seeds = (list(dict.fromkeys(part)) for part in zip(*aims, strict=True))
    text = f"label{'s' * (len(labels) > 1)} {', '.join(labels)}"
    return f"{text}, seed {', '.join(seeds)}" if any(seeds) else text


def _curve(trial: Trial, started: int, ended: int) -> list[Point]:
    """Metrics by step, their times spread evenly over the trial; in name order, so aa_top1 is compared first."""
    steps = [point["step"] for point in trial["curve"]]
    last = max(steps, default=1)
    points = [
        Point(name, float(value), started + round((ended - started) * point["step"] / last), int(point["step"]))
        for point in trial["curve"]
        for name, value in point.items()
        if name != "step" and is_number(value)
    ]
    return sorted(points, key=lambda point: (point.key, point.step))


def _line(trial: Trial, order: Sequence[str]) -> dict[str, Any]:
    """A trial in a table. Coefficients have a prefix, since a space may hold `steps` too."""
    about = {name: trial[name] for name in ("id", "state", "rung", "steps", "max_steps", "error")}
    return {**about, **{f"coefficients.{name}": trial["coefficients"].get(name) for name in order}, **trial["metrics"]}


def _pick_line(pick: Mapping[str, Any]) -> str:
    confirmed = pick["confirmed"]
    shown = [f"searched {rates_text(pick['search'], RATES)}"]
    shown += [f"confirmed {rates_text(confirmed, RATES)} ({confirmed['attack']})"] if confirmed else ["not confirmed"]
    return f"`{pick['pick']}`: {pick['trial']}, {'; '.join(shown)}; grid `{pick['grid']}`."
