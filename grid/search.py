"""What `decoygrid search` does: shared stages, trials, front, picks and their confirmation, in this order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from rich.console import Console

from grid.cli import emit_json
from grid.commands import (
    GridRun,
    check_folder,
    check_tracking,
    console,
    make_ray_executor,
    open_store,
    report_search,
    run_missing,
    run_spec,
)
from grid.mirror_search import SearchMirror, search_mirror
from grid.problems import Problem, SpecError, choices
from grid.reconcile import missing_stages
from grid.search_confirm import confirmed_values, confirming_spec, row_name, write_spec
from grid.search_driver import Driver
from grid.search_objectives import Goals, parse_objectives, parse_picks
from grid.search_proposals import ALGORITHMS, LEARNING, make_proposals, within
from grid.search_record import Ledger, check_resumed, new_document, read_search_document
from grid.search_seeds import earlier_trials
from grid.search_space import Space, Value, load_space
from grid.search_study import SharedWork, Study, study_of
from grid.search_trial import RUNGS
from grid.spec import Spec
from grid.spec_parser import NAME, load_spec
from grid.store import Store

SCHEDULERS = ("asha", "none")
T = TypeVar("T")


class SearchOptions(NamedTuple):
    """The options of `decoygrid search`, as they were typed."""

    space: str
    trials: int
    algorithm: str = "optuna"
    scheduler: str = "asha"
    objectives: str = "mc_all,mc_target,aa_top1,aa_top5"
    max_drop: float | None = None
    picks: tuple[str, ...] = ("knee",)
    resume: bool = False
    concurrency: int | None = None
    name: str | None = None
    seed: int = 0


class _Checked(NamedTuple):
    """A search that may begin: what its spec, its space and its options say together."""

    spec: Spec
    space: Space
    study: Study
    shared: SharedWork
    goals: Goals
    picks: list[str]
    name: str


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
    checked = _check(spec_path, overrides, options)
    store = open_store(store_uri)
    folder = out or Path("results") / checked.name
    check_folder(folder)
    check_tracking(tracking)
    say = console(stderr=as_json)
    ledger = _ledger(checked, options, store)
    missing, damaged, _ = missing_stages(checked.shared, store, verify=True)
    example = next(iter(checked.study.targets(_middle(checked.space)).values()))
    executor, slots = make_ray_executor(
        checked.spec, checked.shared, store, address, {**missing, example.key: example}, say
    )
    files: dict[str, Path] = {}
    mirror = search_mirror(ledger.copy, tracking, lambda: files)
    try:
        if missing:
            result = run_missing(checked.shared, checked.spec, store, address, False, missing, damaged, say)
            if result is None or not result.complete:
                _name_failures(checked.shared, store, result.failed if result is not None else {}, say)
                return 1
        resources = executor.request(example)
        _search(checked, options, store, ledger, resources, options.concurrency or slots, say, mirror)
        complete = _confirm(checked, store, ledger, tracking, address, folder, say, mirror)
        files |= report_search(ledger.document, folder)
    finally:
        problem = mirror.close() if mirror is not None else None
        executor.close()
    if problem is not None:
        say.print(f"MLflow does not show this search yet: {problem}", markup=False, style="yellow", soft_wrap=True)
    _summarise(checked, ledger, say)
    for name, path in files.items():
        if name.endswith((".png", ".md")):
            say.print(f"{name}: {path}", markup=False, soft_wrap=True)
    if as_json:
        emit_json(ledger.document)
    failed = sum(trial["state"] == "failed" for trial in ledger.trials)
    return 0 if complete and not failed and len(ledger.ended()) >= _planned(ledger, options) else 1


def _check(spec_path: str, overrides: Sequence[str], options: SearchOptions) -> _Checked:
    """Everything that can be known before anything runs. SpecError with all problems of spec, space and options."""
    problems = _option_problems(options)
    goals = Goals(parse_objectives(options.objectives, problems), options.max_drop)
    picks = parse_picks(options.picks, problems)
    spec = _collect(lambda: load_spec(spec_path, overrides), problems)
    space = _collect(lambda: load_space(options.space), problems)
    found = None
    if spec is not None and space is not None:
        found = _collect(lambda: study_of(spec, space), problems)
    if problems or spec is None or space is None or found is None:
        raise SpecError(problems)
    return _Checked(spec, space, *found, goals, picks, options.name or f"{spec.name}-{space.name}")


def _collect(make: Callable[[], T], problems: list[Problem]) -> T | None:
    """What `make` returns; None, and its problems, if it is refused."""
    try:
        return make()
    except SpecError as error:
        problems.extend(error.problems)
        return None


def _option_problems(options: SearchOptions) -> list[Problem]:
    problems = []
    for place, value, valid in (
        ("--algorithm", options.algorithm, ALGORITHMS),
        ("--scheduler", options.scheduler, SCHEDULERS),
    ):
        if value not in valid:
            problems.append(Problem(place, choices(value, valid, what=place.removeprefix("--"))))
    for place, number, least in (
        ("--trials", options.trials, 1),
        ("--concurrency", options.concurrency, 1),
        ("--seed", options.seed, 0),
    ):
        if number is not None and number < least:
            problems.append(Problem(place, f"must be at least {least}, got {number}"))
    if options.max_drop is not None and not 0 <= options.max_drop <= 100:
        problems.append(Problem("--max-drop", f"is points of MC(all), from 0 to 100, got {options.max_drop:g}"))
    if options.name is not None and not NAME.fullmatch(options.name):
        problems.append(Problem("--name", f"must be letters, digits, `_`, `.`, `+` or `-`, but got {options.name!r}"))
    return problems


def _ledger(checked: _Checked, options: SearchOptions, store: Store) -> Ledger:
    """The record of this search: new, or that of the search that goes on."""
    spec = {**{str(key): value for key, value in checked.spec.source.content.items()}, "name": checked.spec.name}
    study = checked.study
    about = {
        "experiment": checked.spec.name,
        "labels": list(study.labels),
        "seed": options.seed,
        "grid_trials": options.trials if options.algorithm == "grid" else None,  # on which its points depend
        "rungs": list(RUNGS),
        "target_images": study.target_images,
        "measured_by": study.measured_by(),
    }
    fresh = new_document(checked.name, spec, checked.space, checked.goals, options.algorithm, options.scheduler, about)
    old = read_search_document(store, checked.name)
    check_resumed(old, fresh, resume=options.resume)
    return Ledger(store, old or fresh, checked.goals)


def _search(
    checked: _Checked,
    options: SearchOptions,
    store: Store,
    ledger: Ledger,
    resources: dict[str, float],
    concurrency: int,
    say: Console,
    mirror: SearchMirror | None,
) -> None:
    """Run the trials that are left."""
    from grid.search_tune import measure_remotely, run_trials

    study, sources = checked.study, checked.shared.sources
    if "undefended" not in ledger.document:
        found = measure_remotely(study, store.location, sources, resources)
        ledger.document["undefended"] = {"search": found, "confirmed": None}
        ledger.write()
    earlier = earlier_trials(store, ledger.document) if options.algorithm in LEARNING else []
    earlier = [trial for trial in earlier if within(checked.space, trial)]
    if earlier:
        say.print(f"{len(earlier)} trials of earlier searches tell {options.algorithm} something", markup=False)
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
        ),
        store,
        options.trials,
        halving=options.scheduler == "asha",
        said=lambda text: say.print(text, markup=False, highlight=False, soft_wrap=True),
        changed=mirror.notify if mirror is not None else lambda: None,
    )
    if driver.remaining > 0:
        run_trials(driver, study, store.location, sources, resources=resources, concurrency=concurrency)


def _confirm(
    checked: _Checked,
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
    checked: _Checked, ledger: Ledger, rule: str, trial: dict[str, object], grid: str, done: GridRun | None
) -> None:
    """Write a pick with its confirmation into the record, in place of an earlier one by the same rule."""
    rows = done.rows if done is not None else []
    coefficients = ledger.trial(int(str(trial["number"])))["coefficients"]
    pick = {
        "pick": rule,
        "trial": trial["id"],
        "search": trial["metrics"],
        "confirmed": confirmed_values(rows, row_name(checked.study, rule, coefficients)),
        "grid": grid,
    }
    picks = [other for other in ledger.document["picks"] if other["pick"] != rule]
    ledger.document["picks"] = [*picks, pick]
    if (undefended := confirmed_values(rows, None)) is not None:
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


def _summarise(checked: _Checked, ledger: Ledger, say: Console) -> None:
    """States, front, and each pick beside its confirmation."""
    states = [trial["state"] for trial in ledger.trials]
    counts = ", ".join(f"{states.count(state)} {state}" for state in ("finished", "stopped", "failed"))
    taken, whole = (sum(trial[name] for trial in ledger.trials) for name in ("steps", "max_steps"))
    saved = f", {1 - taken / whole:.0%} of the steps saved" if whole else ""
    say.print(f"{ledger.name}: {len(states)} trials: {counts}{saved}", markup=False)
    say.print(f"undefended: {_shown(checked.goals, ledger.undefended)}", markup=False)
    for name in ledger.document["front"]:
        trial = next(trial for trial in ledger.trials if trial["id"] == name)
        say.print(f"front {name}: {_shown(checked.goals, trial['metrics'])}", markup=False)
    for pick in ledger.document["picks"]:
        say.print(f"{pick['pick']} {pick['trial']} searched:  {_shown(checked.goals, pick['search'])}", markup=False)
        if pick["confirmed"] is not None:
            text = f"{pick['pick']} {pick['trial']} confirmed: {_shown(checked.goals, pick['confirmed'])}"
            say.print(f"{text} ({pick['confirmed']['attack']})", markup=False)


def _shown(goals: Goals, metrics: object) -> str:
    values = dict(metrics) if isinstance(metrics, dict) else {}
    return ", ".join(f"{name} {values[name]:.1%}" for name in goals.names if name in values)
