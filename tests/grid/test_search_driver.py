"""The driver of a search, without Ray: what it hands out, stops, records, and takes up after it was killed."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from grid.places import document_name
from grid.problems import SpecError
from grid.search_driver import Driver
from grid.search_halving import Halving
from grid.search_objectives import Goals
from grid.search_proposals import RandomProposals
from grid.search_record import (
    Ledger,
    all_searches,
    check_resumed,
    held_by_search,
    read_search_document,
    searches_of,
)
from grid.search_seeds import earlier_trials
from grid.search_space import Domain, Space, Value
from grid.search_study import Study
from grid.store import Store
from tests.grid.searching import GOALS, ledger, metrics, study

RUNGS = 3


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Space]:
    made, _ = study(tmp_path_factory.mktemp("study"))
    return made, made.space


class Told(RandomProposals):
    """Chance that writes down what it is told."""

    def __init__(self, space: Space) -> None:
        super().__init__(space, 0)
        self.told: list[tuple[str, dict[str, float]]] = []

    def tell(self, ticket: str, state: str, metrics: Mapping[str, float]) -> None:
        self.told.append((state, dict(metrics)))


class Play:
    """A driver, and a loop in Tune's place: one trial at a time, through its rungs."""

    def __init__(self, found: tuple[Study, Space], store: Store, total: int, *, halving: bool = True) -> None:
        self.store, (self.study, self.space) = store, found
        document = read_search_document(store, "mine")
        self.ledger = Ledger(store, document, GOALS) if document else ledger(store, self.space)
        self.said: list[str] = []
        self.proposals = Told(self.space)
        self.driver = Driver(
            self.study,
            self.space,
            GOALS,
            self.ledger,
            self.proposals,
            store,
            total,
            halving=halving,
            said=self.said.append,
            changed=lambda: None,
        )

    def run(
        self,
        values: Callable[[int, int], Mapping[str, Any]],
        kill_at: tuple[int, int] | None = None,
        die_at: int | None = None,
    ) -> list[int]:
        """Run until there are no more; `values(number, rung)` is what a trial reports. Numbers in order.

        kill_at: before a trial reports at a rung. die_at: KeyboardInterrupt between a trial's last report and its end.
        """
        numbers = []
        while (config := self.driver.next(ticket := f"ticket-{len(numbers)}")) is not None:
            number = int(config["number"])
            numbers.append(number)
            for rung in range(len(config["curve"]) + 1, RUNGS + 1):
                if (number, rung) == kill_at:
                    return numbers
                result = values(number, rung)
                if "failed" not in result:
                    about = {"rung": rung, "step": rung, "steps": 2 * rung, "seconds": 1.0, "finished": rung == RUNGS}
                    result = {**result, **about}
                goes_on = self.driver.goes_on(ticket, result)
                self.driver.reported(ticket, result)
                if not goes_on or "failed" in result or rung == RUNGS:
                    if number == die_at:
                        raise KeyboardInterrupt
                    self.driver.ended(ticket, result)
                    break
        return numbers


def better_and_better(number: int, rung: int) -> dict[str, float]:
    return metrics(aa_top1=0.5 - 0.05 * number)


def worse_and_worse(number: int, rung: int) -> dict[str, float]:
    return metrics(aa_top1=0.1 + 0.05 * number)


def test_a_trial_that_falls_behind_is_stopped_and_never_counts(found: tuple[Study, Space], tmp_path: Path) -> None:
    play = Play(found, Store(str(tmp_path)), 4)
    assert play.run(worse_and_worse) == [1, 2, 3, 4]
    states = [(trial["state"], trial["rung"]) for trial in play.ledger.trials]
    assert states == [("finished", None), *[("stopped", 1)] * 3]
    assert play.ledger.document["front"] == ["t0001"]
    assert [state for state, _ in play.proposals.told] == [state for state, _ in states]
    stopped = play.ledger.trial(2)
    assert (stopped["steps"], stopped["max_steps"]) == (2, 10)
    assert len(stopped["curve"]) == 1, "what it reported last is kept"


