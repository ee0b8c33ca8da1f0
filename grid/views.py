"""What `plan`, `status` and `show` print. Nothing here loads torch."""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from grid.bill import bill, print_bill, stated_costs
from grid.cli import emit_json
from grid.costs import Costs
from grid.data_report import data_lines
from grid.expand import expand
from grid.places import open_store
from grid.plan import Plan
from grid.problems import Problem, SpecError
from grid.progress import duration
from grid.schedule_view import print_schedule, schedule_content
from grid.spec_parser import load_spec
from grid.store import Store
from grid.workers import Workers


@contextmanager
def _without_collection() -> Iterator[None]:
    """No search for garbage meanwhile: what a plan is built of is kept, so looking through it finds nothing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@_without_collection()
def show_plan(
    spec: str,
    overrides: Sequence[str],
    *,
    store_uri: str,
    as_json: bool,
    workers: Workers | None = None,
    anew: bool = False,
    stated: Sequence[str] = (),
) -> None:
    """Print the stages of a spec: unique, shared, done, missing, and the cost of what is missing.

    With `workers`, also the schedule on such nodes, of what is missing or (`anew`) of all. stated: costs of kinds,
    see `grid.bill.stated_costs`.
    """
    checked = load_spec(spec, overrides)
    plan = expand(checked)
    store = open_store(store_uri, writable=False)
    records = store.records()
    costs = Costs(records.values())
    costs.state(stated_costs(stated, {stage.kind for stage in plan.stages().values()}))
    content = plan_content(plan, records, costs)
    wanted = [key for key, row in content["table"].items() if anew or row["state"] == "missing"]
    content["bill"] = bill(plan, wanted, costs, checked.resources)
    if workers is not None:
        content["schedule"] = schedule_content(plan, wanted, costs, checked.resources, workers)
    if as_json:
        emit_json(content)
        return
    console = Console(highlight=False)
    console.print(f"{plan.name}: {len(plan.rows)} rows, {sum(len(row.cells) for row in plan.rows)} cells", markup=False)
    for line in data_lines(plan.findings):
        console.print(line, markup=False, style="yellow", soft_wrap=True)
    print_bill(content["bill"], plan.numerics, console)
    shared = content["stages_without_sharing"]
    console.print(f"{content['stages']} stages (a script without sharing would run {shared})", markup=False)
    left = content["estimated_seconds"]
    cost = f"about {duration(left)} of work" if left is not None else "cost unknown: nothing like it was recorded"
    if left is not None and content["stages_without_estimate"]:
        cost += f", without {content['stages_without_estimate']} stages whose cost is unknown"
    console.print(f"{content['done']} done, {content['missing']} missing: {cost}", markup=False)
    if workers is not None:
        print_schedule(content["schedule"], console)


def plan_content(plan: Plan, records: Mapping[str, Mapping[str, Any]], costs: Costs) -> dict[str, Any]:
    """The plan as plain data; `table` is flat, by key. Seconds are summed over stages, not wall-clock.

    records: of what is done, by key.
    """
    stages = plan.stages()
    done = {key: records[key] for key in stages if key in records}
    table = {}
    for key, stage in stages.items():
        table[key] = {
            "name": plan.names[key],
            "kind": stage.kind,
            "group": stage.group,
            "state": "done" if key in done else "missing",
            "seconds": done[key]["seconds"] if key in done else None,
            "estimated_seconds": costs.estimate(stage),
            "upstream": [parent.key for parent in stage.upstream],
        }
    estimates = [row["estimated_seconds"] for row in table.values() if row["state"] == "missing"]
    unknown = sum(seconds is None for seconds in estimates)
    return {
        "spec": plan.name,
        "budget": plan.budget,
        "numerics": plan.numerics,
        "rows": len(plan.rows),
        "cells": sum(len(row.cells) for row in plan.rows),
        "stages": len(stages),
        "stages_without_sharing": plan.without_sharing(),
        "done": len(done),
        "missing": len(stages) - len(done),
        "estimated_seconds": sum(s for s in estimates if s is not None)
        if unknown < len(estimates) or not estimates
        else None,
        "stages_without_estimate": unknown,
        "table": table,
    }


def show_status(spec: str, overrides: Sequence[str], *, store_uri: str, as_json: bool) -> None:
    """Print what is done, running, failed and missing; failed stages with the place of their log."""
    plan = expand(load_spec(spec, overrides))
    store = open_store(store_uri, writable=False)
    states = stage_states(store, plan.stages())
    if as_json:
        emit_json({key: {"name": plan.names[key], **state} for key, state in states.items()})
        return
    console = Console(highlight=False)
    counts = Counter(state["state"] for state in states.values())
    order = ("done", "running", "failed", "missing")
    console.print(f"{plan.name}: " + ", ".join(f"{counts[name]} {name}" for name in order), markup=False)
    for key, state in states.items():
        if state["state"] == "running":
            text = f"running {plan.names[key]} on {state['host']} (pid {state['pid']}) for {duration(state['seconds'])}"
            console.print(text, markup=False)
        if state["state"] == "failed":
            console.print(Text(f"failed {plan.names[key]} ({key}): {state['error']}", style="red"), soft_wrap=True)
            console.print(f"  log: {state['log']}", markup=False, soft_wrap=True)


def stage_states(store: Store, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The states of many stages, by key; the store is asked about those alone of which it holds anything."""
    listed = list(keys)
    known = store.known(listed)
    found = dict(zip(known, store.each(partial(stage_state, store), known), strict=True))
    return {key: found.get(key, {"state": "missing"}) for key in listed}


