"""Toy stages and a toy plan: what a scheduler needs to know of a grid, without any learning."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from grid.costs import Costs
from grid.in_process import InProcessExecutor
from grid.reconcile import Progress, Reconciler, Result, missing_stages
from grid.runner import Outcome
from grid.store import Store
from tasks.context import Context
from tasks.stage import Metrics, Stage


class Toy(Stage):
    """Adds `number` to the sum of its parents; fails while its number is in `failing`."""

    kind: ClassVar = "toy"
    group: ClassVar = "data"
    ran: ClassVar[list[int]] = []
    failing: ClassVar[set[int]] = set()

    number: int
    parents: tuple[Stage, ...] = ()

    def run(self, ctx: Context) -> Metrics:
        Toy.ran.append(self.number)
        if self.number in Toy.failing:
            raise ValueError(f"toy {self.number} fails\nfor a reason")
        total = self.number + sum(int(ctx.load(p).path("sum.txt").read_text()) for p in self.parents)
        (ctx.out / "sum.txt").write_text(str(total))
        return {"sum": float(total)}


class ToyPlan:
    """Stages in upstream-first order, and their names."""

    def __init__(self, roots: Iterable[Stage]) -> None:
        self._stages: dict[str, Stage] = {}
        for root in roots:
            for key, stage in root.closure().items():
                self._stages.setdefault(key, stage)
        self.names = {key: f"toy {getattr(stage, 'number', '?')}" for key, stage in self._stages.items()}

    def stages(self) -> dict[str, Stage]:
        return dict(self._stages)


class Notes:
    """An observer that writes everything down."""

    def __init__(self) -> None:
        self.begun: tuple[int, int] | None = None
        self.order: list[str] = []
        self.outcomes: list[Outcome] = []
        self.progress: list[Progress] = []
        self.texts: list[str] = []

    def begin(self, total: int, done: int, eta: float | None) -> None:
        self.begun = (total, done)

    def submitted(self, key: str, name: str) -> None:
        self.order.append(name)

    def ended(self, outcome: Outcome, name: str, progress: Progress) -> None:
        self.outcomes.append(outcome)
        self.progress.append(progress)

    def said(self, text: str) -> None:
        self.texts.append(text)


def reconcile(
    roots: Iterable[Stage], store: Store, *, verify: bool = True, executor: Any = None
) -> tuple[Result, Notes]:
    """One run of a grid of toys."""
    plan: Any = ToyPlan(roots)
    notes = Notes()
    missing, damaged, _ = missing_stages(plan, store, verify=verify)
    runner = executor or InProcessExecutor(store.location, {})
    return Reconciler(plan, store, runner, notes, Costs(store.records().values())).run(missing, damaged), notes
