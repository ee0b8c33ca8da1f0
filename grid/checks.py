"""Checks before a grid starts that need more than the spec: the user's weights against their architecture."""

from __future__ import annotations

from grid.plan import Plan
from grid.problems import Problem, SpecError
from grid.spec import Spec
from tasks.models.classifier import GivenClassifier


def preflight(plan: Plan, spec: Spec) -> None:
    """Raise SpecError if a given weights file does not fit its network. Loads torch only if there is one."""
    problems = []
    for stage in plan.stages().values():
        if not isinstance(stage, GivenClassifier):
            continue
        from tasks.models.training import weight_problems

        path = plan.sources[stage.weights]
        place = spec.source.place("victim.weights")
        try:
            found = weight_problems(stage, path)
        except Exception as error:  # noqa: BLE001  a broken file may fail in any way
            problems.append(Problem(place, f"{path} is not a safetensors file ({error})"))
            continue
        shown = "; ".join(found[:8]) + (f"; and {len(found) - 8} more" if len(found) > 8 else "")
        if found:
            text = f"the weights in {path} do not fit {stage.arch} (width {stage.width:g}, {len(stage.people)} labels)"
            problems.append(Problem(place, f"{text}: {shown}"))
    if problems:
        raise SpecError(problems)