def stage_state(store: Store, key: str) -> dict[str, Any]:
    """`done`, `running`, `failed` or `missing`, and what is known of it."""
    if record := store.done(key):
        return {"state": "done", "seconds": record["seconds"]}
    if beat := store.running(key):
        return {
            "state": "running",
            "host": beat["host"],
            "pid": beat["pid"],
            "seconds": time.time() - beat["started"],
        }
    if failure := store.failure(key):
        return {"state": "failed", "error": failure["error"], "log": store.failure_place(key)}
    return {"state": "missing"}


def show_artifact(key: str, *, store_uri: str, as_json: bool) -> None:
    """Print one artifact's record."""
    store = open_store(store_uri, writable=False)
    matches = store.find(key)
    if len(matches) != 1:
        text = f"{len(matches)} artifacts begin so: {', '.join(matches[:8])}" if matches else "no such artifact"
        raise SpecError(
            [
                Problem(
                    f"show {key}",
                    f"{text} in {store.shown}; keys are listed by `decoygrid plan SPEC --json`",
                )
            ]
        )
    record = store.done(matches[0])
    if record is None:
        state = stage_state(store, matches[0])
        raise SpecError(
            [Problem(f"show {matches[0]}", f"is not done ({state['state']}) {state.get('error', '')}".rstrip())]
        )
    if as_json:
        emit_json(record)
        return
    console = Console(highlight=False)
    where = f" on {record['host']}" if "host" in record else ""
    memory = f"{record['peak_memory_bytes'] / 2**20:.0f} MiB"
    console.print(f"{record['key']}  ({record['seconds']:.1f} s{where}, {memory})", markup=False)
    for title, content in (
        ("metrics", record["metrics"]),
        ("config", record["config"]),
        ("notes", record["notes"]),
    ):
        if content:
            console.print(_pairs(title, content))
    if record["upstream"]:
        console.print("upstream: " + ", ".join(record["upstream"]), markup=False, soft_wrap=True)
    files = {
        name: f"{entry['size']} bytes, sha256 {entry['sha256'][:16]}..." for name, entry in record["files"].items()
    }
    console.print(_pairs("files", files))
    for name in files:
        console.print(f"  {store.shown}/{record['key']}/{record['attempt']}/{name}", markup=False, soft_wrap=True)


def _pairs(title: str, content: dict[str, Any]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2))
    for name, value in content.items():
        shown = value["stage"] if isinstance(value, dict) and set(value) == {"stage"} else value
        table.add_row(name, Text(f"{shown:.6g}" if isinstance(shown, float) else str(shown)))
    return table
