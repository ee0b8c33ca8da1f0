"""How a run ended, in words and as plain data."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from grid.plan import Plan
from grid.reconcile import Result
from grid.store import Store


def say_outcome(say: Console, plan: Plan, store: Store, result: Result) -> None:
    """Counts in a line; then each stage that failed, with the place of its log, and each that waits for one."""
    counts = f"{len(set(result.computed))} computed, {len(result.failed)} failed, {len(result.blocked)} blocked"
    say.print(f"{result.reused} of {result.total} stages were there already, {counts}")
    for key, error in result.failed.items():
        text = f"FAILED {plan.names[key]} ({key}): {error}\n  log: {store.failure_place(key)}"
        say.print(text, markup=False, style="red", soft_wrap=True)
    for key, cause in result.blocked.items():
        say.print(f"blocked {plan.names[key]} ({key}) by {cause}", markup=False, style="red", soft_wrap=True)


def outcome(result: Result) -> dict[str, Any]:
    """The part of `--json` that is about stages."""
    return {
        "complete": result.complete,
        "stages": {"total": result.total, "reused": result.reused, "computed": sorted(set(result.computed))},
        "failed": result.failed,
        "blocked": result.blocked,
        "repaired": result.repaired,
    }
