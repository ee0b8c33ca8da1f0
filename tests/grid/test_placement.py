"""Shares of nodes by what a stage was seen to need: several small ones on a GPU, big ones alone and where room is."""

from __future__ import annotations

from typing import Any

import pytest

from grid.costs import Costs, Peak
from grid.placement import CUDA_CONTEXT, GIB, SPARE, InfeasibleError, Node, Request, gpu_share, place
from grid.spec import ResourceRequest
from tasks.stage import ComputeStage
from tests.grid.toys import Toy


class OnGPU(ComputeStage):
    """A stage that would compute on a GPU."""

    kind = "on_gpu"
    group = "gan"


STAGE = OnGPU(numerics="cuda_fp32", threads=2)
SMALL = Node(8.0, 1.0, 32.0 * GIB, "T4", 16.0 * GIB)
LARGE = Node(64.0, 8.0, 512.0 * GIB, "A100", 80.0 * GIB)
BARE = Node(4.0, memory=8.0 * GIB)


def gpu(gib: float, host: float = 0.0) -> Peak:
    return Peak(int(host * GIB), int(gib * GIB))


def test_until_something_was_recorded_a_training_has_a_gpu_alone() -> None:
    assert place(STAGE, None, None, [SMALL]) == Request(2.0, 1.0)
    assert place(Toy(number=1), None, None, [SMALL]) == Request(1.0, 0.0), "it computes on the CPU"
    assert place(Toy(number=1), ResourceRequest(gpu=0.5), None, [SMALL]).gpus == 0.5, "unless the spec says so"


@pytest.mark.parametrize(("gib", "share"), [(0.1, 0.05), (1.0, 0.15), (4.0, 0.35), (7.0, 1.0), (15.9, 1.0)])
def test_the_share_is_that_of_the_memory_and_above_half_of_it_all(gib: float, share: float) -> None:
    asked = place(STAGE, None, gpu(gib), [SMALL])
    assert asked.gpus == pytest.approx(share)
    if asked.gpus < 1:
        together = int(1 / asked.gpus + 1e-6)
        assert together * (gib * GIB * SPARE + CUDA_CONTEXT) <= 16 * GIB, "as many as Ray puts there have room"


def test_shares_are_rounded_up_in_few_steps() -> None:
    shares = {gpu_share(need * GIB / 10, 16 * GIB) for need in range(1, 160)}
    assert len(shares) == 11
    assert all(gpu_share(need * GIB / 10, 16 * GIB) >= need / 160 for need in range(1, 80))


def test_what_needs_a_large_gpu_goes_to_the_nodes_that_have_one() -> None:
    asked = place(STAGE, None, gpu(30), [SMALL, LARGE])
    assert asked == Request(2.0, 0.5, 0.0, ("A100",))
    assert asked.fits(LARGE)
    assert not asked.fits(SMALL)
    assert place(STAGE, None, gpu(60), [SMALL, LARGE]).gpus == 1.0
    assert place(STAGE, None, gpu(4), [SMALL, LARGE]) == Request(2.0, 0.35), "any will do, by the smaller one"
    wanted = ResourceRequest(gpu=2)
    assert place(STAGE, wanted, gpu(30), [SMALL, LARGE]).accelerators == ("A100",), "the spec says only how many"


def test_what_no_gpu_can_hold_is_an_error_at_once() -> None:
    with pytest.raises(InfeasibleError, match=r"took 90 GiB of a GPU .* the largest has 80 GiB"):
        place(STAGE, None, gpu(90), [SMALL, LARGE])
    with pytest.raises(InfeasibleError, match="the cluster has no GPU"):
        place(STAGE, None, None, [BARE])
    with pytest.raises(InfeasibleError, match="its resources ask for gpu: 0"):
        place(STAGE, ResourceRequest(gpu=0), None, [SMALL])
    with pytest.raises(InfeasibleError, match="asks for 9 CPUs and 0 GPUs, which no node has: 4 CPUs, 1 node"):
        place(Toy(number=1), ResourceRequest(cpu=9), None, [BARE])


def test_gpus_of_unknown_memory_are_not_shared_by_guess() -> None:
    unknown = Node(8.0, 4.0)
    assert place(STAGE, None, gpu(1), [unknown]) == Request(2.0, 1.0)
    assert place(STAGE, None, gpu(1), [unknown, SMALL]).gpus == 1.0


def test_nodes_to_come_are_nodes() -> None:
    """A head without CPUs or GPUs, and an autoscaler that will start what is asked for."""
    head = Node(0.0)
    assert place(STAGE, None, gpu(30), [head, LARGE]).gpus == 0.5


def test_host_memory_is_asked_for_as_recorded_or_as_the_spec_says() -> None:
    assert place(STAGE, None, gpu(1, host=0.5), [SMALL]).memory == 0, "too little to count"
    assert place(STAGE, None, gpu(1, host=4.1), [SMALL]).memory == 5.25 * GIB
    assert place(STAGE, None, gpu(1, host=900), [SMALL]).memory == 32 * GIB, "it ran somewhere, so it may try"
    assert place(STAGE, ResourceRequest(memory=3), gpu(1, host=4), [SMALL]).memory == 3 * GIB
    with pytest.raises(InfeasibleError, match="100 GiB of memory, which no node has"):
        place(STAGE, ResourceRequest(memory=100), None, [SMALL])


def test_peaks_are_the_largest_of_likenesses_then_of_kinds() -> None:
    def record(number: int, **peaks: Any) -> dict[str, Any]:
        config = {"number": number, "parents": []}
        return {"kind": "toy", "config": config, "seconds": 1.0, **peaks}

    costs = Costs([record(1, peak_memory_bytes=5), record(1, peak_memory_bytes=3, peak_gpu_memory_bytes=7)])
    assert costs.peak(Toy(number=1)) == Peak(5, 7)
    assert costs.peak(Toy(number=2)) == Peak(5, 7), "of its kind"
    assert costs.peak(STAGE) is None
    costs.learn(record(2, peak_memory_bytes=1, peak_gpu_memory_bytes=None))
    assert costs.peak(Toy(number=2)) == Peak(1, 0)


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_ray_runs_it_on_the_kind_of_gpu_that_was_asked_for(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faked GPUs, real labels: two nodes with a small GPU or a large one."""
    import ray
    from ray.cluster_utils import Cluster

    from grid import ray_executor

    small, large = ({ray_executor.ACCELERATOR: kind} for kind in ("T4", "A100"))
    head = {"num_cpus": 1, "num_gpus": 1, "labels": small, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    node = cluster.add_node(num_cpus=1, num_gpus=1, labels=large)
    ray.init(address=cluster.address, logging_level="error", log_to_driver=False)
    try:
        costs = Costs()
        config = STAGE.config
        costs.learn({"kind": "on_gpu", "config": config, "seconds": 1.0, "peak_gpu_memory_bytes": 30 * GIB})
        executor = ray_executor.RayExecutor(str(tmp_path), {}, costs=costs)
        options = executor.request(STAGE.model_copy(update={"threads": 1}))
        assert options == {"num_cpus": 1.0, "num_gpus": 1.0, "label_selector": {ray_executor.ACCELERATOR: "in(A100)"}}
        where = ray.remote(lambda: ray.get_runtime_context().get_node_id())
        assert set(ray.get([where.options(**options).remote() for _ in range(3)])) == {node.node_id}
        executor.close()
    finally:
        ray.shutdown()
        cluster.shutdown()
