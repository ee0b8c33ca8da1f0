"""A simulated schedule obeys what a real one must, and is the known one where it can be worked out by hand."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grid.costs import Costs
from grid.placement import GIB, Node, Request
from grid.problems import SpecError
from grid.schedule import Schedule, makespan, simulate
from grid.schedule_view import schedule_content, simulated_workers
from grid.workers import equal_workers, parse_workers
from tasks.stage import Stage
from tests.grid.specs import complaint, decoygrid, planned, write
from tests.grid.test_work_queue import graph
from tests.grid.toys import Toy


def run(stages: dict[str, Stage], seconds: dict[str, float], nodes: list[Node], **request: Any) -> Schedule:
    asked = Request(**{"cpus": 1.0, **request})
    return simulate(stages, seconds, dict.fromkeys(seconds, asked), nodes)


def by_name(plan: dict[str, Stage]) -> dict[int, str]:
    return {int(getattr(stage, "number", 0)): key for key, stage in plan.items()}


def test_a_chain_takes_its_sum_and_equal_stages_share_the_cpus() -> None:
    chain: Stage = Toy(number=0)
    for number in range(1, 5):
        chain = Toy(number=number, parents=(chain,))
    stages = chain.closure()
    found = run(stages, dict.fromkeys(stages, 3.0), [Node(4.0)])
    assert (found.makespan, found.critical_seconds, found.cpu_use) == (15.0, 15.0, 0.25)
    assert list(found.critical) == list(stages)
    apart = {toy.key: toy for toy in (Toy(number=n) for n in range(10))}
    found = run(dict(apart), dict.fromkeys(apart, 2.0), [Node(2.0), Node(2.0)])
    assert (found.makespan, found.work) == (6.0, 20.0)  # 4 + 4 + 2 at a time
    assert found.cpu_use == pytest.approx(20 / 24)
    assert found.gpu_use is None


def test_what_holds_up_most_starts_first() -> None:
    """One CPU: the head of the long chain goes before a longer stage that nothing waits for."""
    long: Stage = Toy(number=1)
    for number in (2, 3):
        long = Toy(number=number, parents=(long,))
    alone = Toy(number=9)
    stages = {**long.closure(), alone.key: alone}
    keys = by_name(stages)
    seconds = {keys[1]: 2.0, keys[2]: 2.0, keys[3]: 2.0, keys[9]: 5.0}
    found = run(stages, seconds, [Node(1.0), Node(1.0)])
    starts = {span.key: span.start for span in found.spans}
    assert starts[keys[1]] == starts[keys[9]] == 0.0
    assert found.makespan == 6.0
    found = run(stages, seconds, [Node(1.0)])
    assert [span.key for span in found.spans] == [keys[1], keys[9], keys[2], keys[3]]


def test_four_quarters_share_a_gpu_and_a_whole_one_waits_for_it() -> None:
    toys: dict[str, Stage] = {toy.key: toy for toy in (Toy(number=n) for n in range(6))}
    keys = by_name(toys)
    requests = {keys[n]: Request(1.0, 0.25) for n in range(5)} | {keys[5]: Request(1.0, 1.0)}
    found = simulate(toys, dict.fromkeys(toys, 10.0), requests, [Node(16.0, 1.0)])
    at_once = [span for span in found.spans if span.start == 0.0]
    assert len(at_once) in (1, 4), "four quarters, or the whole one"
    assert found.makespan == 30.0
    assert found.gpu_use == pytest.approx((5 * 0.25 + 1) * 10 / 30)


def test_halves_of_two_gpus_make_no_whole_one() -> None:
    """Fractions fill up a GPU before they touch the next, as Ray has them."""
    toys: dict[str, Stage] = {toy.key: toy for toy in (Toy(number=n) for n in range(3))}
    keys = by_name(toys)
    requests = {keys[0]: Request(1.0, 0.5), keys[1]: Request(1.0, 0.5), keys[2]: Request(1.0, 1.0)}
    assert simulate(toys, dict.fromkeys(toys, 7.0), requests, [Node(8.0, 2.0)]).makespan == 7.0
    requests = {keys[n]: Request(1.0, 0.6) for n in range(3)}
    assert simulate(toys, dict.fromkeys(toys, 7.0), requests, [Node(8.0, 2.0)]).makespan == 14.0


def test_memory_and_kind_of_gpu_are_kept() -> None:
    toys: dict[str, Stage] = {toy.key: toy for toy in (Toy(number=n) for n in range(4))}
    nodes = [Node(8.0, 4.0, 64.0 * GIB, "T4"), Node(8.0, 1.0, 64.0 * GIB, "A100")]
    found = run(toys, dict.fromkeys(toys, 1.0), nodes, gpus=1.0, accelerators=("A100",))
    assert {span.node for span in found.spans} == {1}
    assert found.makespan == 4.0
    found = run(toys, dict.fromkeys(toys, 1.0), nodes[:1], memory=30.0 * GIB)
    assert found.makespan == 2.0


@given(st.integers(1, 30), st.integers(1, 3), st.integers(1, 4), st.integers(0, 10**9))
@settings(max_examples=60, deadline=None)
def test_every_schedule_is_a_possible_one(count: int, nodes: int, cpus: int, seed: int) -> None:
    chance = random.Random(seed)
    stages = graph(count, chance)
    seconds = {key: float(chance.randrange(1, 9)) for key in stages if chance.random() < 0.8}
    requests = {key: Request(float(chance.randrange(1, cpus + 1))) for key in seconds}
    found = simulate(stages, seconds, requests, [Node(float(cpus))] * nodes)
    assert makespan(stages, seconds, requests, [Node(float(cpus))] * nodes) == found.makespan
    spans = {span.key: span for span in found.spans}
    assert spans.keys() == seconds.keys()
    for key, span in spans.items():
        assert span.end - span.start == pytest.approx(seconds[key])
        assert all(spans[up].end <= span.start + 1e-6 for up in stages[key].closure() if up != key and up in spans)
        together = [o for o in spans.values() if o.node == span.node and o.start <= span.start < o.end]
        assert sum(requests[other.key].cpus for other in together) <= cpus
    assert found.critical_seconds <= found.makespan + 1e-6 <= sum(seconds.values()) + 1e-6
    assert found == simulate(stages, seconds, requests, [Node(float(cpus))] * nodes)


def test_a_plan_on_a_cluster_says_makespan_cost_and_what_holds_it_up(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    workers = equal_workers(2, None, 2, 3.6)
    found = schedule_content(plan, plan.stages(), Costs(), {}, workers)
    assert found["stages"] == len(plan.stages())
    assert found["cost"] == pytest.approx(found["makespan_seconds"] / 3600 * 7.2)
    assert found["critical_path_seconds"] <= found["makespan_seconds"] <= found["work_seconds"]
    names = [stage["name"] for stage in found["critical_path"]]
    assert len(names) > 3
    assert set(names) <= set(plan.names.values())
    assert json.loads(json.dumps(found)) == found
    more = schedule_content(plan, plan.stages(), Costs(), {}, equal_workers(100, None, 2, None))
    assert more["makespan_seconds"] == pytest.approx(more["critical_path_seconds"]), "enough nodes: the chain decides"
    assert schedule_content(plan, [], Costs(), {}, workers)["makespan_seconds"] == 0.0


def test_the_command_prints_it_and_refuses_bad_values(tmp_path: Path) -> None:
    spec = write(tmp_path)
    done = decoygrid("plan", spec, "--nodes", "8", "--gpus", "8", "--price", "10", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for said in ("on 512 CPUs, 64 GPUs, 8 nodes: ", "cost: $", "at $80 an hour", "critical path, ", "numerics is cpu"):
        assert said in done.stdout
    done = decoygrid("plan", spec, "--workers", "cpus=2,nodes=2", "--json", cwd=tmp_path)
    found = json.loads(done.stdout)
    assert found["schedule"]["cluster"] == "4 CPUs, 2 nodes"
    assert len(found["schedule"]["spans"]) == found["missing"]
    told = complaint(decoygrid("plan", spec, "--nodes", "0", "--gpus", "-1", "--price", "nan", cwd=tmp_path))
    for said in ("--nodes: must be a whole number from 1", "--gpus: must be a", "--price: must be a number from 0"):
        assert said in told
    told = complaint(decoygrid("plan", spec, "--set", "numerics=cuda_fp32", "--nodes", "2", cwd=tmp_path))
    assert "the cluster has no GPU" in told


def problems_of(*texts: str) -> str:
    with pytest.raises(SpecError) as caught:
        parse_workers(texts)
    return str(caught.value)


def test_nodes_are_read_from_a_text() -> None:
    found = parse_workers(["nodes=2,cpus=16,gpus=1,accelerator=A10G,memory=64,price=1.5", "cpus=4, price=0.5"])
    assert found.nodes[0] == found.nodes[1] == Node(16.0, 1.0, 64.0 * GIB, "A10G", 24.0 * GIB)
    assert found.nodes[2].gpus == 0
    assert found.price == 3.5
    assert parse_workers(["gpus=2"]).nodes == (Node(16.0, 2.0),), "8 CPUs a GPU"
    assert parse_workers(["gpus=1,gpu_memory=20"]).nodes[0].gpu_memory == 20 * GIB
    assert parse_workers(["cpus=1", "cpus=1,price=1"]).price is None, "one without a price"


def test_what_is_no_node_is_said_all_at_once() -> None:
    told = problems_of("nodes=x,cpu=3", "gpus=1.5", "memory=3")
    assert "nodes must be a number, got 'x'" in told
    assert "unknown key 'cpu'; did you mean 'cpus'?" in told
    assert "gpus: must be a whole number from 0 to 16, got 1.5" in told
    assert "names neither cpus nor gpus; an example: nodes=8" in told
    assert "names neither" in problems_of("")


def test_options_that_contradict_each_other() -> None:
    with pytest.raises(SpecError, match="leave out --nodes"):
        simulated_workers(3, None, None, None, ["cpus=1"], anew=False)
    with pytest.raises(SpecError, match="name the nodes"):
        simulated_workers(None, None, None, None, [], anew=True)
    assert simulated_workers(None, None, None, None, [], anew=False) is None
