"""The genetic search of black-box Mirror. Fitness is log p(l_t); the target is asked and nothing else."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from tasks.attacks.attack import Inverted
from tasks.attacks.style_pool import Function, StylePool, best_first
from tasks.attacks.style_space import Box, from_p, to_p
from tasks.checkpoint import State
from tasks.context import Context

if TYPE_CHECKING:
    from tasks.attacks.mirror_bb import MirrorBB
    from tasks.attacks.oracle import Oracle

LEAST_P = torch.finfo(torch.float32).tiny  # a confidence of 0 still has a logarithm


def first_share(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """p1 / (p1 + p2) of two parents' fitness (log p1, log p2): the better parent gives more of the child."""
    return (first - second).sigmoid()


def pairs(fitness: torch.Tensor, count: int, draws: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """`count` pairs of rows, each drawn with replacement by softmax(fitness), that is, in proportion to p."""
    drawn = torch.multinomial(fitness.softmax(dim=0), 2 * count, replacement=True, generator=draws)
    return drawn[:count], drawn[count:]


def crossover(first: torch.Tensor, second: torch.Tensor, share: torch.Tensor, draws: torch.Generator) -> torch.Tensor:
    """Children (n, d): each dimension from the first parent with probability share (n,), else from the second."""
    return torch.where(torch.rand(first.shape, generator=draws) < share[:, None], first, second)


def mutated(
    children: torch.Tensor, box: Box, slope: float | None, rate: float, size: float, draws: torch.Generator
) -> torch.Tensor:
    """Add size * U(-std, std) in P to each dimension with probability `rate`; every child has its own noise."""
    hit = torch.rand(children.shape, generator=draws) < rate
    noise = size * box.std * (2 * torch.rand(children.shape, generator=draws) - 1)
    return torch.where(hit, from_p(to_p(children, slope) + noise, slope), children)


class Islands:
    """A population (population, d) for each image, which breeds by itself: (images, population, d)."""

    def __init__(self, stage: MirrorBB, ctx: Context, pool: StylePool) -> None:
        self._stage, self._pool = stage, pool
        self._draws = [ctx.generator(f"island {i}") for i in range(stage.images)]
        self.styles = torch.empty(0)
        self.fitness = torch.empty(0)  # (images, population)

    def settle(self, styles: torch.Tensor, fitness: torch.Tensor) -> None:
        """Start from styles (images * population, d), those of an image following each other."""
        self.styles = styles.view(self._stage.images, self._stage.population, -1).clone()
        self.fitness = fitness.view(self._stage.images, self._stage.population).clone()

    def going(self) -> list[int]:
        """The islands whose best style has not convinced the target yet."""
        return (self.fitness.amax(dim=1) < math.log(self._stage.stop)).nonzero().flatten().tolist()

    def breed(self, log_p: Function) -> None:
        """One generation on every island that is still going; the target is asked about all children at once."""
        going = self.going()
        children = torch.cat([self._children(i) for i in going])
        fitness = self._pool.scores(children, log_p).view(len(going), -1)
        for i, young, fit in zip(going, children.view(*fitness.shape, -1), fitness, strict=True):
            elite = self.fitness[i].argmax()
            self.styles[i] = torch.cat([self.styles[i, elite][None], young])
            self.fitness[i] = torch.cat([self.fitness[i, elite][None], fit])

    def _children(self, i: int) -> torch.Tensor:
        stage, styles, fitness, draws = self._stage, self.styles[i], self.fitness[i], self._draws[i]
        first, second = pairs(fitness, stage.population - 1, draws)
        children = crossover(styles[first], styles[second], first_share(fitness[first], fitness[second]), draws)
        pool = self._pool
        children = mutated(children, pool.box, pool.slope, stage.mutation_rate, stage.mutation_size, draws)
        return pool.keep_valid(children)

    def best(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Of each island the style (images, d) of the highest fitness (images,)."""
        fitness, rows = self.fitness.max(dim=1)
        return self.styles[torch.arange(len(rows)), rows], fitness

    def state(self) -> State:
        return {"styles": self.styles, "fitness": self.fitness, "draws": [d.get_state() for d in self._draws]}

    def restore(self, state: State) -> None:
        self.styles, self.fitness = state["styles"], state["fitness"]
        for draws, saved in zip(self._draws, state["draws"], strict=True):
            draws.set_state(saved)


def invert(stage: MirrorBB, ctx: Context, target: Oracle) -> Inverted:
    """Rank the pool, breed for at most `steps` generations, keep each island's best; the loss is -log p(l_t)."""
    pool = StylePool(stage.gan, ctx, stage)
    islands = Islands(stage, ctx, pool)

    def log_p(images: torch.Tensor) -> torch.Tensor:
        return target.query(images)[:, stage.label].clamp_min(LEAST_P).log()

    def snapshot() -> State:
        return {"islands": islands.state(), "queries": target.queries}

    generation = 0
    if restored := ctx.restore():
        generation, state = restored
        islands.restore(state["islands"])
        target.resume(state["queries"])  # those of the run that was killed count as well
    else:
        islands.settle(*_first_generation(stage, ctx, pool, log_p))
        ctx.checkpoint(0, snapshot)
    while generation < stage.steps and islands.going():
        islands.breed(log_p)
        generation += 1
        ctx.checkpoint(generation, snapshot)
    styles, fitness = islands.best()
    return Inverted(pool.pictures(styles), -fitness, passes=0, queries=target.queries, points=styles)


def _first_generation(
    stage: MirrorBB, ctx: Context, pool: StylePool, log_p: Function
) -> tuple[torch.Tensor, torch.Tensor]:
    """The pool's best styles (images * population, d), with a known solution among each image's, and fitness."""
    ranked = pool.scores(pool.styles, log_p)
    rows = best_first(ranked, stage.images, stage.population)
    styles, fitness = stage.starts(ctx, lambda: pool.styles[rows]), ranked[rows].clone()
    if stage.warm is not None:
        known = slice(None, None, stage.population)
        fitness[known] = pool.scores(styles[known], log_p)
    return styles, fitness