def test_a_stopped_trial_is_not_on_the_front_even_if_its_numbers_are_best(tmp_path: Path) -> None:
    trials = [
        {"id": "t1", "state": "finished", "metrics": metrics(aa_top1=0.3)},
        {"id": "t2", "state": "stopped", "metrics": metrics(aa_top1=0.0, aa_top5=0.0)},
        {"id": "t3", "state": "failed", "metrics": metrics(aa_top1=0.0)},
        {"id": "t4", "state": "running", "metrics": metrics(aa_top1=0.0)},
    ]
    assert GOALS.front(trials, metrics()) == ["t1"]
    assert GOALS.pick("knee", trials, metrics()) == trials[0]


def test_without_a_scheduler_every_trial_ends(found: tuple[Study, Space], tmp_path: Path) -> None:
    play = Play(found, Store(str(tmp_path)), 3, halving=False)
    play.run(worse_and_worse)
    assert [trial["state"] for trial in play.ledger.trials] == ["finished"] * 3


def test_a_trial_that_fails_is_named_and_the_search_goes_on(found: tuple[Study, Space], tmp_path: Path) -> None:
    def values(number: int, rung: int) -> dict[str, Any]:
        return {"failed": "MemoryError: no room"} if number == 2 else better_and_better(number, rung)

    play = Play(found, Store(str(tmp_path)), 3)
    assert play.run(values) == [1, 2, 3]
    assert [trial["state"] for trial in play.ledger.trials] == ["finished", "failed", "finished"]
    assert play.ledger.trial(2)["error"] == "MemoryError: no room"
    assert any("t0002 failed: MemoryError: no room" in line for line in play.said)
    assert ("failed", {}) in play.proposals.told


def test_what_a_failed_trial_did_not_train_is_not_saved(found: tuple[Study, Space], tmp_path: Path) -> None:
    def values(number: int, rung: int) -> dict[str, Any]:
        return {"failed": "MemoryError"} if number == 2 else worse_and_worse(number, rung)

    play = Play(found, Store(str(tmp_path)), 3)
    play.run(values)
    assert play.ledger.counted() == "1 finished, 1 stopped, 1 failed"
    taken, most = (play.ledger.trial(3)[name] for name in ("steps", "max_steps"))
    whole = play.ledger.trial(1)["steps"]
    assert play.ledger.saved == pytest.approx((most - taken) / (whole + most))


def test_settings_that_do_not_go_together_are_a_failed_trial(found: tuple[Study, Space], tmp_path: Path) -> None:
    play = Play(found, Store(str(tmp_path)), 2)

    def ask(ticket: str, number: int) -> dict[str, Value]:
        return {"alpha": -1.0 if number == 1 else 2.0, "lambda3": 1.0}

    play.proposals.ask = ask  # type: ignore[method-assign]
    play.driver._space = replace(
        play.space, domains={**play.space.domains, "alpha": Domain("uniform", low=-2.0, high=9.0)}
    )
    assert play.run(better_and_better) == [2]
    first = play.ledger.trial(1)
    assert first["state"] == "failed"
    assert "greater than or equal to 0" in first["error"]


def test_a_killed_driver_loses_nothing_that_was_reported(found: tuple[Study, Space], tmp_path: Path) -> None:
    """Killed in the third trial's second rung: finished ones are not run again, the third goes on, N is reached."""
    first = Play(found, Store(str(tmp_path)), 5)
    assert first.run(better_and_better, kill_at=(3, 2)) == [1, 2, 3]
    before = {trial["id"]: trial for trial in first.ledger.trials}
    second = Play(found, Store(str(tmp_path)), 5)
    assert second.driver.remaining == 3
    reported: list[tuple[int, int]] = []

    def values(number: int, rung: int) -> dict[str, float]:
        reported.append((number, rung))
        return better_and_better(number, rung)

    assert second.run(values) == [3, 4, 5]
    assert (3, 1) not in reported, "its first rung was reported before"
    after = {trial["id"]: trial for trial in second.ledger.trials}
    assert len(after) == 5
    assert {after[name]["state"] for name in after} == {"finished"}
    assert after["t0001"] == before["t0001"]
    assert after["t0003"]["coefficients"] == before["t0003"]["coefficients"]
    undisturbed = Play(found, Store(str(tmp_path / "other")), 5)
    undisturbed.run(better_and_better)
    chosen = [trial["coefficients"] for trial in undisturbed.ledger.trials]
    assert [trial["coefficients"] for trial in second.ledger.trials] == chosen


