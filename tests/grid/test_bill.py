"""What a plan costs: hours by kind, what is shared, stated costs, and GPUs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from grid.bill import bill, stated_costs
from grid.cli import app
from grid.costs import Costs
from grid.plan import Plan
from grid.problems import SpecError
from tests.grid.specs import planned


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return planned(tmp_path_factory.mktemp("bill"))


def test_what_is_asked_for_is_counted_by_closures(plan: Plan) -> None:
    cells = [cell for row in plan.rows for cell in row.cells]
    needed = [{**cell.evaluate.closure(), **cell.accuracy.closure()} for cell in cells]
    kinds = {stage.kind for stage in plan.stages().values()}
    assert plan.asked_for() == {
        kind: sum(stage.kind == kind for stages in needed for stage in stages.values()) for kind in kinds
    }
    assert plan.without_sharing() == sum(map(len, needed))


def test_hours_by_kind_and_gpus(plan: Plan) -> None:
    """A victim of an hour: what is missing of it is an hour, whoever shares it; more GPUs are never slower."""
    costs = Costs()
    costs.state({stage.kind: 36.0 for stage in plan.stages().values()} | {"classifier": 3600.0})
    stages = plan.stages()
    done = next(key for key, stage in stages.items() if stage.kind == "classifier")
    found = bill(plan, [key for key in stages if key != done], costs, {})
    line = found["kinds"]["classifier"]
    assert line["missing"] == line["stages"] - 1
    assert line["asked"] > line["stages"]
    known = sum(costs.recorded(stage) is not None for stage in stages.values() if stage.kind == "classifier")
    assert known or line["hours"] == pytest.approx(line["missing"])
    assert sum(one["rough"] for one in found["kinds"].values()) == 0
    work = 3600 * sum(one["hours"] for one in found["kinds"].values())
    assert 0 < found["gpus"]["8"] <= found["gpus"]["1"] <= work + 1e-6


def test_stated_costs() -> None:
    kinds = {"classifier", "wgan", "fakes"}
    assert stated_costs(["classifier=2h", "wgan=1.5m", "fakes=30"], kinds) == {
        "classifier": 7200.0,
        "wgan": 90.0,
        "fakes": 30.0,
    }
    with pytest.raises(SpecError) as caught:
        stated_costs(["clasifier=2h", "wgan", "fakes=-1"], kinds)
    messages = [f"{problem.place}: {problem.message}" for problem in caught.value.problems]
    assert len(messages) == 3
    assert "did you mean 'classifier'" in messages[0]
    assert "expected KIND=TIME" in messages[1]


def test_plan_prints_it(tmp_path: Path) -> None:
    arguments = ["plan", "orl_demo", "--set", "labels=[0]", "--set", "numerics=cpu_fp32", "--store", str(tmp_path)]
    done = CliRunner().invoke(app, [*arguments, "--cost", "gmi=1h"])
    assert done.exit_code == 0, done.output
    for text in (
        "asked for",
        "shared by",
        "stage-hours are missing",
        "on 1 GPU, ",
        "on 8 GPUs; these are times of a CPU",
    ):
        assert text in done.output
    content = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).output)
    assert content["bill"]["kinds"]["orl_split"]["asked"] > content["bill"]["kinds"]["orl_split"]["stages"]
    wrong = CliRunner().invoke(app, [*arguments, "--cost", "gmi"])
    assert isinstance(wrong.exception, SpecError)
