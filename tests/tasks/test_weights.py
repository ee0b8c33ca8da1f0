"""A victim that the user brings: every misfit of the weights is named, nothing loads silently."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tasks.data.manifest import file_digest
from tasks.models.classifier import GivenClassifier
from tasks.models.training import adopt_weights, load_network, weight_problems
from tests.lab import Lab

State = dict[str, torch.Tensor]


def given(lab: Lab, path: Path) -> GivenClassifier:
    people = lab.split("train").people
    fields = {"arch": "vgg16_bn", "width": 0.0625, "channels": 1, "size": 32}
    return GivenClassifier(weights=file_digest(path), people=people, **fields)


def saved(lab: Lab, tmp_path: Path, change: Callable[[State], State]) -> Path:
    state = load_file(lab.run(lab.victim).path("model.safetensors"))
    path = tmp_path / "weights.safetensors"
    save_file({name: t.contiguous() for name, t in change(dict(state)).items()}, path)
    return path


def without_classifier(state: State) -> State:
    return {name: t for name, t in state.items() if name != "classifier.bias"}


def with_prefix(state: State) -> State:
    """What a DataParallel wrapper leaves behind."""
    return {f"module.{name}": t for name, t in state.items()}


def with_an_extra(state: State) -> State:
    return {**state, "optimizer.step": torch.zeros(1)}


def with_more_labels(state: State) -> State:
    return {**state, "classifier.weight": torch.zeros(7, 256), "classifier.bias": torch.zeros(7)}


CASES: list[tuple[Callable[[State], State], list[str]]] = [
    (without_classifier, ["classifier.bias is missing"]),
    (with_prefix, ["classifier.bias is missing", "module.classifier.bias is not in vgg16_bn"]),
    (with_an_extra, ["optimizer.step is not in vgg16_bn"]),
    (
        with_more_labels,
        ["classifier.weight has shape (7, 256)", "classifier.bias has shape (7,) where vgg16_bn needs (6,)"],
    ),
]


def test_weights_that_fit_are_taken_over_exactly(lab: Lab, tmp_path: Path) -> None:
    path = saved(lab, tmp_path, lambda state: state)
    stage = given(lab, path)
    assert weight_problems(stage, path) == []
    ctx = lab.context(stage, sources={stage.weights: path})
    stage.run(ctx)
    ours, theirs = load_file(ctx.out / "model.safetensors"), load_file(path)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(t, theirs[name]) for name, t in ours.items())


@pytest.mark.parametrize(("change", "messages"), CASES, ids=lambda item: getattr(item, "__name__", ""))
def test_every_misfit_is_named(lab: Lab, tmp_path: Path, change: Callable[[State], State], messages: list[str]) -> None:
    path = saved(lab, tmp_path, change)
    stage = given(lab, path)
    problems = weight_problems(stage, path)
    for message in messages:
        assert any(message in problem for problem in problems)
    with pytest.raises(ValueError, match="do not fit vgg16_bn") as caught:
        adopt_weights(stage, lab.context(stage, sources={stage.weights: path}))
    assert all(problem in str(caught.value) for problem in problems)
    with pytest.raises(RuntimeError, match="state_dict"):
        load_network(stage, path, torch.device("cpu"))


def test_the_key_is_the_content_of_the_weights(lab: Lab, tmp_path: Path) -> None:
    one = given(lab, saved(lab, tmp_path, lambda state: state))
    (tmp_path / "moved").mkdir()
    moved = (tmp_path / "weights.safetensors").rename(tmp_path / "moved" / "again.safetensors")
    assert given(lab, moved).key == one.key
    other = saved(lab, tmp_path, lambda state: {**state, "classifier.bias": state["classifier.bias"] + 1})
    assert given(lab, other).key != one.key
