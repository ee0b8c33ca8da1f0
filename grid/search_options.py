"""The options of a search, its spec and its space: checked together, so that every problem is said at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import NamedTuple, TypeVar

from grid.problems import Problem, SpecError, choices
from grid.search_objectives import Goals, parse_objectives, parse_picks
from grid.search_proposals import ALGORITHMS, grid_points
from grid.search_space import Space, load_space
from grid.search_study import SharedWork, Study, study_of
from grid.spec import Spec
from grid.spec_parser import NAME, load_spec

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
    seeds: int = 1
    rungs: str = "0.25,0.5,1"


class Checked(NamedTuple):
    """A search that may begin: what its spec, its space and its options say together."""

    spec: Spec
    space: Space
    study: Study
    shared: SharedWork
    goals: Goals
    picks: list[str]
    name: str


def check_search(spec_path: str, overrides: Sequence[str], options: SearchOptions) -> Checked:
    """Everything that can be known before anything runs. SpecError with all problems of spec, space and options."""
    problems = _option_problems(options)
    goals = Goals(parse_objectives(options.objectives, problems), options.max_drop)
    picks = parse_picks(options.picks, problems)
    rungs = _parse_rungs(options.rungs, options.scheduler, problems)
    spec = _collect(lambda: load_spec(spec_path, overrides), problems)
    space = _collect(lambda: load_space(options.space), problems)
    if space is not None and options.algorithm == "grid" and options.trials > 0:
        _collect(lambda: grid_points(space, options.trials), problems)
    found = None
    if spec is not None and space is not None:
        found = _collect(lambda: study_of(spec, space, options.seeds, rungs), problems)
    if problems or spec is None or space is None or found is None:
        raise SpecError(problems)
    return Checked(spec, space, *found, goals, picks, options.name or f"{spec.name}-{space.name}")


def _collect(make: Callable[[], T], problems: list[Problem]) -> T | None:
    """What `make` returns; None, and its problems, if it is refused."""
    try:
        return make()
    except SpecError as error:
        problems.extend(error.problems)
        return None


def _parse_rungs(text: str, scheduler: str, problems: list[Problem]) -> tuple[float, ...]:
    """Shares of a trial's steps, rising to 1."""
    try:
        rungs = tuple(float(part) for part in text.split(","))
    except ValueError:
        rungs = ()
    if not rungs or rungs[-1] != 1 or any(not low < high for low, high in itertools.pairwise((0.0, *rungs))):
        valid = "shares of a trial's steps that rise to 1, such as 0.25,0.5,1, or 1 for the end alone"
        problems.append(Problem("--rungs", f"must be {valid}, got {text!r}"))
    elif scheduler == "asha" and len(rungs) == 1:
        text = "asha stops trials before their end, and 1 alone is the end; add earlier rungs, or take --scheduler none"
        problems.append(Problem("--rungs", text))
    return rungs


def _option_problems(options: SearchOptions) -> list[Problem]:
    problems = []
    for place, value, valid in (
        ("--algorithm", options.algorithm, ALGORITHMS),
        ("--scheduler", options.scheduler, SCHEDULERS),
    ):
        if value not in valid:
            problems.append(Problem(place, choices(value, valid, what=place.removeprefix("--"))))
    if options.algorithm == "hyperopt" and find_spec("hyperopt") is None:
        text = "needs the package hyperopt, which is not installed: pip install hyperopt"
        problems.append(Problem("--algorithm hyperopt", text))
    for place, number, least in (
        ("--trials", options.trials, 1),
        ("--concurrency", options.concurrency, 1),
        ("--seed", options.seed, 0),
        ("--seeds", options.seeds, 1),
    ):
        if number is not None and number < least:
            problems.append(Problem(place, f"must be at least {least}, got {number}"))
    if options.max_drop is not None and not 0 <= options.max_drop <= 100:
        problems.append(Problem("--max-drop", f"is points of MC(all), from 0 to 100, got {options.max_drop:g}"))
    if options.name is not None and not NAME.fullmatch(options.name):
        problems.append(Problem("--name", f"must be letters, digits, `_`, `.`, `+` or `-`, but got {options.name!r}"))
    return problems
