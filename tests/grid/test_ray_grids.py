"""Real Ray on this machine: equal to in-process to the last byte, whatever is killed; GPUs are shared out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from grid.expand import expand
from grid.plan import Plan
from grid.spec_parser import load_spec
from grid.store import Store

pytestmark = pytest.mark.ray

SPEC = """
name: kills
dataset: {name: synthetic, size: 32, people: 8, per_person: 8}
victim: {arch: vgg16_bn, width: 0.0625, epochs: 2}
evaluator: {arch: ir_small, width: 0.25, epochs: 2}
second_evaluator: {arch: densenet_small, width: 0.5, epochs: 2}
public_classifier: {arch: ir_small, width: 0.25, epochs: 2}
labels: [0, 1]
attacks: [{name: gmi, gan: {name: wgan, steps: 250}}]
defenses: [none, {name: gan_id, replay: 1, gan: {name: wgan, steps: 250}}]
budget: smoke
"""
LIMIT = 240


def command(spec: Path, store: Path, *more: str) -> list[str]:
    out = ["--out", str(store.parent / "out"), "--tracking", "none"]
    return [sys.executable, "-m", "grid", "run", str(spec), "--store", str(store), *out, *more]


def environment() -> dict[str, str]:
    return {**os.environ, "DECOYGRID_CHECKPOINT_SECONDS": "0.2"}


def products(store: Path) -> dict[str, Any]:
    """Key -> metrics and the digest of every file."""
    found = {}
    for path in store.glob("*/done.json"):
        record = json.loads(path.read_text())
        found[record["key"]] = (record["metrics"], {name: f["sha256"] for name, f in record["files"].items()})
    return found


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spec") / "kills.yaml"
    path.write_text(SPEC)
    return path


@pytest.fixture(scope="module")
def reference(spec: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What an undisturbed in-process run leaves."""
    store = tmp_path_factory.mktemp("reference") / "store"
    subprocess.run(command(spec, store, "--in-process"), check=True, env=environment(), timeout=LIMIT)
    found = products(store)
    assert len(found) == len(expand(load_spec(str(spec))).stages())
    return found


def wait_for(condition: Any, process: subprocess.Popen[bytes]) -> Any:
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        if found := condition():
            return found
        assert process.poll() is None, "the grid ended before it could be disturbed"
        time.sleep(0.05)
    raise AssertionError("nothing to disturb turned up")


def test_a_killed_worker_costs_nothing(spec: Path, reference: dict[str, Any], tmp_path: Path) -> None:
    root = tmp_path / "store"
    gans = [key for key in reference if key.startswith("wgan-")]
    process = subprocess.Popen(command(spec, root), env=environment())

    def checkpointed() -> dict[str, Any] | None:
        store = Store(str(root))
        alive = [(key, store.running(key)) for key in gans if list(root.glob(f"{key}/checkpoints/*.json"))]
        return next((beat for _, beat in alive if beat), None)

    beat = wait_for(checkpointed, process)
    os.kill(beat["pid"], signal.SIGKILL)
    assert process.wait(LIMIT) == 0
    assert products(root) == reference
    resumed = [json.loads((root / key / "done.json").read_text())["resumed_from_step"] for key in gans]
    assert any(step for step in resumed), "the killed training did not take up its checkpoint"


def test_a_killed_driver_is_taken_up_by_the_same_command(spec: Path, reference: dict[str, Any], tmp_path: Path) -> None:
    root = tmp_path / "store"
    process = subprocess.Popen(command(spec, root), env=environment())
    wait_for(lambda: len(list(root.glob("*/done.json"))) > len(reference) // 2, process)
    process.kill()
    process.wait(LIMIT)
    before = {path.parent.name for path in root.glob("*/done.json")}
    done = subprocess.run(command(spec, root, "--json"), env=environment(), timeout=LIMIT, stdout=subprocess.PIPE)
    assert done.returncode == 0
    answer = json.loads(done.stdout)
    assert answer["stages"]["reused"] >= len(before)
    assert not before & set(answer["stages"]["computed"]), "what was done is not computed again"
    assert products(root) == reference


def test_a_dead_cluster_ends_the_grid_with_one_sentence(spec: Path, tmp_path: Path) -> None:
    root = tmp_path / "store"
    process = subprocess.Popen(command(spec, root), env=environment(), stdout=subprocess.PIPE)
    wait_for(lambda: list(root.glob("*/running/*.json")), process)
    raylets = [pid for pid in descendants(process.pid) if "raylet" in Path(f"/proc/{pid}/comm").read_text()]
    assert raylets
    os.kill(raylets[0], signal.SIGKILL)
    said = process.communicate(timeout=LIMIT)[0].decode()
    assert process.returncode == 1, said
    assert "the Ray cluster is gone" in said
    assert "the same command goes on from here" in said
    assert "FAILED" not in said


def descendants(pid: int) -> list[int]:
    """Process ids below `pid`."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [below for child in map(int, children) for below in (child, *descendants(child))]


@pytest.fixture
def fake_gpus() -> Iterator[None]:
    import ray

    ray.init(num_cpus=4, num_gpus=2, include_dashboard=False, logging_level="error", log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.usefixtures("fake_gpus")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_gans_and_labels_spread_over_gpus(spec: Path, tmp_path: Path) -> None:
    from grid.costs import Costs
    from grid.ray_executor import RayExecutor
    from grid.reconcile import Reconciler
    from grid.spec import ResourceRequest

    plan = expand(load_spec(str(spec)))
    store = Store(str(tmp_path / "store"))
    alone: Any = {group: ResourceRequest(gpu=1) for group in ("gan", "inversion", "finetune", "attack")}
    executor = RayExecutor(store.location, plan.sources, resources=alone)  # on the CPU they would ask for none
    result = Reconciler(plan, store, executor, Silent(), Costs()).run(plan.stages(), {})
    assert result.complete
    records = store.records(plan.stages())
    gans = [record for record in records.values() if record["group"] == "gan"]
    assert overlap_on_distinct_gpus(gans)
    inversions = [record for record in records.values() if record["group"] in ("inversion", "attack")]
    assert overlap_on_distinct_gpus(inversions)


def overlap_on_distinct_gpus(records: list[dict[str, Any]]) -> bool:
    """Whether two of them ran at the same time on different devices, going by what they recorded."""
    return any(
        a["started"] < b["ended"]
        and b["started"] < a["ended"]
        and {a["cuda_visible_devices"], b["cuda_visible_devices"]} == {"0", "1"}
        for a in records
        for b in records
    )


@pytest.mark.usefixtures("fake_gpus")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_what_no_node_can_give_is_refused_at_once(spec: Path, tmp_path: Path) -> None:
    from grid.placement import InfeasibleError
    from grid.ray_executor import RayExecutor
    from grid.spec import ResourceRequest

    plan: Plan = expand(load_spec(str(spec)))
    gan = next(stage for stage in plan.stages().values() if stage.group == "gan")
    executor = RayExecutor(str(tmp_path), {}, resources={"gan": ResourceRequest(gpu=3)})
    with pytest.raises(InfeasibleError, match="3 GPUs, which no node has"):
        executor.request(gan)


class Silent:
    """An observer that shows nothing."""

    def begin(self, *_: object) -> None: ...

    def submitted(self, *_: object) -> None: ...

    def ended(self, *_: object) -> None: ...

    def said(self, *_: object) -> None: ...
