"""Gradient search over inputs (latents or pixels), many samples at a time from one queue.

Every sample has a loss, step count and optimizer state of its own, so no sample feels another; the batch has
a fixed shape (`chunk`, padded), so floating point does not either. A sample that is finished or has converged
makes room for the next in the queue.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch

from tasks.checkpoint import State
from tasks.context import Context

if TYPE_CHECKING:
    from tasks.inversion.settings import SearchSettings


class Where(NamedTuple):
    """Which sample is in each place of the batch, and how many evaluations it has had; both (chunk,) int64."""

    rows: torch.Tensor
    ages: torch.Tensor


Loss = Callable[[torch.Tensor, Where], torch.Tensor]
Projection = Callable[[torch.Tensor, Where], torch.Tensor]


class Found(NamedTuple):
    """Per sample: the point kept, its loss, and how many forward and backward passes it took."""

    points: torch.Tensor  # (n, ...)
    losses: torch.Tensor  # (n,)
    passes: torch.Tensor  # (n,) int64


def ramp(age: torch.Tensor, steps: int, up: float = 0.05, down: float = 0.25) -> torch.Tensor:
    """Factor (n,) on the rate at evaluation `age` (n,) of `steps`: linear up, flat, then a cosine to 0.

    `up` and `down` are shares of the steps. Of the projector of StyleGAN2 (Karras et al. 2020, app. D), which
    Mirror uses.
    """
    t = age.double() / steps
    falling = ((1 - t) / down).clamp_max(1)
    falling = 0.5 - 0.5 * (math.pi * falling).cos()
    return falling * (t / up).clamp_max(1) if up else falling


class Search:
    """Minimise `loss` from each row of `start`; `run` returns a point of each.

    keep: the point of least loss (sec. IV-B), or the last one where the loss is random and the least is luck.
    """

    def __init__(
        self,
        start: torch.Tensor,
        loss: Loss,
        settings: SearchSettings,
        project: Projection | None = None,
        keep: Literal["least", "last"] = "least",
    ) -> None:
        """start (n, ...); loss maps (chunk, ...) to per-sample losses (chunk,); project is applied after a step."""
        self._start, self._loss, self._settings, self._project = start, loss, settings, project
        self._keep = keep
        n, chunk = len(start), min(settings.chunk, len(start))
        self._best = start.clone()
        self._best_loss = torch.full((n,), torch.inf)
        self._gained_at = torch.full((n,), torch.inf)  # the loss at the last gain that counted
        self._passes = torch.zeros(n, dtype=torch.int64)
        self._next = chunk
        self._rows = torch.arange(chunk)  # which sample is in which place of the batch
        self._busy = torch.ones(chunk, dtype=torch.bool)
        self._x = start[:chunk].clone()
        self._first = torch.zeros_like(self._x)  # momentum, or Adam's first moment
        self._second = torch.zeros_like(self._x)  # Adam's second moment
        self._age = torch.zeros(chunk, dtype=torch.int64)
        self._stale = torch.zeros(chunk, dtype=torch.int64)

    def run(self, ctx: Context) -> Found:
        """Search until the queue is empty; a killed search resumes from its checkpoint."""
        if restored := ctx.restore():
            self._load(restored[1])
        while bool(self._busy.any()):
            self._step()
            ctx.checkpoint(int(self._passes.sum()), self._save)
        return Found(self._best, self._best_loss, self._passes)

    def _step(self) -> None:
        x = self._x.detach().requires_grad_(True)
        losses = self._loss(x, Where(self._rows, self._age))
        (gradient,) = torch.autograd.grad(losses.sum(), x)
        self._keep_best(losses.detach().cpu())
        self._age += 1
        self._x = self._move(gradient)
        done = self._busy & ((self._age >= self._settings.steps) | (self._stale >= self._settings.patience))
        for place in done.nonzero().flatten().tolist():
            self._replace(place)

    def _keep_best(self, losses: torch.Tensor) -> None:
        old = self._best_loss[self._rows]
        better = self._busy & (losses < old)
        last = self._gained_at[self._rows]
        gained = self._busy & (losses < last - self._settings.tolerance * last.abs().clamp_max(1e30))
        gained |= better & last.isinf()
        self._gained_at[self._rows[gained]] = losses[gained]
        self._stale = torch.where(gained, 0, self._stale + 1)
        kept = self._busy if self._keep == "last" else better
        rows = self._rows[kept]
        self._best[rows] = self._x[kept.to(self._x.device)]
        self._best_loss[rows] = losses[kept]
        self._passes[self._rows[self._busy]] += 1

    def _move(self, gradient: torch.Tensor) -> torch.Tensor:
        s = self._settings
        lr: float | torch.Tensor = s.lr
        if s.schedule == "ramp":
            factor = ramp(self._age, s.steps).to(gradient.device, gradient.dtype)
            lr = s.lr * factor.view(-1, *[1] * (gradient.ndim - 1))
        if s.optimizer == "sgd":
            previous = self._first
            self._first = s.momentum * previous - lr * gradient
            moved = self._x - s.momentum * previous + (1 + s.momentum) * self._first
        else:
            age = self._age.to(gradient.device).view(-1, *[1] * (gradient.ndim - 1)).to(gradient.dtype)
            self._first = s.beta1 * self._first + (1 - s.beta1) * gradient
            self._second = s.beta2 * self._second + (1 - s.beta2) * gradient.square()
            mean, spread = self._first / (1 - s.beta1**age), self._second / (1 - s.beta2**age)
            moved = self._x - lr * mean / (spread.sqrt() + 1e-8)
        return self._project(moved, Where(self._rows, self._age)) if self._project is not None else moved

    def _replace(self, place: int) -> None:
        if self._next >= len(self._start):
            self._busy[place] = False
            return
        self._rows[place] = self._next
        self._x[place] = self._start[self._next]
        self._first[place], self._second[place] = 0.0, 0.0
        self._age[place], self._stale[place] = 0, 0
        self._next += 1

    _STATE = ("best", "best_loss", "gained_at", "passes", "rows", "busy", "x", "first", "second", "age", "stale")

    def _save(self) -> State:
        return {"next": self._next, **{name: getattr(self, f"_{name}") for name in self._STATE}}

    def _load(self, state: State) -> None:
        self._next = state["next"]
        for name in self._STATE:
            setattr(self, f"_{name}", state[name].to(getattr(self, f"_{name}").device))
