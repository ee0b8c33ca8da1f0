"""The queue hands out what a slow, obvious one would: all of a stage's closure is there, the highest rank first."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from grid.work_queue import WorkQueue, chains
from tasks.stage import Stage
from tests.grid.toys import Toy


class SlowQueue:
    """By the definition, over closures."""

    def __init__(self, stages: dict[str, Stage], missing: set[str], rank: dict[str, float]) -> None:
        self.needs = {key: stage.closure().keys() - {key} for key, stage in stages.items()}
        self.waiting, self.running, self.rank = set(missing), set[str](), rank
        self.failed = set[str]()

    def ready(self) -> list[str]:
        absent = self.waiting | self.running | self.failed
        found = [key for key in self.waiting if not self.needs[key] & absent]
        return sorted(found, key=lambda key: (-self.rank[key], key))

    def fail(self, key: str) -> set[str]:
        self.running.discard(key)
        self.failed.add(key)
        blocked = {other for other in self.waiting if key in self.needs[other]}
        self.waiting -= blocked
        return blocked


def graph(count: int, chance: random.Random) -> dict[str, Stage]:
    stages: dict[str, Stage] = {}
    for number in range(count):
        parents = chance.sample(list(stages.values()), min(len(stages), chance.choice((0, 1, 1, 2, 3))))
        stage = Toy(number=number, parents=tuple(parents))
        stages[stage.key] = stage
    return stages


@given(st.integers(1, 14), st.integers(0, 10**9))
@settings(max_examples=150, deadline=None)
def test_it_hands_out_what_the_definition_says(count: int, seed: int) -> None:
    chance = random.Random(seed)
    stages = graph(count, chance)
    missing = {key for key in stages if chance.random() < 0.7}
    rank = {key: float(chance.randrange(4)) for key in stages}
    fast, slow = WorkQueue(stages, missing, rank), SlowQueue(stages, missing, rank)
    for _ in range(6 * count):
        assert fast.waiting == slow.waiting
        assert fast.running == len(slow.running)
        if (chance.random() < 0.6 or not slow.running) and (ready := slow.ready()):
            assert fast.take() == ready[0]
            slow.waiting.remove(ready[0])
            slow.running.add(ready[0])
            continue
        if not slow.ready():
            assert fast.take() is None
        if not slow.running:
            break
        key = chance.choice(sorted(slow.running))
        event = chance.random()
        if event < 0.15:
            assert set(fast.fail(key)) == slow.fail(key)
        elif event < 0.45:  # it runs again, maybe after something upstream that was there
            there = sorted(slow.needs[key] - slow.waiting - slow.running - slow.failed)
            for other in [chance.choice(there)] if there else []:
                fast.again(other)
                slow.waiting.add(other)
            fast.again(key)
            slow.running.remove(key)
            slow.waiting.add(key)
        else:
            fast.done(key)
            slow.running.remove(key)


def test_chains_count_all_that_a_stage_holds_up() -> None:
    one = Toy(number=1)
    two, three = Toy(number=2, parents=(one,)), Toy(number=3, parents=(one,))
    four = Toy(number=4, parents=(two, three))
    stages = four.closure()
    rank = chains(stages, lambda stage: float(10 ** getattr(stage, "number", 0)))
    assert rank == {one.key: 11010.0, two.key: 10100.0, three.key: 11000.0, four.key: 10000.0}
