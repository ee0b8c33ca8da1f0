"""The record of a search in the store, read into its parts.

Reading only. A record that contradicts itself is refused with every problem and its place; it is never repaired.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, cast, get_args

from analysis.search_checks import Checks
from analysis.search_parts import (
    PAPER_ORDER,
    STATES,
    Basis,
    Domain,
    Kind,
    Objective,
    Outcome,
    Pick,
    Point,
    Search,
    State,
    Trial,
)
from grid.search_front import Direction, front_of


def read_search(document: Mapping[str, Any]) -> Search:
    """The document of a search, from a store. Raises SpecError with all problems, each with its place.

    Where the document has no `front`, it is computed: the finished trials that no other finished one dominates.
    """
    checks = Checks()
    name, spec = checks.text(document, "name", ""), document.get("spec", "")
    space = {key: _domain(checks, about, f"space.{key}") for key, about in checks.items(document, "space", "")}
    first = [name for name in document.get("space_order") or PAPER_ORDER if name in space]
    space = {key: space[key] for key in dict.fromkeys([*first, *space])}
    objectives = tuple(_objectives(checks, document))
    trials = tuple(
        _trial(checks, about, f"trials[{place}]", space, objectives)
        for place, about in enumerate(checks.list_of(document, "trials", ""))
    )
    picks = tuple(_pick(checks, about, place) for place, about in enumerate(checks.list_of(document, "picks", "")))
    undefended = document.get("undefended")
    search = Search(
        name,
        str(spec.get("name", name) if isinstance(spec, Mapping) else spec),
        space,
        objectives,
        checks.text(document, "algorithm", ""),
        str(document.get("scheduler") or "none"),
        trials,
        tuple(map(str, document.get("front") or ())),
        picks,
        None if undefended is None else _outcome(checks, undefended, "undefended"),
        None if document.get("max_drop") is None else checks.number(document, "max_drop", ""),
        str(document.get("defense") or ""),
        str(document.get("target_images") or ""),
        _searched_on(checks, document),
        _protect(document),
    )
    checks.finish(f"search {name}")
    _check_whole(search)
    if "front" in document:
        return search
    return replace(search, front=tuple(trial.id for trial in search.undominated))


def _domain(checks: Checks, about: Mapping[str, Any], place: str) -> Domain:
    kind = checks.choice(about, "kind", place, get_args(Kind))
    values = about.get("values")
    low, high = about.get("low"), about.get("high")
    if kind in ("loguniform", "uniform", "randint"):
        low, high = checks.number(about, "low", place), checks.number(about, "high", place)
        if low > high:
            checks.add(f"{place}.low", f"low <= high must hold, but got {low=}, {high=}")
        if kind == "loguniform" and low <= 0:
            checks.add(f"{place}.low", f"a logarithmic range lies above 0, but got {low=}")
    elif kind == "choice" and not values:
        checks.add(f"{place}.values", f"a choice needs values, but got {values!r}")
    log = kind == "loguniform" or bool(about.get("log"))
    return Domain(cast(Kind, kind), low, high, tuple(values or ()), log)


def _objectives(checks: Checks, document: Mapping[str, Any]) -> Iterator[Objective]:
    found = document.get("objectives")
    if not isinstance(found, list) or not found:
        checks.add("objectives", f"must be a list of [metric, max or min], but got {found!r}")
        return
    for place, pair in enumerate(found):
        if not (isinstance(pair, list | tuple) and len(pair) == 2 and pair[1] in get_args(Direction)):
            checks.add(f"objectives[{place}]", f"must be [metric, max or min], but got {pair!r}")
        else:
            yield Objective(str(pair[0]), pair[1])


def _trial(
    checks: Checks, about: Mapping[str, Any], place: str, space: Mapping[str, Domain], objectives: tuple[Objective, ...]
) -> Trial:
    state = checks.choice(about, "state", place, STATES)
    steps, most = checks.whole(about, "steps", place), checks.whole(about, "max_steps", place)
    curve = tuple(
        Point(checks.whole(point, "step", f"{place}.curve[{i}]"), checks.metrics(point, f"{place}.curve[{i}]"))
        for i, point in enumerate(checks.list_of(about, "curve", place))
    )
    if [point.step for point in curve] != sorted({point.step for point in curve}):
        checks.add(f"{place}.curve", f"steps must rise, but got {[point.step for point in curve]}")
    metrics = checks.metrics(about.get("metrics") or {}, f"{place}.metrics")
    coefficients = dict(checks.mapping(about, "coefficients", place))
    if lacking := [name for name, domain in space.items() if domain.searched and name not in coefficients]:
        checks.add(f"{place}.coefficients", f"lacks {', '.join(lacking)}, which the space varies")
    if state in ("finished", "stopped"):
        if lacking := [goal.metric for goal in objectives if goal.metric not in metrics]:
            checks.add(f"{place}.metrics", f"lacks {', '.join(lacking)}, though the trial is {state}")
        if state == "finished" and steps < most:
            checks.add(f"{place}.steps", f"a finished trial took all its steps, but got {steps=}, max_steps={most}")
    return Trial(
        checks.text(about, "id", place),
        checks.whole(about, "number", place),
        coefficients,
        cast(State, state),
        None if about.get("rung") is None else checks.whole(about, "rung", place),
        steps,
        most,
        curve,
        metrics,
        about.get("error"),
        {str(label): str(key) for label, key in checks.mapping(about, "artifacts", place).items()},
        checks.number(about, "seconds", place),
    )


def _pick(checks: Checks, about: Mapping[str, Any], place: int) -> Pick:
    where = f"picks[{place}]"
    name, trial = checks.text(about, "pick", where), checks.text(about, "trial", where)
    return Pick(name, trial, _outcome(checks, about, where), about.get("grid"))


def _outcome(checks: Checks, about: Mapping[str, Any], place: str) -> Outcome:
    seen = checks.metrics(checks.mapping(about, "search", place), f"{place}.search")
    if about.get("confirmed") is None:
        return Outcome(seen, None)
    confirmed = checks.mapping(about, "confirmed", place)
    where = f"{place}.confirmed"
    basis = None if "basis" not in confirmed else _basis(checks, confirmed["basis"], f"{where}.basis")
    return Outcome(seen, checks.metrics(confirmed, where), confirmed.get("attack"), basis)


def _basis(checks: Checks, about: Mapping[str, Any], place: str) -> Basis:
    return Basis(
        checks.text(about, "judge", place),
        checks.text(about, "split", place),
        checks.wholes(about, "labels", place),
        checks.wholes(about, "seeds", place),
        checks.whole(about, "images", place),
    )


def _searched_on(checks: Checks, document: Mapping[str, Any]) -> Basis | None:
    """What the values of the trials rest on, where the record says how they were measured."""
    measured = document.get("measured_by")
    if not isinstance(measured, Mapping) or not {"labels", "seeds", "attack"} <= measured.keys():
        return None
    labels = checks.wholes(measured, "labels", "measured_by")
    attack = checks.mapping(measured, "attack", "measured_by")
    seeds = checks.wholes(measured, "seeds", "measured_by")
    images = checks.whole(attack, "images", "measured_by.attack") * len(labels) * len(seeds)
    return Basis("second evaluator", "validation split", labels, seeds, images)


def _protect(document: Mapping[str, Any]) -> str:
    """`single` or `joint`; empty where the record does not say it."""
    measured = document.get("measured_by")
    return str(measured.get("protect") or "") if isinstance(measured, Mapping) else ""


def _check_whole(search: Search) -> None:
    """What only shows between the parts: ids twice, a front or a pick that no finished trial stands behind."""
    checks = Checks()
    ids = [trial.id for trial in search.trials]
    for place, name in enumerate(ids):
        if name in ids[:place]:
            checks.add(f"trials[{place}].id", f"{name!r} is there twice")
    states = {trial.id: trial.state for trial in search.trials}
    named = [(f"front[{i}]", name) for i, name in enumerate(search.front)]
    for where, name in [*named, *((f"picks[{i}].trial", pick.trial) for i, pick in enumerate(search.picks))]:
        if states.get(name) != "finished":
            was = f"is {states[name]}" if name in states else "is no trial of this search"
            checks.add(where, f"{name!r} {was}; only finished trials may be named here")
    if not checks.problems:
        front = search.front_trials
        best = set(front_of([search.values_of(trial) for trial in front], search.directions))
        for place, trial in enumerate(front):
            if place not in best:
                checks.add(f"front[{place}]", f"{trial.id!r} is dominated by another trial of the front")
    checks.finish(f"search {search.name}")
