"""Black-box Mirror: islands, what they ask, what they keep, and that nothing but the API is reached."""

from __future__ import annotations

import math
from typing import Any

import torch

from tasks.attacks import evolution
from tasks.attacks.oracle import oracle
from tasks.attacks.style_pool import StylePool
from tasks.attacks.style_space import to_p
from tasks.models.architectures import Network
from tests.lab import Lab
from tests.source_tree import closure
from tests.tasks.mirror_lab import MappedGAN, gan_of, inverted, mirror_bb, p_of


def test_black_box_puts_known_solutions_into_the_populations(lab: Lab) -> None:
    first = mirror_bb(lab, steps=8, box=3.0, stop=1.0)
    known = inverted(lab, first).losses
    cold = inverted(lab, mirror_bb(lab, steps=1, box=3.0, stop=1.0))
    warm = inverted(lab, mirror_bb(lab, steps=1, box=3.0, stop=1.0, warm=first))
    assert cold.losses.mean() > known.mean()
    assert bool((warm.losses <= known + 1e-5).all())
    assert warm.queries == cold.queries + 3


class Counted:
    """An API that answers with a fixed function of the images and remembers how it was asked."""

    def __init__(self, network: Network) -> None:
        self._network, self.queries, self.calls = network, 0, list[int]()

    def query(self, images: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(images))
        self.queries += len(images)
        with torch.no_grad():
            return torch.cat([self._network(x[None]).softmax(dim=1) for x in images])


def test_black_box_asks_once_a_generation_and_never_again_about_the_elite(lab: Lab) -> None:
    stage = mirror_bb(lab, stop=1.0)
    asked: Any = Counted(lab.victim.network(lab.context(stage)))
    found = stage.invert(lab.context(stage), asked)
    assert asked.calls == [100] + 6 * [3 * 4]
    assert found.queries == 100 + 6 * 3 * 4
    assert found.passes == 0


def test_an_island_that_is_done_costs_no_queries(lab: Lab) -> None:
    """The stop lies between the pool's first and third, so at least one island never asks."""
    stage = mirror_bb(lab)
    pool = StylePool(stage.gan, lab.context(stage), stage)
    p = p_of(lab, stage, pool.pictures(pool.styles)).sort(descending=True).values
    stop = (p[0] + p[2]).item() / 2
    asked: Any = Counted(lab.victim.network(lab.context(stage)))
    found = mirror_bb(lab, stop=stop).invert(lab.context(stage), asked)
    assert asked.calls[0] == 100
    assert all(call % 4 == 0 and call < 12 for call in asked.calls[1:])
    assert asked.calls[1:] == sorted(asked.calls[1:], reverse=True)
    assert found.points is not None
    assert torch.equal(found.points[0], pool.styles[0]) or float(-found.losses[0]) >= math.log(stop)


def test_the_elite_never_gets_worse_and_a_generation_helps(lab: Lab) -> None:
    losses = torch.stack([inverted(lab, mirror_bb(lab, steps=steps, stop=1.0, box=3.0)).losses for steps in (1, 4, 12)])
    assert bool((losses[1:] <= losses[:-1]).all())
    assert losses[2].mean() < 0.8 * losses[0].mean()


def test_islands_do_not_feel_each_other(lab: Lab) -> None:
    """From the same population, with its own random numbers, an island ends the same alone and in company."""

    def bred(images: int) -> evolution.Islands:
        stage = mirror_bb(lab, images=images, stop=1.0)
        ctx = lab.context(stage)
        pool = StylePool(stage.gan, ctx, stage)
        network = lab.victim.network(ctx)

        def log_p(pictures: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                return torch.cat([network(x[None]).log_softmax(dim=1)[:, 1] for x in pictures])

        islands = evolution.Islands(stage, ctx, pool)
        start = pool.styles[: images * 5]
        islands.settle(start, pool.scores(start, log_p))
        for _ in range(3):
            islands.breed(log_p)
        return islands

    alone, company = bred(1), bred(3)
    assert torch.allclose(company.styles[0], alone.styles[0], atol=1e-4)
    assert torch.allclose(company.fitness[0], alone.fitness[0], atol=1e-4)
    assert not torch.equal(company.styles[1], company.styles[0])


def test_children_stay_in_the_box(lab: Lab) -> None:
    stage = mirror_bb(lab, gan=gan_of(lab, MappedGAN), mutation_rate=1.0, mutation_size=5.0)
    ctx = lab.context(stage)
    pool = StylePool(stage.gan, ctx, stage)
    islands = evolution.Islands(stage, ctx, pool)
    islands.settle(pool.styles[:15], torch.full((15,), -3.0))
    islands.breed(lambda pictures: torch.full((len(pictures),), -4.0))
    children = islands.styles[:, 1:]
    p = to_p(children, 0.2)
    assert bool((p <= pool.box.high + 1e-5).all())
    assert bool((p >= pool.box.low - 1e-5).all())
    assert torch.equal(islands.styles[:, 0], pool.styles[:15:5]), "the elite stays as it is"


def test_black_box_reaches_no_weights(lab: Lab) -> None:
    """Its source imports nothing that opens a target, and the target's files are refused to it (see Oracle)."""
    own = {"tasks.attacks.mirror_bb", "tasks.attacks.evolution", "tasks.attacks.style_pool"}
    assert own <= set(closure("tasks.attacks.mirror_bb", "tasks"))
    assert "tasks.attacks.style_search" not in closure("tasks.attacks.mirror_bb", "tasks")
    stage = mirror_bb(lab)
    loaded: list[str] = []

    def load(wanted: Any) -> Any:
        loaded.append(wanted.key)
        return lab.run(wanted)

    ctx = lab.context(stage, load=load)
    with oracle(stage.target, ctx) as asked:
        loaded.clear()
        stage.invert(ctx, asked)
    assert set(loaded) == {stage.gan.key}
