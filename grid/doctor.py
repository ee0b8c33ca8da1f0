"""`decoygrid doctor`: this machine alone in seconds, or every node of a cluster; each finding with its remedy."""

from __future__ import annotations

import json
import shlex
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from grid.cli import HOME, STORE, TRACKING, emit_json
from grid.doctor_findings import Finding, findings
from grid.doctor_node import NodeFacts, examine
from grid.places import check_tracking, console
from grid.problems import Problem, SpecError

JOB_SECONDS = 600.0
STYLES = {"error": "red", "warning": "yellow", "note": "dim"}


def run_doctor(address: str | None, *, store_uri: str | None, tracking: str | None, as_json: bool) -> int:
    """0 if nothing is in the way, 1 if something is; SpecError for what cannot be asked."""
    if address is not None and address.startswith(("http://", "https://")):
        nodes, found = _by_a_job(address, store_uri, tracking)
    elif address is not None:
        nodes, found = _by_ray(address, store_uri, tracking)
    else:
        nodes = [_this_machine(store_uri if store_uri is not None else STORE)]
        default = TRACKING if Path(HOME, "mlflow.db").exists() else "none"  # a look makes no database
        found = [*findings(nodes, nodes[0]), *tracking_findings(tracking or default, nodes[0].name)]
    if as_json:
        emit_json({"nodes": [asdict(node) for node in nodes], "findings": [one._asdict() for one in found]})
    else:
        _print(nodes, found, console())
    return int(any(finding.severity == "error" for finding in found))


def _this_machine(store_uri: str) -> NodeFacts:
    """Leaves no empty store behind where there was none."""
    local = "://" not in store_uri
    absent = [path for path in (Path(store_uri), *Path(store_uri).parents) if local and not path.exists()]
    facts = examine(store_uri)
    for folder in absent:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    return facts


def _by_ray(address: str, store_uri: str | None, tracking: str | None) -> tuple[list[NodeFacts], list[Finding]]:
    """Ask the nodes by tasks; the driver's versions are those that count."""
    from grid.executors import join_ray

    join_ray(address)
    from grid.doctor_cluster import examine_nodes

    nodes = examine_nodes(store_uri)
    here = replace(examine(None), name="the driver")
    found = findings(nodes, here)
    head = nodes[0].name if nodes else here.name
    found += tracking_findings(tracking, head) if tracking is not None else []
    if store_uri is None:
        remedy = "say --store, or set DECOYGRID_STORE on the nodes"
        found.append(Finding("note", head, "no store is named, so none was checked", remedy))
    return nodes, found


def _by_a_job(address: str, store_uri: str | None, tracking: str | None) -> tuple[list[NodeFacts], list[Finding]]:
    """The same by a job on the cluster, and its head's versions against those here, from where grids are submitted."""
    from grid.bundle import pack
    from grid.job_server import JobServer

    server = JobServer(address)
    named = {"--store": store_uri, "--tracking": tracking}
    options = [part for option, value in named.items() if value for part in (option, value)]
    command = f"exec python -m grid doctor --address auto --json {shlex.join(options)}"
    name = server.submit(command, pack({}), {"decoygrid": "doctor"}, {})
    until = time.monotonic() + JOB_SECONDS
    while not (job := server.job(name)).over:
        if time.monotonic() > until:
            text = f"job {name} has not ended after {JOB_SECONDS:.0f} s: {job.message or job.status}"
            raise SpecError([Problem(f"--address {address}", f"{text}; is a node up?")])
        time.sleep(1.0)
    said = read_answer(server.logs(name))
    if said is None:
        tail = " / ".join(server.logs(name).strip().splitlines()[-3:])
        raise SpecError([Problem(f"--address {address}", f"job {name} did not answer: {tail or job.message}")])
    nodes = [NodeFacts(**node) for node in said["nodes"]]
    here = replace(examine(None), name="this machine")
    head = next((node for node in nodes if node.head and node.silent is None), None)
    found = [Finding(**one) for one in said["findings"]]
    if head is not None:  # what differs between the nodes they have said themselves
        found += findings([replace(here, disk={}, shared_memory=None, torch_gpus=None)], head)
    return nodes, found


def read_answer(log: str) -> dict[str, Any] | None:
    """The JSON object that ends a job's log, whatever was printed before; None if there is none."""
    lines = log.splitlines()
    for i in reversed([i for i, line in enumerate(lines) if line == "{"]):
        try:
            found = json.loads("\n".join(lines[i:]))
        except ValueError:
            continue
        return found if isinstance(found, dict) and {"nodes", "findings"} <= set(found) else None
    return None


def tracking_findings(tracking: str, node: str) -> list[Finding]:
    """Whether MLflow can be reached from here."""
    if tracking == "none":
        return []
    if not tracking.startswith(("http://", "https://")):
        try:
            check_tracking(tracking)
        except SpecError as error:
            remedy = "name a place that can be written, a server, or none"
            return [Finding("error", node, f"MLflow: {error.problems[0].message}", remedy)]
        return []
    try:
        with urllib.request.urlopen(f"{tracking.rstrip('/')}/health", timeout=10) as answer:  # noqa: S310
            said = answer.read(64).decode(errors="replace")
        return [] if said.strip() == "OK" else [_mlflow(node, tracking, "something else answers there")]
    except urllib.error.HTTPError as error:
        remedy = " (start the server with --allowed-hosts that name it)" if error.code == 403 else ""
        return [_mlflow(node, tracking, f"it answers {error.code}{remedy}")]
    except (OSError, ValueError) as error:
        return [_mlflow(node, tracking, str(getattr(error, "reason", None) or error))]


def _mlflow(node: str, tracking: str, why: str) -> Finding:
    what = f"MLflow at {tracking} cannot be used: {why}"
    return Finding(
        "warning", node, what, "start the server, or open its port to the head; `sync` sends what is missing"
    )


def _print(nodes: Sequence[NodeFacts], found: Sequence[Finding], say: Console) -> None:
    table = Table(box=None, padding=(0, 2))
    for name in ("node", "python", "torch", "ray", "GPUs", "free disk", "shared memory", "clock"):
        table.add_column(name)
    for node in nodes:
        table.add_row(*(Text(cell) for cell in _row(node)))
    say.print(table)
    for finding in found:
        text = f"{finding.severity} on {finding.node}: {finding.what}"
        say.print(Text(text, style=STYLES[finding.severity]), soft_wrap=True)
        say.print(f"  {finding.remedy}", markup=False, soft_wrap=True)
    if not found:
        say.print("nothing is in the way", markup=False)


def _row(node: NodeFacts) -> tuple[str, ...]:
    gib = 2**30
    gpus = node.ray_gpus if node.ray_gpus is not None else node.torch_gpus or 0
    free = f"{min(node.disk.values()) / gib:.0f} GiB" if node.disk else ""
    shared = f"{node.shared_memory / gib:.1f} GiB" if node.shared_memory is not None else ""
    clock = f"{node.skew:+.2f} s" if node.skew is not None else ""
    name = f"{node.name} (head)" if node.head else node.name
    versions = node.versions
    return name, node.python, versions.get("torch") or "", versions.get("ray") or "", f"{gpus:g}", free, shared, clock
