"""What a plan costs: stage-hours by kind, what sharing saves, and how long one GPU and eight would take."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from grid.costs import Costs
from grid.placement import LIGHT, needs_gpu, place
from grid.plan import Plan
from grid.problems import Problem, SpecError, choices
from grid.progress import duration
from grid.schedule import makespan
from grid.spec import ResourceRequest
from grid.workers import equal_workers
from tasks.stage import GROUPS, ComputeStage, Group, Stage

GPUS = (1, 8)  # nodes with a GPU each
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_STATED = re.compile(r"(?P<kind>\w+)=(?P<number>\d+(\.\d+)?)(?P<unit>[smh]?)")


def stated_costs(texts: Iterable[str], kinds: Iterable[str]) -> dict[str, float]:
    """Kind -> seconds of one such stage, from texts such as `classifier=2h`; SpecError with all problems."""
    known, found, problems = set(kinds), {}, []
    for text in texts:
        match = _STATED.fullmatch(text.strip())
        if match is None:
            problems.append(Problem(f"--cost {text!r}", "expected KIND=TIME, as classifier=2h, wgan=90m or fakes=30s"))
        elif match["kind"] not in known:
            problems.append(Problem(f"--cost {text!r}", choices(match["kind"], known, what="kind in this plan")))
        else:
            found[match["kind"]] = float(match["number"]) * _UNITS[match["unit"]]
    if problems:
        raise SpecError(problems)
    return found


def bill(
    plan: Plan, missing: Sequence[str], costs: Costs, resources: Mapping[Group, ResourceRequest]
) -> dict[str, Any]:
    """As plain data: `kinds` (stages, times asked for, missing, hours of these, how many of them are rough figures)
    and `gpus` (seconds of the missing stages on so many GPUs). SpecError if a stage fits no such node."""
    stages, asked = plan.stages(), plan.asked_for()
    seconds = {key: costs.guess(stages[key]) for key in missing}
    kinds: dict[str, dict[str, Any]] = {}
    for key, stage in stages.items():
        line = kinds.setdefault(
            stage.kind,
            {"group": stage.group, "stages": 0, "asked": asked[stage.kind], "missing": 0, "hours": 0.0, "rough": 0},
        )
        line["stages"] += 1
        if key in seconds:
            line["missing"] += 1
            line["hours"] += seconds[key] / 3600
            line["rough"] += costs.estimate(stage) is None
    return {"kinds": kinds, "gpus": _on_gpus(stages, seconds, costs, resources)}


def _on_gpus(
    stages: Mapping[str, Stage],
    seconds: Mapping[str, float],
    costs: Costs,
    resources: Mapping[Group, ResourceRequest],
) -> dict[str, float]:
    """Number of nodes with a GPU each -> seconds, where every stage that computes has its share of one."""
    clusters = {n: equal_workers(n, 1, None, None).nodes for n in GPUS}
    node = clusters[1]  # what a stage asks for depends on the kinds of nodes, not on their number
    shares = {group: _with_share(resources.get(group), group) for group in GROUPS}
    missing = [(key, stages[key]) for key in seconds]
    requests = {k: place(s, _wanted(s, resources, shares), costs.peak(s), node) for k, s in missing}
    return {str(n): makespan(stages, seconds, requests, nodes) for n, nodes in clusters.items()}


def _with_share(wanted: ResourceRequest | None, group: Group) -> ResourceRequest:
    if wanted is not None and wanted.gpu is not None:
        return wanted
    return (wanted or ResourceRequest()).model_copy(update={"gpu": LIGHT.get(group, 1.0)})


def _wanted(
    stage: Stage, resources: Mapping[Group, ResourceRequest], shares: Mapping[Group, ResourceRequest]
) -> ResourceRequest | None:
    """What a stage asks for; one that computes, though it needs no GPU, has its share of one."""
    computes = isinstance(stage, ComputeStage) and not needs_gpu(stage)
    return shares[stage.group] if computes else resources.get(stage.group)


def print_bill(content: Mapping[str, Any], numerics: str, console: Console) -> None:
    """The kinds as a table, the most hours first, and a line about GPUs."""
    table = Table(box=None, padding=(0, 2))
    for name in ("kind", "asked for", "stages", "shared by", "missing", "hours"):
        table.add_column(name, justify="left" if name == "kind" else "right")
    kinds = sorted(content["kinds"].items(), key=lambda item: (-item[1]["hours"], item[0]))
    for kind, line in kinds:
        share = f"{line['asked'] / line['stages']:.1f}" if line["asked"] else "–"
        hours = f"{line['hours']:.2f}{' ?' if line['rough'] else ''}" if line["missing"] else ""
        table.add_row(kind, f"{line['asked'] or '–'}", f"{line['stages']}", share, f"{line['missing'] or ''}", hours)
    console.print(table)
    missing = sum(line["missing"] for _, line in kinds)
    if not missing:
        return
    hours, rough = (sum(line[name] for _, line in kinds) for name in ("hours", "rough"))
    text = f"{hours:.1f} stage-hours are missing"
    if rough:
        text += f"; for {rough} of {missing} stages (?) nothing was recorded, so that these are rough figures by group"
        text += " (state your own: --cost KIND=TIME)"
    console.print(text, markup=False, soft_wrap=True)
    times = [f"{duration(seconds)} on {count} GPU{'s' * (count != '1')}" for count, seconds in content["gpus"].items()]
    note = "; these are times of a CPU" if numerics == "cpu_fp32" else ""
    console.print(f"simulated: {', '.join(times)}{note}", markup=False, soft_wrap=True)
