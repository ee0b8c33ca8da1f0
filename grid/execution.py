"""Running what is missing of a plan: with the display, a nudge to MLflow's mirror, and what is said if all is lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console

from grid.costs import Costs
from grid.executors import Runnable, make_executor
from grid.progress import Display, make_display
from grid.reconcile import ExecutorLostError, Reconciler, Result
from grid.spec import Spec
from grid.store import Store
from tasks.stage import Stage

if TYPE_CHECKING:
    from grid.mirror_background import Mirror


def run_missing(
    plan: Runnable,
    spec: Spec,
    store: Store,
    address: str,
    in_process: bool,
    missing: Mapping[str, Stage],
    damaged: Mapping[str, str],
    say: Console,
    mirror: Mirror | None = None,
    at_hand: Mapping[str, dict[str, Any]] | None = None,
) -> Result | None:
    """Run the stages `missing` of a plan; None, and a sentence, if what runs them was lost as a whole.

    at_hand: records of finished stages that were read before.
    """
    costs = Costs(store.records(at_hand=at_hand).values())
    executor, slots = make_executor(spec, plan, store, address, in_process, missing, say, costs)
    display = make_display(say, slots)
    try:
        observer = _Notifying(display, mirror)
        return Reconciler(plan, store, executor, observer, costs, spec.timeouts).run(missing, damaged)
    except ExecutorLostError as error:
        text = f"{error}; what is done is stored, and the same command goes on from here"
        say.print(text, markup=False, soft_wrap=True)
        return None
    finally:
        display.close()
        executor.close()


class _Notifying:
    """The display, and a nudge to the mirror whenever a stage is done."""

    def __init__(self, display: Display, mirror: Mirror | None) -> None:
        self._display, self._mirror = display, mirror
        self.begin, self.submitted, self.said = display.begin, display.submitted, display.said

    def ended(self, *arguments: Any) -> None:
        self._display.ended(*arguments)
        if self._mirror is not None:
            self._mirror.notify()