def test_a_driver_that_dies_after_it_stopped_a_trial_does_not_train_it_on(
    found: tuple[Study, Space], tmp_path: Path
) -> None:
    store = Store(str(tmp_path))
    first = Play(found, store, 3)
    with pytest.raises(KeyboardInterrupt):
        first.run(worse_and_worse, die_at=2)
    left = first.ledger.trial(2)
    assert (left["state"], len(left["curve"])) == ("running", 1), "its report is there, its end is not"
    second = Play(found, store, 3)
    assert second.run(worse_and_worse) == [3]
    trial = second.ledger.trial(2)
    assert (trial["state"], trial["rung"], trial["curve"]) == ("stopped", 1, left["curve"])


def test_the_stopping_rule_remembers_an_earlier_session(found: tuple[Study, Space], tmp_path: Path) -> None:
    Play(found, Store(str(tmp_path)), 2).run(better_and_better)
    second = Play(found, Store(str(tmp_path)), 3)
    second.run(lambda number, rung: metrics(aa_top1=0.9))
    assert second.ledger.trial(3)["state"] == "stopped", "it is worse than both of the first session"


def test_a_record_that_was_cut_off_is_read_from_its_copy(found: tuple[Study, Space], tmp_path: Path) -> None:
    play = Play(found, Store(str(tmp_path)), 1)
    play.run(better_and_better)
    path = tmp_path / "searches" / "mine.json"
    path.write_text(path.read_text()[:100])
    document = read_search_document(play.store, "mine")
    assert document is not None
    assert document["trials"] == json.loads(json.dumps(play.ledger.trials))
    assert [search["name"] for search in searches_of(play.store, "small")] == ["mine"]


def test_a_search_and_a_grid_whose_name_begins_with_search_share_a_store(
    found: tuple[Study, Space], tmp_path: Path
) -> None:
    store = Store(str(tmp_path))
    Play(found, store, 1).run(better_and_better)
    grid = {"name": "search-mine", "rows": [], "stages": {}}
    store.write_document(document_name("search-mine"), grid)
    Play(found, store, 2).run(better_and_better)
    assert store.read_document(document_name("search-mine")) == grid
    document = read_search_document(store, "mine")
    assert document is not None
    assert len(document["trials"]) == 2
    assert read_search_document(store, "other") is None
    assert held_by_search(store, document_name("search-mine")) is None


def test_a_search_of_an_earlier_version_is_read_and_moves_when_it_goes_on(
    found: tuple[Study, Space], tmp_path: Path
) -> None:
    """Its record lay among the grids, as search-NAME."""
    store = Store(str(tmp_path))
    first = Play(found, store, 2)
    first.run(better_and_better)
    (tmp_path / "searches").rename(tmp_path / "elsewhere")
    old = tmp_path / "grids" / "search-mine.json"
    for path in (old, Path(f"{old}.copy")):
        store.write_document(str(path.relative_to(tmp_path)), first.ledger.copy())
    assert read_search_document(store, "mine") == first.ledger.copy()
    assert [document["name"] for document in all_searches(store)] == ["mine"]
    assert [document["name"] for document in searches_of(store, "small")] == ["mine"]
    assert held_by_search(store, document_name("search-mine")) == "mine"
    old.write_text(old.read_text()[:100])
    assert held_by_search(store, document_name("search-mine")) == "mine", "its copy is whole"
    second = Play(found, store, 3)
    assert second.run(better_and_better) == [3]
    assert not list((tmp_path / "grids").iterdir())
    assert (tmp_path / "searches" / "mine.json").exists()
    assert [len(document["trials"]) for document in all_searches(store)] == [3]
    assert held_by_search(store, document_name("search-mine")) is None


def test_what_a_lost_worker_had_reported_stands(found: tuple[Study, Space], tmp_path: Path) -> None:
    """Tune starts the trial anew: its early rungs are no news, and nobody decides on them a second time."""
    play = Play(found, Store(str(tmp_path)), 3)
    config = play.driver.next("first")
    assert config is not None

    def report(rung: int, aa_top1: float) -> bool:
        about = {"rung": rung, "step": rung, "steps": 2 * rung, "seconds": 1.0, "finished": False}
        result = {**metrics(aa_top1=aa_top1), **about}
        goes_on = play.driver.goes_on("first", result)
        play.driver.reported("first", result)
        return goes_on

    assert report(1, 0.4)
    assert report(2, 0.3)
    before = copy.deepcopy(play.ledger.trial(1))
    play.driver.next("second")
    result = {**metrics(aa_top1=0.0), "rung": 1, "step": 1, "steps": 2, "seconds": 1.0, "finished": False}
    assert play.driver.goes_on("second", result)
    assert report(1, 0.4), "it went on from here before, though now another is better"
    assert play.ledger.trial(1) == before
    assert report(3, 0.2)
    assert [point["step"] for point in play.ledger.trial(1)["curve"]] == [1, 2, 3]


