"""The record of a search: one document in the store, written by the search's driver alone.

It is written twice, so that a driver that is killed while it writes leaves one whole copy. Searches have a folder
of their own; where earlier versions put them, among the grids, they are still read, and moved when they go on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from grid.problems import Problem, SpecError
from grid.search_objectives import Goals
from grid.search_space import Space, Value
from grid.store import Store

ENDED = ("finished", "stopped", "failed")


FOLDER = "searches"
BEFORE = "grids/search-"  # where a record began before searches had a folder


def search_document_name(name: str) -> str:
    """Where a search's record is kept in a store."""
    return f"{FOLDER}/{name}.json"


def read_search_document(store: Store, name: str) -> dict[str, Any] | None:
    """The record, or None; its second copy where the first was cut off; the old place where there is no new one."""
    for place in (search_document_name(name), _before(name)):
        for copy in (place, f"{place}.copy"):
            document = store.read_document(copy)
            if document is not None and _is_search(document):
                return _with_lists(document)
    return None


def searches_of(store: Store, experiment: str) -> list[dict[str, Any]]:
    """The records of all searches of a spec in a store."""
    return [document for document in all_searches(store) if document.get("experiment") == experiment]


def all_searches(store: Store) -> list[dict[str, Any]]:
    """The records of all searches in a store, by name."""
    names = {place.removeprefix(f"{FOLDER}/").removesuffix(".json") for place in store.documents(FOLDER)}
    before = [place for place in store.documents("grids") if place.startswith(BEFORE)]
    names |= {place.removeprefix(BEFORE).removesuffix(".json") for place in before}
    found = [read_search_document(store, name) for name in sorted(names)]
    return [document for document in found if document is not None]


def held_by_search(store: Store, place: str) -> str | None:
    """Name of the search whose record an earlier version put at this place of a store; None if there is none."""
    document = store.read_document(place) or store.read_document(f"{place}.copy")
    if not place.startswith(BEFORE) or document is None or not _is_search(document):
        return None
    return str(document["name"])


def forget_before(store: Store, name: str) -> None:
    """Remove a search's record from where an earlier version put it."""
    if held_by_search(store, before := _before(name)) is not None:
        store.delete_document(before)
        store.delete_document(f"{before}.copy")


def _with_lists(document: dict[str, Any]) -> dict[str, Any]:
    """The record with lists of seeds, victims and judges, where an earlier version wrote the one of each."""
    measured = dict(document.get("measured_by", {}))
    for one in ("seed", "victim", "second_evaluator", "gan"):
        if one in measured:
            measured[f"{one}s"] = [measured.pop(one)]
    return {**document, "measured_by": measured}


def _before(name: str) -> str:
    return f"{BEFORE}{name}.json"


def _is_search(document: Mapping[str, Any]) -> bool:
    """Whether it is no grid, whose name may begin with `search-` too."""
    return "trials" in document and "rows" not in document


