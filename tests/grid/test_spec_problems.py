"""A user's mistakes: exit 2 and one message with every problem, its place and the valid choices; no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from grid.commands import open_store
from grid.expand import expand
from grid.problems import SpecError
from grid.spec_parser import load_spec
from grid.store import Store
from tasks.attacks import ATTACKS
from tests.grid.specs import problems, write

REPOSITORY = Path(__file__).parents[2]


def decoygrid(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The real command in a process of its own."""
    command = [sys.executable, "-c", "from grid.cli import main; main()", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.stderr


def only(folder: Path, **changes: Any) -> tuple[str, str]:
    """(place, message) of the one problem of a variant of the small spec."""
    found = problems(folder, **changes)
    assert len(found) == 1, found
    return found[0].place, found[0].message


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
    where, text = only(tmp_path, **{key: value})
    assert where.startswith(str(tmp_path / "small.yaml"))
    assert where.split(" ")[-1].startswith(place)
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
    import yaml

    from tests.grid.specs import SMALL

    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump({**SMALL, key: value}))
    with pytest.raises(SpecError) as caught:
        expand(load_spec(str(path)))
    assert all(problem.place and problem.message for problem in caught.value.problems)


TEXTS = [
    ("attacks: [gmi", "is not valid YAML"),
    ("a: b: c", "is not valid YAML"),
    ("\tname: x", "is not valid YAML"),
    ("name: !!python/object:os.system x", "is not valid YAML"),
    ("- gmi\n- privacy", "a spec is a mapping of keys to values, but this holds list"),
    ("", "this holds NoneType"),
    ("name: a\nname: b", "is given twice; first on line 1"),
    ("name: 2020-99-99", ""),  # a date to YAML, and none to the calendar
    ("a: &x [*x]", ""),  # refers to itself
    ("? [a, b]\n: 1", ""),
]