def test_the_training_state_of_a_stopped_trial_is_removed(found: tuple[Study, Space], tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    play = Play(found, store, 2)

    def values(number: int, rung: int) -> dict[str, float]:
        for key in play.ledger.trial(number)["artifacts"].values():
            store.checkpoints(key, "here").write(rung, b"state")
        return worse_and_worse(number, rung)

    play.run(values)
    first, second = play.ledger.trials
    assert [trial["state"] for trial in (first, second)] == ["finished", "stopped"]
    assert all(store.checkpoints(key, "x").read() is None for key in second["artifacts"].values())
    assert all(store.checkpoints(key, "x").read() == b"state" for key in first["artifacts"].values())


def test_a_search_is_not_overwritten_nor_mixed_with_another(found: tuple[Study, Space], tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    old = ledger(store, found[1]).document
    check_resumed(None, old, resume=False)
    check_resumed(None, old, resume=True)
    check_resumed(old, dict(old), resume=True)
    with pytest.raises(SpecError, match="--resume"):
        check_resumed(old, dict(old), resume=False)
    for change in (
        {"space": {}},
        {"algorithm": "optuna"},
        {"seed": 3},
        {"rungs": [1.0]},
        {"measured_by": {"victims": ["w"]}},
    ):
        with pytest.raises(SpecError, match=f"another {next(iter(change))}"):
            check_resumed(old, {**old, **change}, resume=True)


def test_only_searches_that_measured_alike_tell_each_other_anything(found: tuple[Study, Space], tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    play = Play(found, store, 3)
    play.run(worse_and_worse)
    mine = {**play.ledger.document, "name": "other"}
    states = [trial["state"] for trial in play.ledger.trials]
    assert len(earlier_trials(store, mine)) == states.count("finished") < 3
    assert earlier_trials(store, play.ledger.document) == [], "not its own"
    assert earlier_trials(store, {**mine, "measured_by": {"victims": ["w"]}}) == []
    store.write_document("grids/search-x.json", {"name": "search-x", "rows": []})
    assert len(earlier_trials(store, mine)) == states.count("finished"), "a grid is no search, whatever its name"


def test_halving_keeps_the_better_half() -> None:
    rule = Halving(["min"])
    goes_on = [rule.record(f"t{i}", 1, [value]) for i, value in enumerate([5, 4, 3, 9, 1, 8, 7])]
    assert goes_on == [True, True, True, False, True, False, False]
    assert rule.record("t9", 2, [100.0]), "each rung is for itself: this one is the first at its own"


def test_halving_lets_equals_go_on_together() -> None:
    rule = Halving(["max", "min"])
    assert all(rule.record(f"t{i}", 1, [0.95, 0.5]) for i in range(6))


def test_halving_prefers_an_undominated_trial_to_a_dominated_one() -> None:
    rule = Halving(["max", "min"])
    assert rule.record("private", 1, [0.5, 0.0])
    rule.record("useful", 1, [0.9, 0.4])
    assert not rule.record("neither", 1, [0.49, 0.41]), "both others dominate it"
    assert rule.record("best", 1, [0.95, 0.0])


def test_halving_puts_what_breaks_the_limit_last() -> None:
    rule = Halving(["max", "min"])
    assert rule.record("fine", 1, [0.9, 0.5], violation=-0.1)
    assert not rule.record("useless", 1, [0.1, 0.0], violation=0.7), "private, but worth nothing"
    assert rule.record("less useless", 1, [0.3, 0.0], violation=0.5), "the second of three"
    assert rule.record("fine too", 1, [0.89, 0.5], violation=0.0)
    assert not rule.record("less useless again", 1, [0.3, 0.0], violation=0.6)


def test_an_objective_or_several() -> None:
    one = Goals((("aa_top1", "min"),))
    trials = [{"id": f"t{i}", "state": "finished", "metrics": metrics(aa_top1=v)} for i, v in enumerate((0.3, 0.1))]
    assert one.front(trials, metrics()) == ["t1"]
