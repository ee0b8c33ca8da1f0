"""A user's mistakes in a spec: every problem at once, each with its place and the valid choices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from grid.expand import expand
from grid.problems import SpecError
from grid.spec_parser import load_spec
from tasks.attacks import ATTACKS
from tests.grid.specs import SMALL, only, problems


def test_the_small_spec_is_fine(tmp_path: Path) -> None:
    assert problems(tmp_path) == ()


# key, value, where the message places it, what it says
ONE_PROBLEM: list[tuple[str, Any, str, str]] = [
    (
        "attacks",
        ["gmj"],
        "attacks[0].name",
        f"unknown attack 'gmj'; did you mean 'gmi'? choose one of: {', '.join(sorted(ATTACKS))}",
    ),
    ("attacks", ["gmi", {"steps": 3}], "attacks[1]", f"has no `name:`; choose one of: {', '.join(sorted(ATTACKS))}"),
    ("attacks", [{"name": "gmi", "stepz": 3}], "attacks[0].stepz", "unknown key 'stepz'; did you mean 'steps'?"),
    ("attacks", [{"name": "gmi", "label": 3}], "attacks[0].label", "unknown key 'label'"),
    ("attacks", [{"name": "gmi", "steps": 0}], "attacks[0].steps", "greater than or equal to 1 (got 0)"),
    ("attacks", [{"name": "gmi", "steps": 2.5}], "attacks[0].steps", "integer"),
    ("attacks", [{"name": "gmi", "gan": "pixelgan"}], "attacks[0].gan.name", "unknown GAN 'pixelgan'"),
    (
        "attacks",
        [{"name": "gmi", "gan": {"name": "wgan", "width": 1}}],
        "attacks[0].gan.width",
        "greater than or equal to 4",
    ),
    ("attacks", [], "attacks", "is missing; give at least one"),
    ("attacks", ..., "attacks", "is missing; give at least one"),
    ("attacks", [7], "attacks[0]", "expected a name or a mapping with `name:`, got 7"),
    ("attacks", ["gmi", "gmi"], "attacks", "two entries are called 'gmi'; tell them apart with `as:`"),
    ("defenses", ["none", "gan-id"], "defenses[1].name", "unknown defense 'gan-id'; did you mean 'gan_id'?"),
    ("defenses", [{"name": "gan_id", "alpha": -1}], "defenses[0].alpha", "greater than or equal to 0 (got -1)"),
    ("defenses", [{"name": "gan_id", "alpha": float("nan")}], "defenses[0].alpha", "finite"),
    ("defenses", [{"name": "gan_id", "lpri": "focal"}], "defenses[0].lpri", "'detached', 'literal', 'ce'"),
    ("defenses", [{"name": "gan_id", "fakes": {"cuont": 3}}], "defenses[0].fakes.cuont", "did you mean 'count'?"),
    ("defenses", [{"name": "gan_id", "fakes": 3}], "defenses[0].fakes", "got 3"),
    ("defenses", [{"name": "none", "alpha": 1}], "defenses[0].alpha", "unknown key 'alpha'"),
    (
        "defenses",
        [{"name": "dp", "epsilon": True}],
        "defenses[0].epsilon",
        "must be a number, got True (YAML takes yes",
    ),
    ("defenses", [{"name": "gan_id", "rounds": True}], "defenses[0].rounds", "must be a number, got True"),
    ("defenses", [{"name": "gan_id", "fakes": {"count": True}}], "defenses[0].fakes.count", "must be a number"),
    (
        "defenses",
        [{"name": "gan_id", "gan": {"name": "wgan", "ema": False}}],
        "defenses[0].gan.ema",
        "must be a number",
    ),
    ("attacks", [{"name": "gmi", "steps": True}], "attacks[0].steps", "must be a number"),
    ("attacks", [{"name": "gmi", "steps": False}], "attacks[0].steps", "must be a number, got False"),
    ("attacks", [{"name": "ami", "decoder": {"steps": False}}], "attacks[0].decoder.steps", "must be a number"),
    ("dataset", {"name": "synthetic", "private_people": [False, True]}, "dataset.private_people", "must be a number"),
    ("victim", {"arch": "vgg16", "epochs": True}, "victim.epochs", "must be a number, got True"),
    ("decoys", {0: True}, "decoys", "maps a protected label to a label"),
    ("resources", {"gan": {"gpu": True}}, "resources.gan.gpu", "must be a number, got True"),
    ("labels", [0, 5], "labels", "label 5 is out of range; the private people have labels 0..4"),
    ("labels", [-1], "labels", "whole numbers from 0"),
    ("labels", "everybody", "labels", "whole numbers from 0"),
    ("labels", [0, 0], "labels", "names one twice"),
    ("decoys", {0: 9}, "decoys.0", "decoy 9 is out of range; the public classifier has labels 0..2"),
    ("decoys", [3], "decoys", "maps a protected label to a label of the public classifier"),
    ("seeds", ["a"], "seeds", "whole numbers from 0"),
    ("protect", "both", "protect", "must be one of: single, joint"),
    ("budget", "large", "budget", "unknown budget 'large'; choose one of: paper, quick, smoke"),
    ("numerics", "fp16", "numerics", "must be one of: auto, cpu_fp32"),
    ("threads", 0, "threads", "from 1 to 256"),
    ("name", "a/b", "name", "must be letters, digits"),
    ("atacks", ["gmi"], "atacks", "unknown key 'atacks'; did you mean 'attacks'?"),
    ("victim", {"arch": "vgg"}, "victim.arch", "'vgg16'"),
    ("victim", "resnet", "victim.arch", "'vgg16'"),
    ("victim", {"arch": "vgg16", "role": "evaluator"}, "victim.role", "unknown key 'role'"),
    ("evaluator", {"archh": "ir_small"}, "evaluator.archh", "did you mean 'arch'?"),
    ("dataset", "lfwx", "dataset.name", "unknown dataset 'lfwx'"),
    ("dataset", {"name": "synthetic", "size": 48}, "dataset.size", "multiple of 32"),
    ("dataset", {"name": "synthetic", "size": 32, "people": 5, "private_people": [0, 3]}, "dataset", "at least 3"),
    ("resources", {"gna": {"gpu": 1}}, "resources.gna", "unknown group 'gna'; did you mean 'gan'?"),
    ("resources", {"gan": {"gpu": -1}}, "resources.gan.gpu", "greater than or equal to 0"),
    ("inception_weights", "nowhere.pth", "inception_weights", "cannot be read: No such file"),
    ("victim", {"arch": "vgg16", "weights": "no.safetensors"}, "victim.weights", "cannot be read: No such file"),
]


@pytest.mark.parametrize(("key", "value", "place", "message"), ONE_PROBLEM)
def test_each_mistake_has_its_place_and_the_choices(
    tmp_path: Path, key: str, value: Any, place: str, message: str
) -> None:
    (found,) = problems(tmp_path, **{key: value})
    assert found.place.startswith(str(tmp_path / "small.yaml"))
    where, text = only(tmp_path, **{key: value})
    assert where.startswith(place)
    assert message in text


NOT_EVEN_CLOSE: list[tuple[str, Any]] = [
    ("victim", {1: 2}),
    ("victim", 7),
    ("victim", {"arch": ["vgg16"]}),
    ("victim", {"arch": "vgg16", "weights": 5}),
    ("evaluator", {None: 1}),
    ("attacks", [{"name": ["gmi"]}]),
    ("attacks", [{"name": {"a": 1}}]),
    ("attacks", [{"name": "gmi", "gan": 3}]),
    ("attacks", [["gmi"]]),
    ("attacks", [{"name": "gmi", 3: 4}]),
    ("defenses", [{"name": "gan_id", "fakes": {1: 2}}]),
    ("defenses", [{"name": "gan_id", "gan": {"name": "wgan", "steps": {}}}]),
    ("dataset", {"name": "synthetic", "private_people": {"a": 1}}),
    ("dataset", {"name": "folder", "root": 5}),
    ("dataset", [1, 2]),
    ("labels", {"a": 1}),
    ("labels", [[1]]),
    ("decoys", {"a": "b"}),
    ("seeds", None),
    ("budget", ["quick"]),
    ("protect", ["single"]),
    ("numerics", {"a": 1}),
    ("threads", "many"),
    ("resources", {"gan": 3}),
    ("resources", {3: {"gpu": 1}}),
    ("inception_weights", 5),
    ("inception_weights", ["a"]),
    ("name", ["a"]),
    (3, 4),  # type: ignore[list-item]
]


@pytest.mark.parametrize(("key", "value"), NOT_EVEN_CLOSE)
def test_any_yaml_is_answered_with_problems(tmp_path: Path, key: str, value: Any) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump({**SMALL, key: value}))
    with pytest.raises(SpecError) as caught:
        expand(load_spec(str(path)))
    assert all(problem.place and problem.message for problem in caught.value.problems)


def test_several_problems_are_all_listed(tmp_path: Path) -> None:
    changes = {
        "attacks": ["gmj", {"name": "privacy", "steps": -1}],
        "defenses": ["none", {"name": "gan_id", "alpha": -1, "gama": 2}],
        "budgt": "quick",
        "protect": "all",
        "victim": {"arch": "alexnet"},
    }
    places = sorted(problem.place.split(" ")[-1] for problem in problems(tmp_path, **changes))
    assert places == [
        "attacks[0].name",
        "attacks[1].steps",
        "budgt",
        "defenses[1].alpha",
        "defenses[1].gama",
        "protect",
        "victim.arch",
    ]


def test_problems_of_the_spec_and_of_the_data_are_listed_together(tmp_path: Path) -> None:
    """Whoever has five mistakes wants to hear of five, not of three and then of two."""
    changes = {
        "dataset": [
            {"name": "synthetic", "size": 32},
            {"name": "folder", "as": "faces", "root": str(tmp_path / "nowhere"), "size": 32},
        ],
        "labels": [0, 77],
        "attacks": ["gmj"],
        "victim": {"arch": "vgg16", "weights": str(tmp_path / "no.safetensors")},
    }
    places = {problem.place.split(" ")[-1] for problem in problems(tmp_path, **changes)}
    assert places == {"dataset[1].root", "labels", "attacks[0].name", "victim.weights"}
