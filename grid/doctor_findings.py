"""From what was seen on each machine to findings: what is wrong, how badly, and what to do. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from grid.doctor_node import NodeFacts

Severity = Literal["error", "warning", "note"]
GIB = 2**30
FEW_BYTES, TOO_FEW_BYTES = 10 * GIB, 2 * GIB
SMALL_SHARED_MEMORY = GIB
SKEW, TOO_MUCH_SKEW = 2.0, 20.0  # heartbeats of stages are believed for 40 seconds
INSTALL = "install there what constraints.txt says: pip install -c constraints.txt -e '.[cluster]'"


class Finding(NamedTuple):
    """One thing that is not as it should be."""

    severity: Severity
    node: str
    what: str
    remedy: str


def findings(nodes: Sequence[NodeFacts], reference: NodeFacts) -> list[Finding]:
    """All findings, the worst first. reference: the machine whose versions count, that of the driver or of you."""
    found: list[Finding] = []
    for node in nodes:
        if node.silent is not None:
            remedy = "look at `ray status` and at the node's /tmp/ray/session_latest/logs; end the node if it hangs"
            found.append(Finding("error", node.name, f"does not answer: {node.silent}", remedy))
            continue
        for check in (_versions, _gpus, _store, _clock, _disk, _shared_memory):
            found += check(node, reference)
    order = ("error", "warning", "note")
    return sorted(dict.fromkeys(found), key=lambda finding: order.index(finding.severity))


def _versions(node: NodeFacts, reference: NodeFacts) -> Iterator[Finding]:
    if _minor(node.python) != _minor(reference.python):
        what = f"Python {node.python}, but {reference.python} on {reference.name}"
        yield Finding("error", node.name, what, "Ray needs the same minor version of Python everywhere")
    for name, version in node.versions.items():
        wanted = reference.versions.get(name)
        if version is None:
            if wanted is not None or node is reference:
                yield Finding("error", node.name, f"{name} is not installed", INSTALL)
        elif wanted is not None and version != wanted:
            severity: Severity = "error" if name == "ray" else "warning"
            why = "" if name == "ray" else "; numbers may differ from node to node, and keys do not say so"
            what = f"{name} {version}, but {wanted} on {reference.name}{why}"
            yield Finding(severity, node.name, what, INSTALL)


def _gpus(node: NodeFacts, reference: NodeFacts) -> Iterator[Finding]:
    if node.torch_gpus is not None and (node.gpu_error or node.torch_gpus < node.driver_gpus):
        said = f" ({node.gpu_error})" if node.gpu_error else ""
        what = f"the driver has {node.driver_gpus} GPUs, torch can use {node.torch_gpus}{said}"
        remedy = (
            "install NVIDIA's driver for the CUDA of this torch, or a torch for this driver; in a container: --gpus"
        )
        yield Finding("error", node.name, what, remedy)
    if node.ray_gpus is None:
        return
    usable = node.torch_gpus or 0
    if node.ray_gpus > usable and not node.gpu_error:
        what = f"Ray counts {node.ray_gpus:g} GPUs, torch can use {usable}"
        yield Finding("error", node.name, what, "correct --num-gpus of `ray start`, or `resources` of the node's type")
    elif node.ray_gpus < usable:
        what = f"torch can use {usable} GPUs, Ray counts {node.ray_gpus:g}: the rest is idle"
        yield Finding(
            "warning", node.name, what, "correct --num-gpus of `ray start`, or `resources` of the node's type"
        )


def _store(node: NodeFacts, reference: NodeFacts) -> Iterator[Finding]:
    if node.store_error is not None:
        remedy = (
            "a URI (s3://, gs://) that the node has credentials for, or a folder mounted at the same path everywhere"
        )
        yield Finding("error", node.name, f"store: {node.store_error}", remedy)


def _clock(node: NodeFacts, reference: NodeFacts) -> Iterator[Finding]:
    if node.skew is None:
        return
    surely = abs(node.skew) - node.skew_error
    if surely > SKEW:
        severity: Severity = "error" if surely > TOO_MUCH_SKEW else "warning"
        what = f"its clock is {abs(node.skew):.1f} s {'ahead of' if node.skew > 0 else 'behind'} that of the driver"
        yield Finding(severity, node.name, what, "keep clocks by NTP (chrony); S3 refuses requests that are far off")


def _disk(node: NodeFacts, reference: NodeFacts) -> Iterator[Finding]:
    for place, free in node.disk.items():
        if free < FEW_BYTES:
            severity: Severity = "error" if free < TOO_FEW_BYTES else "warning"
            remedy = "free some, or start Ray with a larger --temp-dir and set TMPDIR"
            yield Finding(severity, node.name, f"{free / GIB:.1f} GiB free in {place}", remedy)


def _shared_memory(node: NodeFacts, reference: NodeFacts) -> Iterator[Finding]:
    size = node.shared_memory
    if size is None:
        return
    remedy = "give containers more: docker run --shm-size, a Memory emptyDir at /dev/shm in Kubernetes"
    if size < SMALL_SHARED_MEMORY:
        yield Finding(
            "warning", node.name, f"shared memory of {size / GIB:.2f} GiB (/dev/shm): Ray then works on disk", remedy
        )
    elif node.object_store is not None and node.object_store > size:
        what = f"Ray's object store has {node.object_store / GIB:.1f} GiB, /dev/shm only {size / GIB:.1f}"
        yield Finding("warning", node.name, what, remedy)


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]
