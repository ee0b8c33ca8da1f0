"""Every shipped spec: no path, however long, from the judges or a test image into anything but evaluation.

Written apart from `grid.plan.leaks` and `Stage.upstream`: it follows the fields of every stage and knows test
images by whose they are, not by what a split calls itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from pydantic import BaseModel

from grid.expand import expand
from grid.plan import Plan
from grid.spec_parser import load_spec
from grid.spec_source import SPECS
from tasks.data.split import Split
from tasks.finetune.finetune import Finetune, Pair
from tasks.inversion.fakes import Fakes
from tasks.models.classifier import Classifier
from tasks.stage import Stage
from tests.grid.archive_specs import on_trees, write_trees
from tests.grid.specs import planned

EVALUATION = {"evaluate", "accuracy", "distance", "gan_quality"}  # what may see all that is forbidden to others
Sources = frozenset[str]


def stages_in(value: Any) -> Iterator[Stage]:
    """The nearest stages inside a value, whatever holds them."""
    if isinstance(value, Stage):
        yield value
    elif isinstance(value, BaseModel):
        for item in vars(value).values():
            yield from stages_in(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from stages_in(item)
    elif isinstance(value, dict):
        for pair in value.items():
            yield from stages_in(pair)


class Walk:
    """What is forbidden and flows into each stage of a plan."""

    def __init__(self, plan: Plan) -> None:
        splits = [stage for stage in plan.stages().values() if isinstance(stage, Split)]
        self.private = {person for split in splits if split.audience == "private" for person in split.people}
        self.known: dict[str, Sources] = {}

    def forbidden(self, stage: Stage) -> bool:
        """Whether it is test images of private people, an evaluator, the judge of GANs, or a measurement."""
        if isinstance(stage, Split):
            return stage.part in ("test", "all") and bool(self.private & set(stage.people))
        role = getattr(stage, "role", "")
        return stage.kind in EVALUATION or role in ("evaluator", "second_evaluator", "judge")

    def sources(self, stage: Stage) -> Sources:
        """The forbidden stages that a stage takes, directly or through others; itself not counted."""
        if stage.key not in self.known:
            found: set[str] = set()
            for name in type(stage).model_fields:
                for parent in stages_in(getattr(stage, name)):
                    found |= self.sources(parent) | ({parent.key} if self.forbidden(parent) else set())
            self.known[stage.key] = frozenset(found)
        return self.known[stage.key]

    def breaches(self, plan: Plan) -> dict[str, Sources]:
        return {
            key: found
            for key, stage in plan.stages().items()
            if stage.kind not in EVALUATION and (found := self.sources(stage))
        }


def shipped() -> list[str]:
    return sorted(path.stem for path in SPECS.glob("*.yaml"))


@cache
def shipped_plan(name: str) -> Plan:
    """Of a spec whose files the user has to fetch: on small trees of their layout."""
    return expand(load_spec(name, on_trees(name)))


@pytest.fixture(autouse=True, scope="module")
def among_trees(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(write_trees(tmp_path_factory.mktemp("trees")))
        yield


@pytest.mark.parametrize("name", shipped())
def test_nothing_but_evaluation_sees_judges_or_test_images(name: str) -> None:
    plan = shipped_plan(name)
    walk = Walk(plan)
    assert walk.breaches(plan) == {}
    measured = [stage for stage in plan.stages().values() if walk.forbidden(stage)]
    assert any(isinstance(stage, Split) for stage in measured), "the walk knows test images when it meets them"
    assert {stage.kind for stage in measured if stage.kind in EVALUATION} >= {"evaluate", "accuracy", "distance"}


@pytest.mark.parametrize("name", shipped())
def test_evaluation_takes_the_judges_that_nothing_else_does(name: str) -> None:
    """Each cell is judged by both evaluators, on the people that it attacked."""
    for row in shipped_plan(name).rows:
        for cell in row.cells:
            judges = cell.evaluate.evaluator, cell.evaluate.second
            assert [judge.role for judge in judges] == ["evaluator", "second_evaluator"]
            assert {judge.key for judge in judges}.isdisjoint(cell.evaluate.attack.closure())
            assert cell.accuracy.test.part == "test"
            assert cell.accuracy.test.people == judges[0].people


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return planned(tmp_path_factory.mktemp("walk"))


def spoiled(plan: Plan, target: Any) -> Plan:
    """The plan with the first defended cell's attack on another target."""
    old = plan.rows[-1]
    attack = old.cells[0].evaluate.attack.model_copy(update={"target": target})
    evaluate = old.cells[0].evaluate.model_copy(update={"attack": attack, "rerun": None})
    row = dataclasses.replace(old, cells=(dataclasses.replace(old.cells[0], evaluate=evaluate), *old.cells[1:]))
    return dataclasses.replace(plan, rows=(*plan.rows[:-1], row))


def defended(plan: Plan) -> Finetune:
    target = plan.rows[-1].cells[0].evaluate.attack.target
    assert isinstance(target, Finetune)
    return target


def test_an_indirect_path_is_seen(plan: Plan) -> None:
    """F_E made the fakes of the first round, whose model is inverted and tuned again: four stages from the attack."""
    target, pair = defended(plan), defended(plan).pairs[0]
    evaluator = next(s for s in plan.stages().values() if isinstance(s, Classifier) and s.role == "evaluator")
    assert isinstance(pair.private, Fakes)

    def tuned(start: Any, model: Any) -> Finetune:
        private = pair.private.model_copy(update={"model": model})  # type: ignore[union-attr]
        pairs = (Pair(label=pair.label, decoy=pair.decoy, private=private, public=pair.public),)
        return target.model_copy(update={"victim": start, "pairs": pairs})

    first = tuned(target.victim, evaluator)
    second = tuned(first, first)
    found = spoiled(plan, second)
    breaches = Walk(found).breaches(found)
    assert {evaluator.key} == set().union(*breaches.values())
    assert {second.key, first.key, found.rows[-1].cells[0].evaluate.attack.key} <= set(breaches)
    assert Walk(plan).breaches(plan) == {}


@pytest.mark.parametrize("changes", [{"part": "test"}, {"part": "all"}, {"part": "all", "audience": "defender"}])
def test_test_images_are_known_whatever_their_split_is_called(plan: Plan, changes: dict[str, str]) -> None:
    target = defended(plan)
    assert target.fisher is not None
    data = target.fisher.data.model_copy(update=changes)
    found = spoiled(plan, target.model_copy(update={"fisher": target.fisher.model_copy(update={"data": data})}))
    breaches = Walk(found).breaches(found)
    assert {data.key} == set().union(*breaches.values())
    assert found.rows[-1].cells[0].evaluate.attack.key in breaches


def test_a_measurement_that_is_chosen_by_is_seen(plan: Plan) -> None:
    class Chosen(Fakes):
        kind = "chosen_fakes"
        by: tuple[Stage, ...] = ()

    target, pair = defended(plan), defended(plan).pairs[0]
    assert isinstance(pair.private, Fakes)
    fields = {name: getattr(pair.private, name) for name in type(pair.private).model_fields}
    accuracy = plan.rows[0].cells[0].accuracy
    fakes = Chosen(**fields, by=(accuracy,))
    pairs = (Pair(label=pair.label, decoy=pair.decoy, private=fakes, public=pair.public),)
    found = spoiled(plan, target.model_copy(update={"pairs": pairs}))
    assert accuracy.key in Walk(found).breaches(found)[fakes.key]
