"""The driver of a search: hands out trials, takes reports, decides which go on. Knows nothing of Ray."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from grid.problems import SpecError
from grid.search_halving import Halving
from grid.search_objectives import OBJECTIVES, Goals, rates_text
from grid.search_proposals import Proposals
from grid.search_record import Ledger
from grid.search_space import Space
from grid.search_study import Study
from grid.search_trial import search_steps
from grid.store import Store

MEASURED = (*OBJECTIVES, "target_confidence")


class Driver:
    """One search until `total` trials have ended. `ticket` is what Tune calls a trial.

    Trials that a killed driver left behind go first, with the curve that they had reported.
    """

    def __init__(
        self,
        study: Study,
        space: Space,
        goals: Goals,
        ledger: Ledger,
        proposals: Proposals,
        store: Store,
        total: int,
        *,
        halving: bool,
        said: Callable[[str], None],
        changed: Callable[[], None],
    ) -> None:
        self._study, self._space, self._goals, self._ledger = study, space, goals, ledger
        self._proposals, self._store, self._total = proposals, store, total
        self._said, self._changed = said, changed
        self._halving = Halving(goals.directions) if halving else None
        for trial in ledger.unfinished():
            if trial["rung"] is not None:
                self._close(trial["number"], "stopped", rung=trial["rung"])
        self._left = [trial["number"] for trial in ledger.unfinished()]
        self._numbers: dict[str, int] = {}
        self._proposed: set[str] = set()  # tickets that `proposals` waits for
        self._stops: dict[int, int] = {}  # trial -> the rung at which the rule has just stopped it
        for trial in ledger.trials:
            self._recall(trial)

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles all that it is given, to resume by itself; a search is resumed from its record."""
        return {}

    @property
    def remaining(self) -> int:
        """Trials to be run yet."""
        return self._total - len(self._ledger.ended())

    def next(self, ticket: str) -> dict[str, Any] | None:
        """{number, coefficients, curve} of another trial; None when there is none."""
        if self._left:
            number = self._left.pop(0)
            trial = self._ledger.trial(number)
            self._numbers[ticket] = number
            return {"number": number, "coefficients": trial["coefficients"], "curve": trial["curve"]}
        number = len(self._ledger.trials) + 1
        if number > self._total:
            return None
        chosen = self._proposals.ask(ticket, number)
        if chosen is None:
            return None
        self._proposed.add(ticket)
        self._numbers[ticket] = number
        coefficients = self._space.complete(chosen)
        try:
            targets = self._study.targets(coefficients)
        except SpecError as error:  # settings that do not go together are a trial that fails, like any other
            self._ledger.open(number, coefficients, {}, 0)
            self.ended(ticket, error="; ".join(problem.message for problem in error.problems))
            return self.next(ticket)
        keys = {self._study.name_of(aim): stage.key for aim, stage in targets.items()}
        self._ledger.open(number, coefficients, keys, search_steps(targets))
        return {"number": number, "coefficients": coefficients, "curve": []}

    def goes_on(self, ticket: str, result: Mapping[str, Any]) -> bool:
        """Whether a trial that reports at a rung is to go on to the next."""
        if self._halving is None or "rung" not in result or result.get("finished"):
            return True
        number = self._numbers[ticket]
        if self._is_known(number, result):  # it went on from here before; whom it is compared with now may be others
            return True
        rung = int(result["rung"])
        goes_on = self._note(self._ledger.trial(number), rung, result)
        if not goes_on:
            self._stops[number] = rung
        return goes_on

    def reported(self, ticket: str, result: Mapping[str, Any]) -> None:
        """A trial was measured at a rung; what a lost worker had reported before its retry stands."""
        if "rung" in result and not self._is_known(number := self._numbers[ticket], result):
            metrics = {name: float(result[name]) for name in MEASURED}
            stopped = self._stops.pop(number, None)
            self._ledger.point(number, result["step"], result["steps"], metrics, result["seconds"], stopped_at=stopped)
            self._changed()

    def ended(self, ticket: str, result: Mapping[str, Any] | None = None, error: str | None = None) -> None:
        """A trial is over: finished, failed (`error`, or its own word for it), or stopped at a rung."""
        if ticket not in self._numbers:
            return
        number = self._numbers.pop(ticket)
        trial = self._ledger.trial(number)
        found = result or {}
        error = error or found.get("failed")
        state = "failed" if error else "finished" if found.get("finished") else "stopped"
        rung = int(found["rung"]) if state == "stopped" and "rung" in found else None
        self._close(number, state, rung=rung, error=error)
        if ticket in self._proposed:
            self._proposed.discard(ticket)
            self._proposals.tell(ticket, state, trial["metrics"])
        self._said(self._line(trial))
        self._changed()

    def named(self, number: int, error: str) -> None:
        """What Tune says of a trial that it gave up, after the trial has ended."""
        trial = self._ledger.trial(number)
        if trial["state"] == "failed":
            self._ledger.close(number, "failed", error=error)

    def _close(self, number: int, state: str, *, rung: int | None, error: str | None = None) -> None:
        self._ledger.close(number, state, rung=rung, error=error)
        if state != "finished":
            self._forget(self._ledger.trial(number))

    def _is_known(self, number: int, result: Mapping[str, Any]) -> bool:
        """Whether the trial has reported at this step before: Tune tries a trial again whose worker was lost."""
        return any(point["step"] == result["step"] for point in self._ledger.trial(number)["curve"])

    def _recall(self, trial: Mapping[str, Any]) -> None:
        """Let the stopping rule know what an earlier session reported."""
        steps = sorted(point["step"] for point in trial["curve"])
        for point in trial["curve"]:
            rung = steps.index(point["step"]) + 1
            if trial["state"] != "finished" or point["step"] < steps[-1]:
                self._note(trial, rung, point)

    def _note(self, trial: Mapping[str, Any], rung: int, metrics: Mapping[str, Any]) -> bool:
        if self._halving is None:
            return True
        violation = self._goals.violation(metrics, self._ledger.undefended)
        return self._halving.record(trial["id"], rung, self._goals.values(metrics), violation)

    def _forget(self, trial: Mapping[str, Any]) -> None:
        """Remove the training states of a trial that will not go on: weights and momentum of every label."""
        for key in set(trial["artifacts"].values()):
            self._store.drop_checkpoints(key)

    def _line(self, trial: Mapping[str, Any]) -> str:
        ended = len(self._ledger.ended())
        settings = [(name, trial["coefficients"][name]) for name in self._space.domains]  # a store has sorted them
        shown = " ".join(f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
                         for name, value in settings)  # fmt: skip
        how = trial["state"] + (f" at rung {trial['rung']}" if trial["rung"] else "")
        what = trial["error"] or rates_text(trial["metrics"], self._goals.names)
        return f"[{ended}/{self._total}] {trial['id']} {how}: {what}  ({shown})"
