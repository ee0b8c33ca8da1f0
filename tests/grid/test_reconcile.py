"""Reconcile: done is skipped, missing runs, failed blocks its dependants and nothing else, damage is repaired."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from grid.in_process import InProcessExecutor
from grid.reconcile import MAX_REPAIRS
from grid.runner import Outcome, run_stage
from grid.store import Store
from tasks.stage import Stage
from tests.grid.toys import Toy, reconcile


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    Toy.ran.clear()
    Toy.failing.clear()
    yield
    Toy.failing.clear()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


def diamond() -> dict[int, Toy]:
    """1 feeds 2 and 3, both feed 4; 5 stands apart and feeds 6."""
    one, five = Toy(number=1), Toy(number=5)
    two, three = Toy(number=2, parents=(one,)), Toy(number=3, parents=(one,))
    four, six = Toy(number=4, parents=(two, three)), Toy(number=6, parents=(five,))
    return {1: one, 2: two, 3: three, 4: four, 5: five, 6: six}


def roots(toys: dict[int, Toy]) -> list[Stage]:
    return [toys[4], toys[6]]


def spoil(store: Store, stage: Stage, *, name: str = "sum.txt") -> None:
    """Flip a bit of a finished stage's file, or of its done.json."""
    record = store.done(stage.key)
    assert record is not None
    folder = Path(store.location) / stage.key
    path = folder / "done.json" if name == "done.json" else folder / record["attempt"] / name
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)


def test_everything_runs_once_upstream_first(store: Store) -> None:
    toys = diamond()
    result, notes = reconcile(roots(toys), store)
    assert sorted(Toy.ran) == [1, 2, 3, 4, 5, 6]
    assert all(Toy.ran.index(a) < Toy.ran.index(b) for a, b in ((1, 2), (1, 3), (2, 4), (3, 4), (5, 6)))
    assert result.complete
    assert (result.total, result.reused, len(result.computed)) == (6, 0, 6)
    assert store.load(toys[4].key).metrics["sum"] == 4 + (2 + 1) + (3 + 1)
    assert notes.begun == (6, 0)
    assert [p.done for p in notes.progress] == [1, 2, 3, 4, 5, 6]


def test_a_second_run_recomputes_nothing(store: Store) -> None:
    reconcile(roots(diamond()), store)
    Toy.ran.clear()
    result, notes = reconcile(roots(diamond()), store)
    assert Toy.ran == []
    assert (result.reused, result.computed, notes.order) == (6, [], [])
    assert result.complete


def test_only_what_is_missing_is_run(store: Store) -> None:
    toys = diamond()
    reconcile([toys[2]], store)
    Toy.ran.clear()
    result, _ = reconcile(roots(toys), store)
    assert sorted(Toy.ran) == [3, 4, 5, 6]
    assert result.reused == 2


def test_a_failure_blocks_its_dependants_and_nothing_else(store: Store) -> None:
    toys = diamond()
    Toy.failing.add(2)
    result, notes = reconcile(roots(toys), store)
    assert sorted(Toy.ran) == [1, 2, 3, 5, 6]
    assert not result.complete
    assert result.failed == {toys[2].key: "ValueError: toy 2 fails"}
    assert result.blocked == {toys[4].key: toys[2].key}
    failure = store.failure(toys[2].key)
    assert failure is not None
    assert failure["error"] == "ValueError: toy 2 fails"
    assert "Traceback" in failure["log"]
    assert notes.progress[-1].failed == 1
    assert notes.progress[-1].blocked == 1
    assert notes.progress[-1].done == 4


def test_a_failure_far_up_blocks_everything_below(store: Store) -> None:
    toys = diamond()
    Toy.failing.add(1)
    result, _ = reconcile(roots(toys), store)
    assert set(result.blocked) == {toys[n].key for n in (2, 3, 4)}
    assert set(result.blocked.values()) == {toys[1].key}
    assert sorted(Toy.ran) == [1, 5, 6]


def test_the_same_command_again_after_the_cause_is_gone(store: Store) -> None:
    toys = diamond()
    Toy.failing.add(2)
    reconcile(roots(toys), store)
    Toy.failing.clear()
    Toy.ran.clear()
    result, _ = reconcile(roots(toys), store)
    assert Toy.ran == [2, 4]
    assert result.complete
    assert store.failure(toys[2].key) is None


