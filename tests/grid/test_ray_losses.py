"""Real Ray: stages that kill or block their workers, nodes that go, a store that blinks, a head that is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from grid.costs import Costs
from grid.limits import RETRIES
from grid.ray_executor import RayExecutor
from grid.reconcile import Reconciler, Result
from grid.store import Store
from tasks.stage import Stage
from tests.grid.specs import write
from tests.grid.test_losses import block, unblock
from tests.grid.test_ray_grids import LIMIT, command, environment, wait_for
from tests.grid.toys import Notes, Toy, ToyPlan
from tests.grid.troubles import Trouble

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head of 2 CPUs, where the driver is; tests add nodes."""
    import ray
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    ray.init(address=found.address, logging_level="error", log_to_driver=False)
    yield found
    ray.shutdown()
    found.shutdown()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


@pytest.fixture
def count(tmp_path: Path) -> str:
    (tmp_path / "attempts").mkdir()
    return str(tmp_path / "attempts")


def run(roots: list[Stage], store: Store, notes: Notes | None = None, **timeouts: float) -> tuple[Result, Notes]:
    plan: Any = ToyPlan(roots)
    observer = notes or Notes()
    executor = RayExecutor(store.location, {})
    try:
        return Reconciler(plan, store, executor, observer, Costs(), timeouts).run(plan.stages(), {}), observer
    finally:
        executor.close()


@pytest.mark.usefixtures("cluster")
def test_a_poisoned_stage_is_named_and_the_rest_goes_on(store: Store, count: str) -> None:
    poison = Trouble(number=1, folder=count, does="kills")
    below = Trouble(number=2, folder=count, parents=(poison,))
    once = Trouble(number=3, folder=count, does="kills", times=1)
    hangs = Trouble(number=4, folder=count, does="hangs", times=1)
    rest = [Toy(number=number) for number in range(10, 14)]
    last = Toy(number=20, parents=(once, hangs, *rest))
    result, notes = run([below, last], store, trouble=6.0)
    assert set(result.failed) == {poison.key}
    assert result.blocked == {below.key: poison.key}
    assert store.load(last.key).metrics == {"sum": 20.0 + 3 + 4 + sum(range(10, 14))}
    assert poison.attempts(count) == RETRIES["worker"] + 1
    assert once.attempts(count) == hangs.attempts(count) == 2
    assert result.failed[poison.key].startswith("its worker died (process ")
    assert result.failed[poison.key].endswith(f", {RETRIES['worker'] + 1} times")
    failure = store.failure(poison.key)
    assert failure is not None
    assert "the last words of 1" in failure["log"], "what its worker wrote before it died"
    assert any("ran longer than its 6 s" in text for text in notes.texts)
    assert store.running(poison.key) is None


def test_a_lost_node_is_no_fault_of_its_stages(cluster: Any, store: Store, count: str) -> None:
    """Its stages run elsewhere; whatever they ran on, the sums are the same."""
    node = cluster.add_node(num_cpus=2)
    slow = [Trouble(number=number, folder=count, does="sleeps", seconds=2.0) for number in range(1, 9)]
    last = Toy(number=100, parents=tuple(slow))

    def busy() -> bool:
        beats = [beat for stage in slow for beat in store.beats(stage.key)]
        return any(beat["node"] == node.node_id for beat in beats)

    def remove() -> None:
        deadline = time.monotonic() + LIMIT
        while not busy() and time.monotonic() < deadline:
            time.sleep(0.05)
        cluster.remove_node(node, allow_graceful=False)

    thread = threading.Thread(target=remove)
    thread.start()
    result, notes = run([last], store)
    thread.join()
    assert result.complete, result.failed
    assert store.load(last.key).metrics == {"sum": 100.0 + sum(range(1, 9))}
    lost = [text for text in notes.texts if "its node was lost" in text]
    assert lost, notes.texts


@pytest.mark.usefixtures("cluster")
def test_a_store_that_blinks_fails_no_stage(store: Store) -> None:
    stages = [Toy(number=number) for number in range(1, 5)]
    last = Toy(number=10, parents=tuple(stages))
    store.check_writable()

    class Blocking(Notes):
        def submitted(self, key: str, name: str) -> None:
            super().submitted(key, name)
            if len(self.order) == 1:
                threading.Timer(3.0, unblock, (store, block(store))).start()

    result, _ = run([last], store, Blocking())
    assert result.complete, result.failed
    assert store.load(last.key).metrics == {"sum": 20.0}


def test_a_head_that_is_gone_ends_the_grid_with_one_sentence(tmp_path: Path) -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    address = cluster.address
    try:
        spec, root = (
            Path(write(tmp_path, attacks=[{"name": "gmi", "gan": {"name": "wgan", "steps": 20000}}])),
            tmp_path / "store",
        )
        process = subprocess.Popen(
            command(spec, root, "--address", address),
            env={**environment(), "DECOYGRID_HEAD_PATIENCE": "3"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        wait_for(lambda: list(root.glob("*/running/*.json")), process)
        cluster.head_node.kill_gcs_server()
        said = process.communicate(timeout=LIMIT)[0].decode()
        assert process.returncode == 1, said
        assert f"the head of the Ray cluster ({address}) has not answered" in said
        assert "the same command goes on from here" in said
        assert "FAILED" not in said
        assert "Traceback" not in said
    finally:
        cluster.shutdown()


def test_a_frozen_worker_is_given_up(cluster: Any, store: Store, count: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped by SIGSTOP it can neither be interrupted nor end itself; the driver ends it."""
    from grid import ray_executor

    monkeypatch.setattr(ray_executor, "GRACE", 1.0)
    monkeypatch.setattr(ray_executor, "LOOK_SECONDS", 0.5)
    stage = Trouble(number=1, folder=count, does="sleeps", times=1, seconds=600.0)

    def freeze() -> None:
        while not (beats := store.beats(stage.key)):
            time.sleep(0.05)
        os.kill(beats[0]["pid"], signal.SIGSTOP)

    thread = threading.Thread(target=freeze)
    thread.start()
    result, notes = run([stage], store, trouble=5.0)
    thread.join()
    assert result.complete, result.failed
    assert any("could not be stopped" in text for text in notes.texts)
