"""Nodes that a person names: those that an autoscaler will start, or those that a schedule is simulated on."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import NamedTuple

from grid.placement import GIB, Node, gpu_memory_of
from grid.problems import Problem, SpecError, choices

CPUS_A_GPU = 8  # of a node whose CPUs are not named
MOST_NODES, MOST_CPUS, MOST_GPUS = 1000, 1024, 16
_KEYS = {  # key -> (least, most, whole number)
    "nodes": (1, MOST_NODES, True),
    "cpus": (0.1, MOST_CPUS, False),
    "gpus": (0, MOST_GPUS, True),
    "memory": (0.1, 65536, False),
    "gpu_memory": (0.1, 1024, False),
    "price": (0, 10000, False),
}
EXAMPLE = "nodes=8,cpus=16,gpus=1,accelerator=A10G,memory=64"


class Workers(NamedTuple):
    """Nodes, and what all of them cost an hour; None if no price was named."""

    nodes: tuple[Node, ...]
    price: float | None = None


def parse_workers(texts: Sequence[str], place: str = "--workers") -> Workers:
    """Nodes from texts such as `nodes=8,cpus=16,gpus=1,accelerator=A10G`; SpecError with all problems.

    memory and gpu_memory are in GiB, price in $ an hour for a node. Only `cpus` or `gpus` has to be there.
    """
    problems: list[Problem] = []
    found = [_parse(text, place, problems) for text in texts]
    if problems:
        raise SpecError(problems)
    prices = [one.price for one in found if one.price is not None]
    nodes = tuple(node for one in found for node in one.nodes)
    return Workers(nodes, sum(prices) if prices and len(prices) == len(found) else None)


def equal_workers(nodes: int | None, gpus: int | None, cpus: float | None, price: float | None) -> Workers:
    """So many nodes of one kind, from the options of `plan`; SpecError with all problems."""
    problems: list[Problem] = []
    for name, value in (("nodes", nodes), ("gpus", gpus), ("cpus", cpus), ("price", price)):
        if value is not None:
            _check(name, float(value), f"--{name}", problems)
    if problems:
        raise SpecError(problems)
    one = Node(_cpus(cpus, gpus or 0), float(gpus or 0))
    count = nodes if nodes is not None else 1
    return Workers((one,) * count, price * count if price is not None else None)


def _parse(text: str, place: str, problems: list[Problem]) -> Workers:
    values: dict[str, float] = {}
    accelerator = ""
    before = len(problems)
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (item.strip() for item in part.partition("="))
        if not equals or name not in {*_KEYS, "accelerator"}:
            problems.append(Problem(f"{place} {text!r}", choices(name, {*_KEYS, "accelerator"}, what="key")))
        elif name == "accelerator":
            accelerator = value
        else:
            try:
                values[name] = float(value)
            except ValueError:
                problems.append(Problem(f"{place} {text!r}", f"{name} must be a number, got {value!r}"))
            else:
                _check(name, values[name], f"{place} {text!r}: {name}", problems)
    if len(problems) == before and not {"cpus", "gpus"} & values.keys():
        problems.append(Problem(f"{place} {text!r}", f"names neither cpus nor gpus; an example: {EXAMPLE}"))
    if len(problems) > before:
        return Workers(())
    gpu_memory = values["gpu_memory"] * GIB if "gpu_memory" in values else gpu_memory_of(accelerator)
    gpus = values.get("gpus", 0.0)
    memory = values["memory"] * GIB if "memory" in values else math.inf
    node = Node(_cpus(values.get("cpus"), gpus), gpus, memory, accelerator, gpu_memory)
    count = int(values.get("nodes", 1))
    return Workers((node,) * count, values["price"] * count if "price" in values else None)


def _check(name: str, value: float, place: str, problems: list[Problem]) -> None:
    least, most, whole = _KEYS[name]
    if not least <= value <= most or (whole and value != int(value)):
        kind = "a whole number" if whole else "a number"
        problems.append(Problem(place, f"must be {kind} from {least:g} to {most:g}, got {value:g}"))


def _cpus(cpus: float | None, gpus: float) -> float:
    if cpus is not None:
        return float(cpus)
    return float(CPUS_A_GPU * gpus if gpus else os.cpu_count() or 1)