@pytest.mark.parametrize(("text", "message"), TEXTS)
def test_what_is_no_spec_at_all(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(text)
    answer: Exception | None = None
    try:
        load_spec(str(path))
    except (SpecError, ValueError, RecursionError) as error:  # the last one's traceback is too long to show
        answer = error.with_traceback(None)
    assert isinstance(answer, SpecError), type(answer)
    assert "spec.yaml" in answer.problems[0].place
    assert message in str(answer)


def test_the_line_of_a_mistake_is_named(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("name: x\nattacks:\n  - gmi\n  - {name: privacy,\n     stepz: 3}\ndefenses: [none]\n")
    with pytest.raises(SpecError) as caught:
        load_spec(str(path))
    assert [problem.place for problem in caught.value.problems] == [f"{path}:5 attacks[1].stepz"]


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"no such file; give a path, or a shipped spec: .*orl_demo"):
        load_spec(str(tmp_path / "nowhere.yaml"))
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="is not UTF-8"):
        load_spec(str(tmp_path / "binary.yaml"))
    with pytest.raises(SpecError, match="directory"):
        load_spec(str(tmp_path))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("budget", "expected path=value"),
        ("=3", "expected path=value"),
        ("attacks.9.steps=3", "no position in a list of 1"),
        ("attacks.gmi=3", "no position in a list of 1"),
        ("name.x.y=3", ""),
        ("budget=[", "not valid YAML"),
        ("attaks.0=gmi", ""),
        (".=1", ""),
    ],
)
def test_overrides_that_do_not_fit(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_spec(write(tmp_path), [override])
    assert message in str(caught.value)


def faces(root: Path, people: int = 6, count: int = 6) -> Path:
    for person in range(people):
        folder = root / f"p{person}"
        folder.mkdir(parents=True)
        for i in range(count):
            Image.effect_noise((20, 24), 10 * person + i + 1).save(folder / f"{i}.png")
    return root


def folder_spec(root: str, **fields: Any) -> dict[str, Any]:
    return {"name": "folder", "size": 32, "root": root, **fields}


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    root = faces(tmp_path / "faces")
    for place in ("nowhere", "faces/p0/0.png"):
        where, text = only(tmp_path, dataset=folder_spec(str(tmp_path / place)), labels=[0])
        assert where.endswith("dataset.root")
        assert "no folder" in text
    (root / "p9").mkdir()
    where, text = only(tmp_path, dataset=folder_spec(str(root)), labels=[0])
    assert "the class 'p9' is empty" in text
    (root / "p9" / "0.jpg").write_bytes(b"\xff\xd8 no more")
    where, text = only(tmp_path, dataset=folder_spec(str(root)), labels=[0])
    assert "does not decode as an image" in text
    assert where.endswith("dataset.root")


def test_private_and_public_people_that_overlap(tmp_path: Path) -> None:
    root = faces(tmp_path / "faces")
    spec = folder_spec(str(root), private_people=["p0", "p1"], public_people=["p1", "p2", "p3"])
    _, text = only(tmp_path, dataset=spec, labels=[0])
    assert "private and public people overlap: p1; choose disjoint ones" in text


def test_an_empty_class_is_placed_where_it_lies(tmp_path: Path) -> None:
    faces(tmp_path / "in", 3)
    faces(tmp_path / "out", 3)
    for person in range(3):  # other names, other pictures
        (tmp_path / "out" / f"p{person}").rename(tmp_path / "out" / f"q{person}")
        for i, path in enumerate(sorted((tmp_path / "out" / f"q{person}").iterdir())):
            Image.effect_noise((20, 24), 200 + 10 * person + i).save(path)
    (tmp_path / "out" / "nobody").mkdir()
    dataset = {"name": "folder", "size": 32, "private": str(tmp_path / "in"), "public": str(tmp_path / "out")}
    where, text = only(tmp_path, dataset=dataset, labels=[0])
    assert "the class 'nobody' is empty" in text
    assert where.endswith("dataset.public")


def test_a_size_that_the_gan_cannot_paint(tmp_path: Path) -> None:
    """96 px is fine for classifiers, but the WGAN doubles from 4: 32, 64, 128."""
    assert problems(tmp_path, dataset={"name": "synthetic", "size": 96}, attacks=["privacy"], defenses=["none"]) == ()
    found = problems(tmp_path, dataset={"name": "synthetic", "size": 96}, labels=[0])
    assert any("size" in problem.place for problem in found)


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


def test_the_command_says_it_all_and_exits_with_2(tmp_path: Path) -> None:
    spec = write(tmp_path, attacks=["gmj"], defenses=[{"name": "gan_id", "alpha": -1}], labels=[0, 99])
    text = complaint(decoygrid("run", spec, "--in-process", "--tracking", "none", cwd=tmp_path))
    assert "unknown attack 'gmj'; did you mean 'gmi'? choose one of: " in text
    assert "small.yaml:" in text
    assert "defenses[0].alpha" in text
    assert "label 99 is out of range" in text
    assert len(text.splitlines()) == 4
    assert not (tmp_path / ".decoygrid").exists()


def test_the_command_with_yaml_that_does_not_parse(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("attacks: [gmi\ndefenses: none\n")
    text = complaint(decoygrid("plan", "bad.yaml", "--json", cwd=tmp_path))
    assert "bad.yaml:2" in text
    assert "is not valid YAML" in text


def test_the_command_with_a_store_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    spec = write(tmp_path)
    text = complaint(decoygrid("run", spec, "--in-process", "--store", "taken", "--tracking", "none", cwd=tmp_path))
    assert "--store" in text
    assert "cannot be written" in text


def test_the_command_with_weights_that_do_not_fit(tmp_path: Path) -> None:
    save_file({"module.classifier.bias": torch.zeros(3)}, tmp_path / "w.safetensors")
    spec = write(tmp_path, victim={"arch": "vgg16", "width": 0.0625, "weights": "w.safetensors"})
    text = complaint(decoygrid("run", spec, "--in-process", "--store", "s", "--tracking", "none", cwd=tmp_path))
    assert "victim.weights" in text
    assert "do not fit vgg16 (width 0.0625, 1x32x32, 5 labels)" in text
    assert "body.0.bias is missing" in text


def test_weights_that_are_no_safetensors_file(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"PK\x03\x04 a pickle")
    where, text = only(tmp_path, victim={"arch": "vgg16", "width": 0.0625, "weights": "w.safetensors"})
    assert where.endswith("victim.weights")
    assert "is not a safetensors file" in text


@pytest.mark.parametrize("writable", [True, False])
def test_a_store_that_is_a_file(tmp_path: Path, writable: bool) -> None:
    """`plan` and `status` only read (`writable=False`), and must answer just as well."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError) as caught:
        open_store(str(tmp_path / "file"), writable=writable)
    assert caught.value.problems[0].place.startswith("--store")


def test_a_read_only_store_is_a_users_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Store, "_write", refuse)
    with pytest.raises(SpecError, match=r"cannot be written .*Permission denied"):
        open_store(str(tmp_path / "store"))