class Ledger:
    """Trials by number, each with its coefficients, curve and state. Every change is written at once."""

    def __init__(self, store: Store, document: dict[str, Any], goals: Goals) -> None:
        self._store, self._goals = store, goals
        self.document = document
        self._by_number: dict[int, dict[str, Any]] = {trial["number"]: trial for trial in document["trials"]}
        self._written = json.dumps(document)
        self._moved = False

    @property
    def name(self) -> str:
        return str(self.document["name"])

    @property
    def trials(self) -> list[dict[str, Any]]:
        """All trials, by number."""
        return [self._by_number[number] for number in sorted(self._by_number)]

    @property
    def undefended(self) -> Mapping[str, float]:
        """What was measured of the victim as it is."""
        return self.document["undefended"]["search"]  # type: ignore[no-any-return]

    def ended(self) -> list[dict[str, Any]]:
        return [trial for trial in self.trials if trial["state"] in ENDED]

    def unfinished(self) -> list[dict[str, Any]]:
        """Trials that a killed driver left behind."""
        return [trial for trial in self.trials if trial["state"] not in ENDED]

    def counted(self) -> str:
        """`7 finished, 4 stopped, 1 failed`."""
        states = [trial["state"] for trial in self.trials]
        return ", ".join(f"{states.count(state)} {state}" for state in ENDED)

    @property
    def saved(self) -> float:
        """Share of all steps that the scheduler spared, by stopping trials. One that fails spares nothing."""
        saved = sum(trial["max_steps"] - trial["steps"] for trial in self.trials if trial["state"] == "stopped")
        taken = sum(trial["steps"] for trial in self.trials)
        return saved / (saved + taken) if saved else 0.0

    def trial(self, number: int) -> dict[str, Any]:
        return self._by_number[number]

    def open(
        self, number: int, coefficients: Mapping[str, Value], artifacts: Mapping[str, str], steps: int
    ) -> dict[str, Any]:
        """Begin a trial; `steps` is how many its fine-tunes take to the end, `artifacts` their keys."""
        self._by_number[number] = {
            "id": f"t{number:04d}",
            "number": number,
            "coefficients": dict(coefficients),
            "state": "running",
            "rung": None,
            "steps": 0,
            "max_steps": steps,
            "curve": [],
            "metrics": {},
            "error": None,
            "artifacts": dict(artifacts),
            "started": time.time(),
            "ended": None,
            "seconds": 0.0,
        }
        self.write()
        return self._by_number[number]

    def point(
        self,
        number: int,
        step: int,
        steps: int,
        metrics: Mapping[str, float],
        seconds: float,
        *,
        stopped_at: int | None = None,
    ) -> None:
        """Add what a trial reported at a step that lies behind all it reported before.

        stopped_at: the rung, if the stopping rule ends it there. It is written with the point that it rests on, so
        that a driver which is killed before `close` does not train on what was stopped.
        """
        trial = self._by_number[number]
        trial["curve"] = [*trial["curve"], {"step": step, **metrics}]
        trial["metrics"] = dict(metrics)
        trial["steps"] = max(steps, trial["steps"])
        trial["seconds"] += seconds
        trial["rung"] = stopped_at
        self.write()

    def close(self, number: int, state: str, *, rung: int | None = None, error: str | None = None) -> None:
        """End a trial: finished, stopped at a rung, or failed with a reason."""
        trial = self._by_number[number]
        trial |= {"state": state, "rung": rung, "error": error, "ended": time.time()}
        self.document["front"] = self._goals.front(self.trials, self.undefended)
        self.write()

    def copy(self) -> dict[str, Any]:
        """The record as it was written last, for another thread."""
        return json.loads(self._written)  # type: ignore[no-any-return]

    def write(self) -> None:
        """Write both copies, one after the other; once they are there, none is left in the place of before."""
        self.document["trials"] = self.trials
        self._written = json.dumps(self.document)
        place = search_document_name(self.name)
        self._store.write_document(f"{place}.copy", self.document)
        self._store.write_document(place, self.document)
        if not self._moved:
            forget_before(self._store, self.name)
            self._moved = True


def new_document(
    name: str,
    spec: Mapping[str, Any],
    space: Space,
    goals: Goals,
    algorithm: str,
    scheduler: str,
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """An empty record; `about` holds what else is to be known of how trials are measured."""
    return {
        "name": name,
        "spec": dict(spec),
        "space": {key: domain.plain() for key, domain in space.domains.items()},
        "space_order": list(space.domains),  # a store sorts the keys of what it keeps
        "space_name": space.name,
        "defense": space.defense,
        "objectives": [list(pair) for pair in goals.objectives],
        "max_drop": goals.max_drop,
        "algorithm": algorithm,
        "scheduler": scheduler,
        "started": time.time(),
        "trials": [],
        "front": [],
        "picks": [],
        **about,
    }


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Keys in which a resumed search differs from the one that was begun: with them it would be another search."""
    return [key for key in _IDENTITY if _plain(old.get(key)) != _plain(new.get(key))]


_IDENTITY = (
    "spec",
    "space",
    "defense",
    "objectives",
    "max_drop",
    "algorithm",
    "scheduler",
    "rungs",
    "seed",
    "grid_trials",
    "measured_by",
)


def check_resumed(old: Mapping[str, Any] | None, new: Mapping[str, Any], *, resume: bool) -> None:
    """SpecError for a search that would overwrite another, or go on with another's record."""
    name = new["name"]
    if old is not None and not resume:
        done = sum(trial["state"] in ENDED for trial in old["trials"])
        text = f"{name!r} is in the store with {done} trials; go on with --resume, or give this one another --name"
        raise SpecError([Problem("--name", text)])
    if old is not None and (found := differences(old, new)):
        text = f"{name!r} was begun with another {', '.join(found)}; give this search another --name"
        raise SpecError([Problem("--resume", text)])


def _plain(value: Any) -> Any:
    """As JSON gives it back: tuples are lists."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, Sequence) and not isinstance(value, str) else value
