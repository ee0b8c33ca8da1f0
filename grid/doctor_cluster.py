"""The nodes of a Ray cluster, each looked at by a task that runs on it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from grid.doctor_node import NodeFacts, examine
from grid.store import Store
from grid.store_files import StoreError

ANSWER_SECONDS = 180.0  # a node's first task starts a process, and torch may be loaded


def examine_nodes(store_uri: str | None) -> list[NodeFacts]:
    """Every node that is alive, the head first. Ray is connected to already."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    marker = _write_marker(store_uri)
    nodes = [node for node in ray.nodes() if node["Alive"]]
    look, clock = ray.remote(_examine), ray.remote(_clock)
    there = {node["NodeID"]: NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes}
    asked = {
        node["NodeID"]: look.options(num_cpus=0, max_retries=0, scheduling_strategy=there[node["NodeID"]]).remote(
            store_uri, marker, node["Resources"].get("GPU", 0.0)
        )
        for node in nodes
    }
    try:
        until = time.monotonic() + ANSWER_SECONDS
        found = []
        for node in nodes:
            try:
                facts: NodeFacts = ray.get(asked[node["NodeID"]], timeout=max(1.0, until - time.monotonic()))
            except (ray.exceptions.RayError, TimeoutError) as error:
                found.append(silent(str(node["NodeManagerHostname"]), error))
                continue
            # Its process is up now, so that little time passes between question and answer.
            with suppress(ray.exceptions.RayError, TimeoutError):
                before = time.time()
                options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": there[node["NodeID"]]}
                said = ray.get(clock.options(**options).remote(), timeout=30)
                after = time.time()
                facts = replace(facts, skew=said - (before + after) / 2, skew_error=(after - before) / 2)
            found.append(_completed(facts, node["Resources"]))
    finally:
        _remove_marker(store_uri, marker)
    return sorted(found, key=lambda facts: not facts.head)


def silent(name: str, error: Exception) -> NodeFacts:
    """A node that could not be looked at."""
    why = (str(error).splitlines() or [""])[0] or type(error).__name__
    return NodeFacts(name, "", {}, 0, None, None, None, {}, None, silent=why)


def _examine(store_uri: str | None, marker: str | None, gpus: float) -> NodeFacts:
    return examine(store_uri, marker, gpus=gpus)


def _clock() -> float:
    return time.time()


def _completed(facts: NodeFacts, resources: Mapping[str, Any]) -> NodeFacts:
    head = "node:__internal_head__" in resources
    return replace(
        facts, ray_gpus=resources.get("GPU", 0.0), object_store=resources.get("object_store_memory"), head=head
    )


def _write_marker(store_uri: str | None) -> str | None:
    """A document that every node must see; None if none could be written (which the nodes then say)."""
    if store_uri is None:
        return None
    marker = f"doctor-{uuid.uuid4().hex[:8]}.json"
    try:
        Store(store_uri).write_document(marker, {"written": time.time()})
    except (StoreError, OSError):
        return None
    return marker


def _remove_marker(store_uri: str | None, marker: str | None) -> None:
    if store_uri is not None and marker is not None:
        with suppress(StoreError, OSError):
            Store(store_uri).delete_document(marker)
