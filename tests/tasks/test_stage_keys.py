"""Keys: content addresses that are equal everywhere and that nothing which changes results can escape."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from grid.expand import expand
from grid.spec_parser import load_spec
from tasks.attacks.attack import Attack
from tasks.attacks.gmi import GMI
from tasks.metrics.evaluate import Evaluate
from tasks.stage import Config, Stage
from tests.lab import Lab

SMALL = ("labels=[0, 4]", "numerics=cpu_fp32")
KEYS_OF_DEMO = """
import json
from grid.expand import expand
from grid.spec_parser import load_spec
print(json.dumps(sorted(expand(load_spec("orl_demo", ["numerics=cpu_fp32"])).stages())))
"""
Path = tuple[str | int, ...]


@cache
def roots() -> tuple[Stage, ...]:
    """The roots of a plan like the demo's: with and without a defense, with and without replay."""
    return tuple(expand(load_spec("orl_demo", SMALL)).roots())


@cache
def every_stage() -> dict[str, Stage]:
    return {key: stage for root in roots() for key, stage in root.closure().items()}


def leaves(value: object, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """(path, value) of each plain value in a stage's own fields; upstream stages are somebody else's leaves."""
    if isinstance(value, Stage) and path:
        return
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from leaves(getattr(value, name), (*path, name))
    elif isinstance(value, tuple):
        for i, item in enumerate(value):
            yield from leaves(item, (*path, i))
    else:
        yield path, value


def with_leaf(value: Any, path: Path, new: object) -> Any:
    """A copy of `value` with `new` at `path`, through model_copy where the result is valid."""
    if not path:
        return new
    first, rest = path[0], path[1:]
    if isinstance(value, tuple):
        return tuple(with_leaf(item, rest, new) if i == first else item for i, item in enumerate(value))
    name = str(first)
    return copied(value, {name: with_leaf(getattr(value, name), rest, new)})


def copied(value: Config, update: Mapping[str, Any]) -> Config:
    """model_copy; a combination of fields that the stage refuses is built all the same: it has a key too."""
    try:
        return value.model_copy(update=update)
    except (ValidationError, AttributeError):  # a stage that holds an impossible one may trip over it
        fields = {name: getattr(value, name) for name in type(value).model_fields}
        return type(value).model_construct(**{**fields, **update})


def replaced(value: Any, swaps: dict[str, Stage]) -> Any:
    """`value` with the stages of `swaps` (by key) exchanged everywhere in it, however deep; memoised there."""
    if isinstance(value, Stage) and value.key in swaps:
        return swaps[value.key]
    if isinstance(value, BaseModel):
        old = {name: getattr(value, name) for name in type(value).model_fields}
        changed = {name: new for name, item in old.items() if (new := replaced(item, swaps)) is not item}
        result = copied(value, changed) if changed and isinstance(value, Config) else value
        if isinstance(value, Stage):
            swaps[value.key] = result
        return result
    if isinstance(value, tuple):
        new = tuple(replaced(item, swaps) for item in value)
        return new if any(a is not b for a, b in zip(new, value, strict=True)) else value
    return value


def another(value: object, annotation: object) -> object:
    """A value of the same sort that is not equal to `value`."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    choices = [item for item in _literals(annotation) if item != value]
    if choices:
        return choices[0]
    return f"{value}x" if isinstance(value, str) else 7.5


def _literals(annotation: object) -> list[object]:
    found = [item for item in get_args(annotation) if isinstance(item, str | int)]
    return found + [item for part in get_args(annotation) for item in _literals(part)]


def test_keys_are_equal_in_every_process() -> None:
    answers = set()
    for seed in ("0", "1", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", KEYS_OF_DEMO], env=environment, capture_output=True, text=True, check=True
        )
        answers.add(done.stdout)
    here = sorted(expand(load_spec("orl_demo", ["numerics=cpu_fp32"])).stages())
    assert answers == {json.dumps(here) + "\n"}


def test_changing_any_leaf_of_any_stage_changes_the_roots_that_need_it() -> None:
    kinds, tried = set(), 0
    for key, stage in every_stage().items():
        kinds.add(stage.kind)
        needing = [root for root in roots() if key in root.closure()]
        assert all(replaced(root, {key: stage}).key == root.key for root in needing)
        for path, value in leaves(stage):
            field = type(stage).model_fields[str(path[0])]
            changed = with_leaf(stage, path, another(value, field.annotation))
            assert changed.key != key, f"{stage.kind}.{path} is not in the key"
            for root in needing[:4] + needing[-4:]:
                new = replaced(root, {key: changed})
                assert new.key != root.key, f"{stage.kind}.{path} does not reach {root.kind}"
            tried += 1
    assert {"evaluate", "accuracy", "distance", "gmi", "finetune", "fakes", "fisher", "wgan"} <= kinds
    assert tried > 500


def test_no_two_stages_of_a_plan_share_a_key() -> None:
    texts = {}
    for key, stage in every_stage().items():
        texts.setdefault(key, repr(stage))
        assert texts[key] == repr(stage)
    assert len(set(texts.values())) == len(texts)


def test_kind_and_version_are_in_the_key(lab: Lab) -> None:
    class Newer(GMI):
        version = GMI.version + 1

    class Other(GMI):
        kind = "gmi_other"

    fields = {"target": lab.victim, "gan": lab.attacker_gan, "label": 0}
    keys = {GMI(**fields).key, Newer(**fields).key, Other(**fields).key}
    assert len(keys) == 3


def test_a_field_typed_as_a_base_class_does_not_vanish(lab: Lab) -> None:
    assert Evaluate.model_fields["attack"].annotation is Attack
    attack = GMI(target=lab.victim, gan=lab.attacker_gan, label=0, lam=100)
    fields = {"evaluator": lab.victim, "second": lab.victim, "reference": lab.split("train")}
    first = Evaluate(attack=attack, **fields)
    other = Evaluate(attack=attack.model_copy(update={"lam": 99}), **fields)
    assert first.key != other.key
    assert first.config["attack"] == {"stage": attack.key}


def test_a_whole_number_and_a_float_are_the_same_setting(lab: Lab) -> None:
    fields = {"target": lab.victim, "gan": lab.attacker_gan, "label": 0}
    assert GMI(**fields, lam=100).key == GMI(**fields, lam=100.0).key


def test_the_order_of_fields_does_not_matter(lab: Lab) -> None:
    fields = {"target": lab.victim, "gan": lab.attacker_gan, "label": 0, "steps": 3, "lr": 0.1}
    assert GMI(**fields).key == GMI(**dict(reversed(fields.items()))).key


def test_a_mapping_in_a_field_does_not_depend_on_its_order() -> None:
    class Holder(Stage):
        kind = "holder"
        group = "data"
        content: dict[str, int]

    assert Holder(content={"a": 1, "b": 2}).key == Holder(content={"b": 2, "a": 1}).key
    assert Holder(content={"a": 1, "b": 2}).key != Holder(content={"a": 2, "b": 1}).key


def test_model_copy_validates_and_makes_a_new_key(lab: Lab) -> None:
    stage = lab.attacker_gan
    key = stage.key
    copy = stage.model_copy(update={"steps": stage.steps + 1})
    assert copy.key != key == stage.key
    assert stage.model_copy().key == key
    with pytest.raises(ValidationError, match="steps"):
        stage.model_copy(update={"steps": -1})
    with pytest.raises(ValidationError, match="stepz"):
        stage.model_copy(update={"stepz": 1})
    with pytest.raises(ValidationError, match="frozen"):
        stage.steps = 3


def test_a_number_that_is_none_is_refused(lab: Lab) -> None:
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValidationError, match="finite"):
            lab.attacker_gan.model_copy(update={"lr": value})


def test_a_field_that_is_not_plain_data_has_no_key() -> None:
    class Holder(Stage):
        kind = "holder"
        group = "data"
        content: object

    with pytest.raises(TypeError, match="plain data"):
        _ = Holder(content={1, 2}).key


def test_upstream_first_and_each_once() -> None:
    for root in roots():
        seen: set[str] = set()
        for key, stage in root.closure().items():
            assert {parent.key for parent in stage.upstream} <= seen
            assert key not in seen
            seen.add(key)
        assert key == root.key