@pytest.mark.parametrize("name", ["sum.txt", "done.json"])
def test_damage_found_at_the_start_is_repaired_and_said(store: Store, name: str) -> None:
    toys = diamond()
    reconcile(roots(toys), store)
    Toy.ran.clear()
    spoil(store, toys[3], name=name)
    result, notes = reconcile(roots(toys), store)
    assert Toy.ran == [3]
    assert result.complete
    assert set(result.repaired) == {toys[3].key}
    assert len(notes.texts) == 1
    assert toys[3].key in notes.texts[0]
    assert "damaged" in notes.texts[0]
    assert (result.reused, notes.begun) == (5, (6, 5))
    assert reconcile(roots(toys), store)[0].repaired == {}


def test_damage_found_while_loading_is_repaired_first(store: Store) -> None:
    """What a stage finds broken upstream is computed again, then the stage itself; and it is said."""
    toys = diamond()
    reconcile([toys[2], toys[3]], store)
    Toy.ran.clear()
    spoil(store, toys[2])
    result, notes = reconcile(roots(toys), store, verify=False)
    assert [n for n in Toy.ran if n < 5] == [4, 2, 4]
    assert result.complete
    assert set(result.repaired) == {toys[2].key}
    assert any("sum.txt has other content" in text and "computed again" in text for text in notes.texts)
    assert store.load(toys[4].key).metrics["sum"] == 11


def test_progress_never_exceeds_the_total(store: Store) -> None:
    toys = diamond()
    reconcile([toys[2], toys[3]], store)
    spoil(store, toys[2])
    _, notes = reconcile(roots(toys), store, verify=False)
    assert all(p.done <= p.total for p in notes.progress), [(p.done, p.total) for p in notes.progress]
    assert notes.progress[-1].done == 6


def test_damage_and_a_repair_that_fails_blocks(store: Store) -> None:
    toys = diamond()
    reconcile([toys[2], toys[3]], store)
    spoil(store, toys[2])
    Toy.failing.add(2)
    result, _ = reconcile(roots(toys), store, verify=False)
    assert set(result.failed) == {toys[2].key}
    assert result.blocked == {toys[4].key: toys[2].key}


def test_an_artifact_that_is_damaged_again_and_again_is_given_up(store: Store) -> None:
    """A disk that corrupts whatever is written must not keep the grid busy for ever."""
    toys = diamond()

    class Corrupting(InProcessExecutor):
        def wait(self) -> list[Outcome]:
            ended = super().wait()
            if any(outcome.key == toys[2].key for outcome in ended):
                spoil(store, toys[2])
            return ended

    result, _ = reconcile(roots(toys), store, executor=Corrupting(store.location, {}))
    assert Toy.ran.count(2) == 1 + MAX_REPAIRS
    assert set(result.failed) == {toys[4].key}
    assert "damaged" in result.failed[toys[4].key]


def test_what_holds_up_most_is_run_first(store: Store) -> None:
    """A long chain before a short one, whatever order the plan lists them in."""
    chain: Stage = Toy(number=10)
    for number in range(11, 16):
        chain = Toy(number=number, parents=(chain,))
    short = Toy(number=20)
    reconcile([short, chain], store)
    assert Toy.ran.index(10) < Toy.ran.index(20)


def test_a_record_says_what_was_run(store: Store) -> None:
    toys = diamond()
    reconcile([toys[2]], store)
    record = store.done(toys[2].key)
    assert record is not None
    assert record["config"] == {"number": 2, "parents": [{"stage": toys[1].key}]}
    assert record["upstream"] == [toys[1].key]
    assert (record["kind"], record["version"], record["group"]) == ("toy", 1, "data")
    assert record["started"] <= record["ended"]
    assert record["seconds"] >= 0
    assert record["peak_memory_bytes"] > 0
    assert record["versions"]["python"]
    assert set(record["files"]) == {"sum.txt"}


def test_a_stage_that_fails_leaves_nothing_running(store: Store) -> None:
    Toy.failing.add(1)
    outcome = run_stage(Toy(number=1), store.location, {})
    assert outcome.error == "ValueError: toy 1 fails"
    assert store.running(Toy(number=1).key) is None
    assert store.done(Toy(number=1).key) is None
