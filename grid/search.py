"""What `decoygrid search` does: shared stages, trials, front, picks and their confirmation, in this order."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from grid.cli import emit_json
from grid.commands import GridRun, run_spec
from grid.execution import run_missing
from grid.executors import make_ray_executor
from grid.mirror_search import SearchMirror, search_mirror
from grid.places import check_folder, check_tracking, console, open_store
from grid.reconcile import missing_stages
from grid.search_confirm import (
    check_grids,
    confirmed_values,
    confirming_seeds,
    confirming_spec,
    row_name,
    write_spec,
)
from grid.search_driver import Driver
from grid.search_objectives import rates_text
from grid.search_options import Checked, SearchOptions, check_search
from grid.search_pages import report_search
from grid.search_proposals import LEARNING, make_proposals, within
from grid.search_record import Ledger, check_resumed, new_document, read_search_document
from grid.search_seeds import earlier_trials, trained_by_grids
from grid.search_space import Space, Value
from grid.search_study import SharedWork
from grid.search_tune import SearchLostError, measure_remotely, run_trials
from grid.store import Store


def run_search(
    spec_path: str,
    overrides: Sequence[str],
    options: SearchOptions,
    *,
    store_uri: str,
    tracking: str,
    address: str,
    out: Path | None,
    as_json: bool,
) -> int:
    """Search, pick and confirm; 0 if all of it was done, 1 if something failed or a pick has no trial."""
    checked = check_search(spec_path, overrides, options)
    store = open_store(store_uri)
    folder = out or Path("results") / checked.name
    check_folder(folder)
    check_tracking(tracking)
    say = console(stderr=as_json)
    ledger = _ledger(checked, options, store)
    check_grids(checked.name, checked.picks, store)
    missing, damaged, _ = missing_stages(checked.shared, store, verify=True)
    example = next(iter(checked.study.targets(_middle(checked.space)).values()))
    executor, slots = make_ray_executor(
        checked.spec, checked.shared, store, address, {**missing, example.key: example}, say
    )
    files: dict[str, Path] = {}
    scratch = tempfile.TemporaryDirectory(prefix="decoygrid-")

    def attachments() -> dict[str, Path]:  # MLflow has the pages without links to files that are not there
        return report_search(ledger.document, Path(scratch.name)) if files else {}

    mirror = search_mirror(ledger.copy, tracking, attachments)
    try:
        if missing:
            result = run_missing(checked.shared, checked.spec, store, address, False, missing, damaged, say)
            if result is None or not result.complete:
                _name_failures(checked.shared, store, result.failed if result is not None else {}, say)
                return 1
        resources = executor.request(example)
        _search(checked, options, store, ledger, resources, options.concurrency or slots, say, mirror)
        complete = _confirm(checked, store, ledger, tracking, address, folder, say, mirror)
        files |= report_search(ledger.document, folder, f"../{checked.spec.name}")
    except SearchLostError as error:
        text = f"{error}; what was reported is stored, and the same command with --resume goes on from here"
        say.print(text, markup=False, soft_wrap=True)
        return 1
    finally:
        problem = mirror.close() if mirror is not None else None
        executor.close()
        scratch.cleanup()
    if problem is not None:
        say.print(f"MLflow does not show this search yet: {problem}", markup=False, style="yellow", soft_wrap=True)
    _summarise(checked, ledger, say)
    for name, path in files.items():
        if name.endswith((".png", ".html")):
            say.print(f"{name}: {path}", markup=False, soft_wrap=True)
    if as_json:
        emit_json(ledger.document)
    failed = sum(trial["state"] == "failed" for trial in ledger.trials)
    return 0 if complete and not failed and len(ledger.ended()) >= _planned(ledger, options) else 1


def _ledger(checked: Checked, options: SearchOptions, store: Store) -> Ledger:
    """The record of this search: new, or that of the search that goes on."""
    spec = {**{str(key): value for key, value in checked.spec.source.content.items()}, "name": checked.spec.name}
    study = checked.study
    about = {
        "experiment": checked.spec.name,
        "labels": list(study.labels),
        "seed": options.seed,
        "grid_trials": options.trials if options.algorithm == "grid" else None,  # on which its points depend
        "rungs": list(study.rungs),
        "target_images": study.target_images,
        "measured_by": study.measured_by(),
    }
    fresh = new_document(checked.name, spec, checked.space, checked.goals, options.algorithm, options.scheduler, about)
    old = read_search_document(store, checked.name)
    check_resumed(old, fresh, resume=options.resume)
    return Ledger(store, old or fresh, checked.goals)


def _search(
    checked: Checked,
    options: SearchOptions,
    store: Store,
    ledger: Ledger,
    resources: dict[str, float],
    concurrency: int,
    say: Console,
    mirror: SearchMirror | None,
) -> None:
    """Run the trials that are left."""
    study, sources = checked.study, checked.shared.sources
    if "undefended" not in ledger.document:
        found = measure_remotely(study, store.location, sources, resources)
        ledger.document["undefended"] = {"search": found, "confirmed": None}
        ledger.write()
    earlier, first = _known(checked, options, store, ledger, say)
    driver = Driver(
        study,
        checked.space,
        checked.goals,
        ledger,
        make_proposals(
            options.algorithm,
            checked.space,
            checked.goals,
            ledger.undefended,
            options.seed,
            options.trials,
            [*earlier, *ledger.ended()],
            first,
        ),
        store,
        options.trials,
        halving=options.scheduler == "asha",
        said=lambda text: say.print(text, markup=False, highlight=False, soft_wrap=True),
        changed=mirror.notify if mirror is not None else lambda: None,
    )
    if driver.remaining > 0:
        run_trials(driver, study, store.location, sources, resources=resources, concurrency=concurrency)


def _known(
    checked: Checked, options: SearchOptions, store: Store, ledger: Ledger, say: Console
) -> tuple[list[dict[str, Any]], list[dict[str, Value]]]:
    """What the store tells an algorithm that learns: trials of earlier searches, coefficients that grids trained."""
    if options.algorithm not in LEARNING:
        return [], []
    earlier = [trial for trial in earlier_trials(store, ledger.document) if within(checked.space, trial)]
    trained = trained_by_grids(store, checked.study, options.trials)
    known = [*earlier, *ledger.trials]
    tried = [{name: trial["coefficients"][name] for name in checked.space.searched} for trial in known]
    first = [chosen for chosen in trained if chosen not in tried]
    if earlier:
        say.print(f"trials of earlier searches that tell {options.algorithm} something: {len(earlier)}", markup=False)
    if first:
        say.print(f"sets of coefficients that grids have trained, tried first: {len(first)}", markup=False)
    return earlier, first


def _confirm(
    checked: Checked,
    store: Store,
    ledger: Ledger,
    tracking: str,
    address: str,
    folder: Path,
    say: Console,
    mirror: SearchMirror | None,
) -> bool:
    """Confirm each pick by a grid of its own; whether all of them could be."""
    complete = True
    for rule in checked.picks:
        trial = checked.goals.pick(rule, ledger.trials, ledger.undefended)
        if trial is None:
            say.print(f"{rule}: no finished trial fits", markup=False, style="yellow")
            complete = False
            continue
        spec = confirming_spec(checked.spec, checked.study, checked.name, rule, trial["coefficients"])
        write_spec(spec, folder / f"{spec.name}.yaml")
        say.print(f"{rule}: {trial['id']}, to be confirmed by the grid {spec.name}", markup=False)
        done = run_spec(spec, store, tracking, address, False, folder / spec.name, False, say)
        _note_pick(checked, ledger, rule, dict(trial), spec.name, done)
        complete = complete and done is not None and done.result.complete
        if mirror is not None:
            mirror.notify()
    return complete


def _note_pick(
    checked: Checked, ledger: Ledger, rule: str, trial: dict[str, object], grid: str, done: GridRun | None
) -> None:
    """Write a pick with its confirmation into the record, in place of an earlier one by the same rule."""
    rows = done.rows if done is not None else []
    coefficients = ledger.trial(int(str(trial["number"])))["coefficients"]
    labels, seeds = checked.study.labels, confirming_seeds(checked.spec.seeds, len(checked.study.seeds))
    pick = {
        "pick": rule,
        "trial": trial["id"],
        "search": trial["metrics"],
        "confirmed": confirmed_values(rows, row_name(checked.study, rule, coefficients), labels, seeds),
        "grid": grid,
    }
    picks = [other for other in ledger.document["picks"] if other["pick"] != rule]
    ledger.document["picks"] = [*picks, pick]
    if (undefended := confirmed_values(rows, None, labels, seeds)) is not None:
        ledger.document["undefended"]["confirmed"] = undefended
    ledger.write()


def _middle(space: Space) -> dict[str, Value]:
    """Coefficients in the middle of every range."""
    return space.complete({key: space.domains[key].points(1)[0] for key in space.searched})


def _planned(ledger: Ledger, options: SearchOptions) -> int:
    """Trials that the search is to have: a grid may have fewer points than were asked for."""
    return len(ledger.trials) if options.algorithm == "grid" else options.trials


def _name_failures(shared: SharedWork, store: Store, failed: dict[str, str], say: Console) -> None:
    for key, error in failed.items():
        text = f"FAILED {shared.names[key]} ({key}): {error}\n  log: {store.failure_place(key)}"
        say.print(text, markup=False, style="red", soft_wrap=True)


def _summarise(checked: Checked, ledger: Ledger, say: Console) -> None:
    """States, front, and the undefended victim and each pick as the search saw them, beside their confirmations."""
    names, front = checked.goals.names, ledger.document["front"]
    saved = f"; stopping saved {ledger.saved:.0%} of the steps" if ledger.saved else ""
    lines = [f"{ledger.name}: {len(ledger.trials)} trials: {ledger.counted()}{saved}"]
    lines += [f"front {t['id']}: {rates_text(t['metrics'], names)}" for t in ledger.trials if t["id"] in front]
    outcomes = [("undefended", ledger.document["undefended"])]
    outcomes += [(f"{pick['pick']} {pick['trial']}", pick) for pick in ledger.document["picks"]]
    for name, found in outcomes:
        lines.append(f"{name}, search: {rates_text(found['search'], names)} (second evaluator, validation split)")
        if confirmed := found["confirmed"]:
            seeds = ", ".join(map(str, confirming_seeds(checked.spec.seeds, len(checked.study.seeds))))
            about = f"{confirmed['attack']}; F_E, test split, seeds {seeds}"
            lines.append(f"{name}, confirmed: {rates_text(confirmed, names)} ({about})")
    for line in lines:
        say.print(line, markup=False, soft_wrap=True)
